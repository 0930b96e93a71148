//! Standard error of a run: notes, warnings, and progress: a line that changes at a terminal, and else
//! a line every ten seconds.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::format::{Format, Volume};
use crate::{
    http::PauseListener,
    untrusted::{block, plain, workflow},
    workflow::{Console, Progress},
};

/// How often a wait is reported where nobody watches a line change.
const BEAT: Duration = Duration::from_secs(10);

/// How standard error is written to.
#[derive(Debug, Clone)]
pub(super) struct StandardError {
    pub(super) format: Format,
    pub(super) volume: Volume,
    pub(super) colour: bool,
    /// Whether a person watches.
    pub(super) progress: bool,
    /// The line of progress that is shown now.
    pub(super) line: ProgressLine,
}

/// The line of progress at a terminal, if one is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct ProgressLine(Arc<Mutex<Option<ProgressBar>>>);

impl ProgressLine {
    fn shown(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        if let Some(bar) = self.shown().take() {
            bar.finish_and_clear();
        }
    }
}

impl StandardError {
    /// Writes text for people; a line of progress makes room.
    pub(super) fn write(&self, text: &str) {
        let text = if self.format == Format::Github {
            workflow::inert(text, self.colour)
        } else {
            block(text, self.colour)
        };
        // A closed standard error leaves no way to report that it is closed.
        let write = || drop(io::stderr().lock().write_all(text.as_bytes()));
        match &*self.line.shown() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Clears the line of progress.
    pub(super) fn clear(&self) {
        self.line.clear();
    }
}

impl Console for StandardError {
    fn note(&self, text: &str) {
        if self.volume != Volume::Quiet {
            self.write(&format!("{text}\n"));
        }
    }

    fn warn(&self, text: &str) {
        self.write(&format!("warning: {text}\n"));
    }

    fn progress(&self, message: &str) -> Option<Box<dyn Progress>> {
        if self.volume == Volume::Quiet {
            return None;
        }
        if !self.progress {
            return Some(Box::new(Heartbeat::start(self.clone(), message, BEAT)?));
        }
        let bar = ProgressBar::new_spinner().with_message(plain(message));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        // Known before it is drawn, so that a signal clears it in any case.
        *self.line.shown() = Some(bar.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        Some(Box::new(Turning {
            bar,
            line: self.line.clone(),
        }))
    }

    /// Reports a pause as a warning, which `--quiet` keeps: a silent minute looks like a hang.
    fn pause_listener(&self) -> PauseListener {
        let stderr = self.clone();
        PauseListener::new(move |pause| stderr.warn(&pause.to_string()))
    }
}

/// A spinner that clears its line when it is dropped.
struct Turning {
    bar: ProgressBar,
    line: ProgressLine,
}

impl Progress for Turning {
    fn set_message(&self, message: &str) {
        self.bar.set_message(plain(message));
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        self.line.clear();
    }
}

/// Writes what a run waits for, again and again, until it is dropped.
struct Heartbeat {
    message: Arc<Mutex<String>>,
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// `None` if the system has no thread left: then nothing is reported.
    fn start(stderr: StandardError, message: &str, beat: Duration) -> Option<Self> {
        let message = Arc::new(Mutex::new(message.to_owned()));
        let (end, ended) = mpsc::channel();
        let current = Arc::clone(&message);
        let work = move || {
            let begun = Instant::now();
            while ended.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
                let message = current.lock().unwrap_or_else(PoisonError::into_inner);
                let seconds = begun.elapsed().as_secs();
                stderr.write(&format!("{} ({seconds} s)\n", plain(&message)));
            }
        };
        let thread = thread::Builder::new().spawn(work).ok()?;
        Some(Self {
            message,
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Progress for Heartbeat {
    fn set_message(&self, message: &str) {
        let mut current = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        message.clone_into(&mut current);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // Nothing of it is left to report.
            let _ = thread.join();
        }
    }
}
