//! The end of a run by a signal: what it has changed so far, and which step must end first.
//!
//! The steps of a run record here what they change. The command line receives the signals, passes
//! them to [`Interruption::request`], and ends the process when [`Event::Ends`] is reported. The
//! report happens under the lock that every record takes, so "nothing was changed" stays true until
//! the process is gone.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// What a run reports if it ends before it has changed anything.
const NOTHING: &str = "nothing was changed";

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'e> {
    /// The current step ends first; another signal ends the run at once.
    Waits,
    /// The process must end now.
    Ends {
        /// The number of the signal.
        signal: i32,
        /// What was changed, as a sentence without its full stop.
        changed: &'e str,
        /// Whether a part of the result may have been printed.
        printed: bool,
    },
}

/// What is known about the end of a run by a signal.
pub struct Interruption {
    state: Mutex<State>,
    /// Set as soon as a signal arrives, possibly before [`Interruption::request`] is called.
    requested: Arc<AtomicBool>,
    report: Box<dyn Fn(&Event<'_>) + Send + Sync>,
}

struct State {
    changed: String,
    steps: usize,
    signal: Option<i32>,
    printed: bool,
}

impl Interruption {
    /// Of a run that has changed nothing; `report` receives what signals lead to, and does not return
    /// from [`Event::Ends`].
    pub fn new(report: Box<dyn Fn(&Event<'_>) + Send + Sync>) -> Self {
        let state = State {
            changed: NOTHING.to_owned(),
            steps: 0,
            signal: None,
            printed: false,
        };
        Self {
            state: Mutex::new(state),
            requested: Arc::default(),
            report,
        }
    }

    /// The flag that a signal handler sets.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.requested)
    }

    /// Records what is reported from now on, before it is changed.
    pub fn changes(&self, changed: impl Into<String>) {
        self.state().changed = changed.into();
    }

    /// Begins a step that a first signal lets end: `midway` is reported if a second one does not, or
    /// if the step fails.
    pub fn step(&self, midway: impl Into<String>) -> Step<'_> {
        let mut state = self.state();
        state.steps += 1;
        state.changed = midway.into();
        Step(self)
    }

    /// Begins a step that changes nothing and that a first signal lets end.
    pub fn harmless_step(&self) -> Step<'_> {
        let changed = self.state().changed.clone();
        self.step(changed)
    }

    /// A signal arrived.
    pub fn request(&self, signal: i32) {
        self.requested.store(true, Ordering::SeqCst);
        let mut state = self.state();
        let again = state.signal.replace(signal).is_some();
        if state.steps == 0 || again {
            self.end(&state, signal);
        } else {
            (self.report)(&Event::Waits);
        }
    }

    /// Before a part of the result is printed: a run that is about to end by a signal prints none.
    pub fn before_result(&self) {
        let mut state = self.state();
        if self.requested.load(Ordering::SeqCst) && state.steps == 0 {
            // The thread that receives the signals ends the process.
            drop(state);
            loop {
                thread::park();
            }
        }
        state.printed = true;
    }

    fn end(&self, state: &State, signal: i32) {
        (self.report)(&Event::Ends {
            signal,
            changed: &state.changed,
            printed: state.printed,
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step that a first signal lets end.
#[must_use]
pub struct Step<'i>(&'i Interruption);

impl Step<'_> {
    /// Ends the step; `changed` is reported from now on.
    pub fn done(self, changed: impl Into<String>) {
        self.0.changes(changed);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.steps -= 1;
        if let (0, Some(signal)) = (state.steps, state.signal) {
            self.0.end(&state, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interruption, and what it reported.
    fn recorded() -> (Interruption, Arc<Mutex<Vec<String>>>) {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&reports);
        let report = move |event: &Event<'_>| log.lock().unwrap().push(format!("{event:?}"));
        (Interruption::new(Box::new(report)), reports)
    }

    fn ends(signal: i32, changed: &str, printed: bool) -> String {
        format!(
            "{:?}",
            Event::Ends {
                signal,
                changed,
                printed
            }
        )
    }

    #[test]
    fn a_signal_reports_what_was_changed_last() {
        let (interruption, reports) = recorded();
        interruption.request(2);
        interruption.changes("one version was deleted");
        interruption.request(15);
        let reports = reports.lock().unwrap();
        assert_eq!(
            *reports,
            [
                ends(2, NOTHING, false),
                ends(15, "one version was deleted", false)
            ]
        );
    }

    #[test]
    fn a_first_signal_lets_a_step_end_and_a_second_one_does_not() {
        let (interruption, reports) = recorded();
        let step = interruption.step("files may have changed");
        interruption.request(2);
        assert_eq!(*reports.lock().unwrap(), ["Waits"]);
        interruption.request(2);
        assert_eq!(
            reports.lock().unwrap()[1],
            ends(2, "files may have changed", false)
        );
        step.done("2 files were changed");
        assert_eq!(
            reports.lock().unwrap()[2],
            ends(2, "2 files were changed", false)
        );
    }

    #[test]
    fn a_step_without_a_signal_ends_quietly() {
        let (interruption, reports) = recorded();
        interruption.step("files may have changed").done("done");
        drop(interruption.harmless_step());
        assert!(reports.lock().unwrap().is_empty());
        interruption.before_result();
        interruption.request(15);
        assert_eq!(*reports.lock().unwrap(), [ends(15, "done", true)]);
    }

    #[test]
    fn a_failed_step_reports_what_it_may_have_changed() {
        let (interruption, reports) = recorded();
        let step = interruption.step("files may have changed");
        interruption.request(15);
        drop(step);
        assert_eq!(
            reports.lock().unwrap()[1],
            ends(15, "files may have changed", false)
        );
    }
}
