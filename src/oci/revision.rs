//! Revisions: the commit that a set of images was built from, in the shape that the configuration
//! demands.

use std::fmt;

use regex::Regex;
use serde::{Serialize, Serializer};

/// A revision that matched the configured [`Pattern`] as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(String);

/// The configured shape of a revision: a regular expression for the whole string.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    whole: Regex,
}

/// Why a pattern does not compile.
#[derive(Debug, Clone, thiserror::Error)]
#[error("malformed regular expression: {0}")]
pub struct PatternError(String);

/// Why a text is not a revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed revision `{text}`: the whole revision must match the pattern `{pattern}`")]
pub struct RevisionError {
    text: String,
    pattern: String,
}

impl PatternError {
    /// The error of a regular expression on one line: without the drawing of the pattern that
    /// `regex` puts above its reason.
    pub fn new(error: &regex::Error) -> Self {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        Self(last.strip_prefix("error: ").unwrap_or(last).to_owned())
    }
}

impl Pattern {
    /// Compiles `text`, which then must match a whole revision.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        // Compiled alone first: `a)(b` is wrong by itself and would be right inside a group.
        Regex::new(text).map_err(|error| PatternError::new(&error))?;
        let whole =
            Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| PatternError::new(&error))?;
        Ok(Self {
            text: text.to_owned(),
            whole,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `text` is a revision of this shape.
    pub fn revision(&self, text: &str) -> Result<Revision, RevisionError> {
        // A control character is never part of a revision, whatever the pattern lets through.
        if self.whole.is_match(text) && !text.is_empty() && !text.contains(char::is_control) {
            Ok(Revision(text.to_owned()))
        } else {
            Err(RevisionError {
                text: text.to_owned(),
                pattern: self.text.clone(),
            })
        }
    }
}

impl Revision {
    /// The revision's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_string_has_to_match() {
        let pattern = Pattern::parse("[0-9a-f]{4}|v[0-9]").unwrap();
        assert_eq!(pattern.revision("beef").unwrap().as_str(), "beef");
        assert_eq!(pattern.revision("v1").unwrap().to_string(), "v1");
        for bad in ["beef0", "xbeef", "beef\n", "BEEF", ""] {
            assert!(pattern.revision(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_that_is_wrong_by_itself_is_refused() {
        assert!(Pattern::parse("a)(b").is_err());
        assert!(Pattern::parse("[").is_err());
    }

    #[test]
    fn control_characters_never_pass() {
        assert!(
            Pattern::parse("(?s).*")
                .unwrap()
                .revision("a\u{1b}b")
                .is_err()
        );
    }
}
