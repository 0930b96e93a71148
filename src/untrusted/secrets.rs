//! The secrets of a run, and what a server says without them.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Forms, forms::percent_decoded, short};

/// A password or a token: no `Display`, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, to be sent to where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// All secrets that a run has met; clones share them.
///
/// Whatever a server or a helper says passes here before it gets into a message: a server that
/// echoes the header it was sent must not make us print a password.
#[derive(Default, Clone)]
pub struct Secrets(Arc<Mutex<Forms>>);

impl Secrets {
    /// Keeps `secret` out of everything that is shown from now on, in every form that it travels in.
    pub fn hide(&self, secret: &str) {
        self.forms().add(secret.as_bytes());
    }

    /// The same for a password and the `user:password` that `Basic` sends.
    pub fn hide_basic(&self, user: &str, password: &str) {
        if !password.is_empty() {
            self.hide(password);
            // A short password may not be recognized within a longer base64 text.
            let pair = format!("{user}:{password}");
            self.hide(&pair);
            // What is sent is a credential itself, and some servers encode what they were sent.
            self.hide(&STANDARD.encode(pair));
        }
    }

    /// The same for both as written in a URL; they are sent decoded.
    pub fn hide_userinfo(&self, user: &str, password: &str) {
        self.hide(password);
        self.hide_basic(&percent_decoded(user), &percent_decoded(password));
    }

    /// `text` without the run's secrets.
    pub fn redact(&self, text: &str) -> String {
        let shown = self.forms().redact(text.as_bytes());
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Foreign text without secrets and hidden characters, on one line and at most `columns` wide.
    pub fn clean(&self, text: &str, columns: usize) -> String {
        short(&self.redact(text.trim()), columns)
    }

    fn forms(&self) -> MutexGuard<'_, Forms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_vanish_in_every_form_they_travel_in() {
        let secrets = Secrets::default();
        secrets.hide("p/ss wörd");
        secrets.hide("p/ss");
        let echo = format!(
            "got p/ss wörd, {} and p%2Fss+w%C3%B6rd",
            STANDARD.encode("p/ss wörd")
        );
        assert_eq!(secrets.clean(&echo, 200), "got ***, *** and ***");
        assert_eq!(secrets.clean("", 200), "");
        secrets.hide_basic("ada", "x1");
        let basic = STANDARD.encode("ada:x1");
        assert_eq!(secrets.redact(&format!("Basic {basic}")), "Basic ***");
        assert_eq!(secrets.redact(&STANDARD.encode(basic)), "***");
        secrets.hide_userinfo("a%40", "p%C3%A4%zz");
        let basic = STANDARD.encode("a@:pä%zz");
        assert_eq!(secrets.redact(&format!("{basic} p%C3%A4%zz")), "*** ***");
        // Sent as it stands by whoever does not decode it.
        assert_eq!(secrets.redact(&STANDARD.encode("p%C3%A4%zz")), "***");
        secrets.hide_basic("ada", "");
        assert_eq!(secrets.clone().redact("ada:x1 ada:"), "*** ada:");
    }

    #[test]
    fn foreign_text_is_one_short_harmless_line() {
        let text = format!("a\u{1b}[2J\n\"b\" {}", "x".repeat(500));
        let clean = Secrets::default().clean(&text, 200);
        assert!(
            clean.starts_with("a\\u{1b}[2J\\n\"b\" xxx") && clean.ends_with("x…"),
            "{clean}"
        );
        assert!(clean.len() < 250, "{clean}");
    }

    #[test]
    fn it_is_never_shown() {
        let secret = Secret::new("s3cret".to_owned());
        let secrets = Secrets::default();
        secrets.hide(secret.expose());
        assert_eq!(format!("{secret:?} {secrets:?}"), "*** ***");
        assert_eq!(
            secrets.clean("you sent s3cret\u{1b}[1m \"x\"", 300),
            "you sent ***\\u{1b}[1m \"x\""
        );
        assert!(secrets.clean(&"x".repeat(400), 300).len() < 310);
    }
}
