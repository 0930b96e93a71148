//! Whom a run reports to while it works. What it comes to is returned, and rendered elsewhere.

use crate::http::Announce;

/// Shows messages to a person.
pub trait Console {
    /// Shows a note; hidden by `--quiet`.
    fn note(&self, text: &str);

    /// Shows a warning.
    fn warn(&self, text: &str);

    /// Shows that work goes on until the spinner is dropped; `None` where nobody watches.
    fn spinner(&self, message: &str) -> Option<Box<dyn Spinner>>;

    /// Receives the pauses that servers ask for.
    fn announce(&self) -> Announce;
}

/// A sign that work goes on.
pub trait Spinner {
    /// Shows another message.
    fn set_message(&self, message: &str);
}
