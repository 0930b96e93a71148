//! The receiver of messages during a run. The result is returned and rendered elsewhere.

use crate::http::Announce;

/// Shows messages to a person.
pub trait Console {
    /// Shows a note; hidden by `--quiet`.
    fn note(&self, text: &str);

    /// Shows a warning.
    fn warn(&self, text: &str);

    /// Shows a spinner until it is dropped; `None` without a terminal.
    fn spinner(&self, message: &str) -> Option<Box<dyn Spinner>>;

    /// Receives the pauses that servers request.
    fn announce(&self) -> Announce;
}

/// A sign of progress.
pub trait Spinner {
    /// Shows another message.
    fn set_message(&self, message: &str);
}
