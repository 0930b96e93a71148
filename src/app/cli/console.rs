//! Standard error of a run: notes, warnings and progress. On a terminal, progress is a line that is redrawn;
//! otherwise, it is one line every ten seconds.

use std::{
    io::{self, Write},
    mem,
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
    app::workflow::{Console, Progress},
    base::{
        http::PauseListener,
        untrusted::{block, plain, workflow},
    },
};

/// The interval of progress reports without a terminal.
const HEARTBEAT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(super) struct StandardError {
    pub(super) format: Format,
    pub(super) volume: Volume,
    pub(super) color: bool,
    /// Whether progress is a line that is redrawn.
    pub(super) redraws: bool,
    pub(super) line: ProgressLine,
    pub(super) heading: Heading,
}

/// The heading of the next message; empty after it was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Heading(Arc<Mutex<String>>);

impl Heading {
    pub(super) fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn take(&self) -> String {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The current line of progress on a terminal.
#[derive(Debug, Clone, Default)]
pub(super) struct ProgressLine(Arc<Mutex<Option<ProgressBar>>>);

impl ProgressLine {
    fn lock(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }
}

impl StandardError {
    /// Writes text, above the line of progress.
    pub(super) fn write(&self, text: &str) {
        let text = &(self.heading.take() + text);
        let text = if self.format == Format::Github {
            workflow::inert(text, self.color)
        } else {
            block(text, self.color)
        };
        // A closed standard error cannot be reported.
        let write = || drop(io::stderr().lock().write_all(text.as_bytes()));
        match &*self.line.lock() {
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
        if !self.redraws {
            return Some(Box::new(Heartbeat::start(
                self.clone(),
                message,
                HEARTBEAT,
            )?));
        }
        let bar = ProgressBar::new_spinner().with_message(plain(message));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        // Registered before it is drawn, so that a signal can always clear it.
        *self.line.lock() = Some(bar.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        Some(Box::new(Spinner {
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
struct Spinner {
    bar: ProgressBar,
    line: ProgressLine,
}

impl Progress for Spinner {
    fn set_message(&self, message: &str) {
        self.bar.set_message(plain(message));
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.line.clear();
    }
}

/// Writes a message at regular intervals until it is dropped.
struct Heartbeat {
    message: Arc<Mutex<String>>,
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Returns `None` if the system cannot start a thread; progress is then not reported.
    fn start(stderr: StandardError, message: &str, interval: Duration) -> Option<Self> {
        let message = Arc::new(Mutex::new(message.to_owned()));
        let (end, ended) = mpsc::channel();
        let current = Arc::clone(&message);
        let thread = thread::Builder::new()
            .spawn(move || {
                let start = Instant::now();
                while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    let message = current.lock().unwrap_or_else(PoisonError::into_inner);
                    let seconds = start.elapsed().as_secs();
                    stderr.write(&format!("{} ({seconds} s)\n", plain(&message)));
                }
            })
            .ok()?;
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
            // A panic of the thread was already reported.
            let _ = thread.join();
        }
    }
}
