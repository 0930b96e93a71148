//! The receiver of messages during a run. The result is returned and rendered elsewhere.

use crate::http::PauseListener;

/// Shows messages to a person.
pub trait Console {
    /// Shows a note; hidden by `--quiet`.
    fn note(&self, text: &str);

    /// Shows a warning.
    fn warn(&self, text: &str);

    /// Shows what the run waits for until it is dropped: a line that changes at a terminal, a line
    /// every ten seconds elsewhere; `None` if nobody wants to know.
    fn progress(&self, message: &str) -> Option<Box<dyn Progress>>;

    /// Receives the pauses that servers request.
    fn pause_listener(&self) -> PauseListener;
}

/// What is shown of a wait.
pub trait Progress {
    /// Shows another message.
    fn set_message(&self, message: &str);
}
