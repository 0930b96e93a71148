//! Standard error of a run: notes, warnings, and a spinner at a terminal.

use std::{
    io::{self, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::format::{Format, Volume};
use crate::{
    http::Announce,
    untrusted::{block, plain, workflow},
    workflow::{Console, Spinner},
};

/// How standard error is written to.
#[derive(Debug, Clone, Copy)]
pub(super) struct StandardError {
    pub(super) format: Format,
    pub(super) volume: Volume,
    pub(super) colour: bool,
    /// Whether a person watches.
    pub(super) progress: bool,
}

impl StandardError {
    /// Writes text for people.
    pub(super) fn write(self, text: &str) {
        let text = if self.format == Format::Github {
            workflow::inert(text, self.colour)
        } else {
            block(text, self.colour)
        };
        // A closed standard error leaves no way to report that it is closed.
        let _ = io::stderr().lock().write_all(text.as_bytes());
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

    fn spinner(&self, message: &str) -> Option<Box<dyn Spinner>> {
        self.progress.then(|| {
            let bar = ProgressBar::new_spinner().with_message(plain(message));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            Box::new(Turning(bar)) as Box<dyn Spinner>
        })
    }

    /// Reports a pause as a warning, which `--quiet` keeps: a silent minute looks like a hang.
    fn announce(&self) -> Announce {
        let stderr = *self;
        Announce::to(move |pause| stderr.warn(&pause.to_string()))
    }
}

/// A spinner that clears its line when it is dropped.
struct Turning(ProgressBar);

impl Spinner for Turning {
    fn set_message(&self, message: &str) {
        self.0.set_message(plain(message));
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
