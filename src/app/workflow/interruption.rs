//! The interruption of a run by a signal: the changes so far, and the step that is completed first.
//!
//! The steps of a run record their changes here. The command line receives the signals, passes them
//! to [`Interruption::request`], and exits when [`Event::Exit`] is reported. The report takes the
//! same lock as every record, so "nothing was changed" remains true until the process exits.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::git;

/// The report before the first change.
const NOTHING: &str = "nothing was changed";

/// The maximum number of attempts to remove a temporary directory.
const MAX_REMOVALS: u32 = 25;

/// The effect of a signal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'e> {
    /// The current step is completed first; another signal aborts the run.
    Wait,
    /// The process must end now.
    Exit {
        signal: i32,
        /// The changes, as a sentence without its full stop.
        changed: &'e str,
        /// Whether a part of the result may have been printed.
        printed: bool,
    },
}

/// The state of a run for an interruption by a signal.
pub(crate) struct Interruption {
    state: Mutex<State>,
    /// Set by the signal handler. [`Interruption::request`] is called at about the same time.
    requested: Arc<AtomicBool>,
    /// Is never notified: a thread that waits for it releases the state until the process ends.
    never: Condvar,
    report: Box<dyn Fn(&Event<'_>) + Send + Sync>,
}

struct State {
    changed: String,
    steps: usize,
    signal: Option<i32>,
    printed: bool,
    /// The temporary directories of this run, which are removed before the program ends.
    temporary: Vec<PathBuf>,
}

impl Interruption {
    /// Creates a directory in `parent`, which is removed when dropped, or before the program ends.
    pub(super) fn temporary_directory(&self, parent: &Path) -> io::Result<TempDir> {
        let directory = tempfile::Builder::new()
            .prefix("repin-")
            .tempdir_in(parent)?;
        self.removes(directory.path().to_owned());
        Ok(directory)
    }

    /// The state of a run that has changed nothing. `report` receives the effects of signals, and does not
    /// return from [`Event::Exit`].
    pub(crate) fn new(report: Box<dyn Fn(&Event<'_>) + Send + Sync>) -> Self {
        let state = State {
            changed: NOTHING.to_owned(),
            steps: 0,
            signal: None,
            printed: false,
            temporary: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            requested: Arc::default(),
            never: Condvar::new(),
            report,
        }
    }

    /// The flag that a signal handler sets.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.requested)
    }

    /// Records the report for a signal from now on. The call precedes the change.
    pub(crate) fn changes(&self, changed: impl Into<String>) {
        self.state().changed = changed.into();
    }

    /// Records a temporary directory. Its owner removes it unless a signal ends the run.
    pub(super) fn removes(&self, directory: PathBuf) {
        self.state().temporary.push(directory);
    }

    /// Begins a step that is completed after a first signal. `midway` is reported after a second signal,
    /// and if the step fails.
    pub(crate) fn step(&self, midway: impl Into<String>) -> Step<'_> {
        let mut state = self.state();
        state.steps += 1;
        state.changed = midway.into();
        Step(self)
    }

    /// Begins a step that changes nothing and is completed after a first signal.
    pub(crate) fn harmless_step(&self) -> Step<'_> {
        let changed = self.state().changed.clone();
        self.step(changed)
    }

    pub(crate) fn request(&self, signal: i32) {
        let mut state = self.state();
        let is_repeated = state.signal.replace(signal).is_some();
        if state.steps == 0 || is_repeated {
            self.exit(&state, signal);
        } else {
            (self.report)(&Event::Wait);
        }
    }

    /// Must be called before a part of the result is printed. It does not return if a signal is about to
    /// end the run.
    pub(crate) fn before_result(&self) {
        let mut state = self.state();
        // The thread that receives the signals ends the process.
        while self.requested.load(Ordering::SeqCst) && state.steps == 0 {
            let waited = self.never.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.printed = true;
    }

    fn exit(&self, state: &State, signal: i32) {
        git::stop_all();
        for directory in &state.temporary {
            // A process of git that is ending may still write. A directory that its owner removed is missing.
            for _ in 0..MAX_REMOVALS {
                let _ = fs::remove_dir_all(directory);
                if !directory.exists() {
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        (self.report)(&Event::Exit {
            signal,
            changed: &state.changed,
            printed: state.printed,
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step that is completed after a first signal.
#[must_use]
pub(crate) struct Step<'i>(&'i Interruption);

impl Step<'_> {
    /// Completes the step; `changed` is reported from now on.
    pub(crate) fn done(self, changed: impl Into<String>) {
        self.0.changes(changed);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.steps -= 1;
        if let (0, Some(signal)) = (state.steps, state.signal) {
            self.0.exit(&state, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    /// An interruption, and its reports.
    fn recorded() -> (Interruption, Arc<Mutex<Vec<String>>>) {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&reports);
        (
            Interruption::new(Box::new(move |event| {
                log.lock().unwrap().push(format!("{event:?}"));
            })),
            reports,
        )
    }

    fn exit(signal: i32, changed: &str, printed: bool) -> String {
        format!(
            "{:?}",
            Event::Exit {
                signal,
                changed,
                printed
            }
        )
    }

    #[test]
    fn signal_reports_the_last_change() {
        let (interruption, reports) = recorded();
        interruption.request(2);
        interruption.changes("one version was deleted");
        interruption.request(15);
        let reports = reports.lock().unwrap();
        assert_eq!(
            *reports,
            [
                exit(2, NOTHING, false),
                exit(15, "one version was deleted", false)
            ]
        );
    }

    #[test]
    fn only_a_second_signal_interrupts_a_step() {
        let (interruption, reports) = recorded();
        let step = interruption.step("files may have changed");
        interruption.request(2);
        assert_eq!(*reports.lock().unwrap(), ["Wait"]);
        interruption.request(2);
        assert_eq!(
            reports.lock().unwrap()[1],
            exit(2, "files may have changed", false)
        );
        step.done("2 files were changed");
        assert_eq!(
            reports.lock().unwrap()[2],
            exit(2, "2 files were changed", false)
        );
    }

    #[test]
    fn step_without_a_signal_reports_nothing() {
        let (interruption, reports) = recorded();
        interruption.step("files may have changed").done("done");
        drop(interruption.harmless_step());
        assert!(reports.lock().unwrap().is_empty());
        interruption.before_result();
        interruption.request(15);
        assert_eq!(*reports.lock().unwrap(), [exit(15, "done", true)]);
    }

    #[test]
    fn failed_step_reports_possible_changes() {
        let (interruption, reports) = recorded();
        let step = interruption.step("files may have changed");
        interruption.request(15);
        drop(step);
        assert_eq!(
            reports.lock().unwrap()[1],
            exit(15, "files may have changed", false)
        );
    }

    #[test]
    fn nothing_is_printed_after_a_signal() {
        let (interruption, reports) = recorded();
        interruption.flag().store(true, Ordering::SeqCst);
        // A step is completed first, and its report ends the process.
        let step = interruption.step("files may have changed");
        interruption.before_result();
        step.done("2 files were changed");
        let interruption = Arc::new(interruption);
        let printing = Arc::clone(&interruption);
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            printing.before_result();
            ended.send(()).unwrap();
        });
        assert!(end.recv_timeout(Duration::from_millis(200)).is_err());
        interruption.request(2);
        let expected = exit(2, "2 files were changed", true);
        assert_eq!(*reports.lock().unwrap(), [expected]);
    }
}
