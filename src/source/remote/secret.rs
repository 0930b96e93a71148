//! Secrets of a run, and text from outside made fit to be shown.
//!
//! Whatever a server or a helper says passes [`Secrets::clean`] before it gets into a message: a
//! server that echoes the header it was sent must not make us print a password.

use std::{fmt, sync::Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;

/// How much of a foreign text is shown, in characters.
const SHOWN: usize = 200;

/// A password or a token: no `Display`, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, to be sent to where it belongs.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// All secrets that a run has met, in the forms they travel in.
#[derive(Debug, Default)]
pub(super) struct Secrets(Mutex<Vec<Secret>>);

impl Secrets {
    /// Keeps `text` out of everything that is shown from now on.
    pub(super) fn hide(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for form in [
            text.to_owned(),
            STANDARD.encode(text),
            form_encoded(&[("", text)])[1..].to_owned(),
        ] {
            let form = Secret(form);
            if !all.contains(&form) {
                all.push(form);
            }
        }
        // The longest first, so that none hides the beginning of another and leaves its end.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.0.len()));
    }

    /// `text` without the run's secrets.
    pub(super) fn redact(&self, text: &str) -> String {
        let all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.iter().fold(text.to_owned(), |text, secret| {
            text.replace(&secret.0, "***")
        })
    }

    /// Foreign text without secrets and control characters, on one line and short.
    pub(super) fn clean(&self, text: &str) -> String {
        let text = self.redact(text.trim());
        let mut shown: String = text.chars().take(SHOWN).flat_map(escaped).collect();
        if text.chars().nth(SHOWN).is_some() {
            shown.push('…');
        }
        shown
    }
}

/// Quotes stay as they are; what could move a cursor or start an escape sequence does not.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let plain = matches!(c, '"' | '\'' | '\\');
    let escape = (!plain).then(|| c.escape_debug());
    plain
        .then_some(c)
        .into_iter()
        .chain(escape.into_iter().flatten())
}

/// `application/x-www-form-urlencoded` (WHATWG URL, section 5.2).
pub(super) fn form_encoded(pairs: &[(&str, &str)]) -> String {
    // The serializer lives in the URL type; the address around it means nothing.
    let Ok(mut url) = Url::parse("http://form.invalid/") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
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
        assert_eq!(secrets.clean(&echo), "got ***, *** and ***");
        assert_eq!(secrets.clean(""), "");
    }

    #[test]
    fn foreign_text_is_one_short_harmless_line() {
        let clean = Secrets::default().clean(&format!("a\u{1b}[2J\n\"b\" {}", "x".repeat(500)));
        assert!(
            clean.starts_with("a\\u{1b}[2J\\n\"b\" xxx") && clean.ends_with("x…"),
            "{clean}"
        );
        assert!(clean.len() < 250, "{clean}");
        assert_eq!(format!("{:?}", Secret::new("s3cret".to_owned())), "***");
    }
}
