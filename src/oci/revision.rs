//! Revisions: the commits from which sets of images were built, in the configured form.

use std::fmt;

use regex::Regex;
use serde::{Serialize, Serializer};

/// A revision that matches the configured [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(String);

/// The configured form of a revision: a regular expression for the whole string.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// The error for a malformed pattern.
#[derive(Debug, Clone, thiserror::Error)]
#[error("malformed regular expression: {0}")]
pub struct PatternError(String);

/// The error for a revision that does not match the pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed revision `{text}`: the whole revision must match the pattern `{pattern}`")]
pub struct RevisionError {
    text: String,
    pattern: String,
}

impl PatternError {
    /// The reason in the last line of the error; the lines before it draw the pattern.
    pub fn new(error: &regex::Error) -> Self {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        Self(last.strip_prefix("error: ").unwrap_or(last).to_owned())
    }
}

impl Pattern {
    /// Compiles a pattern for whole revisions.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        // Without the group, because `a)(b` is malformed but would be valid inside the group.
        Regex::new(text).map_err(|error| PatternError::new(&error))?;
        let regex =
            Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| PatternError::new(&error))?;
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Parses a revision that matches the pattern.
    pub fn revision(&self, text: &str) -> Result<Revision, RevisionError> {
        // Empty revisions and control characters are refused even if the pattern allows them.
        if self.regex.is_match(text) && !text.is_empty() && !text.contains(char::is_control) {
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
    fn whole_revision_must_match() {
        let pattern = Pattern::parse("[0-9a-f]{4}|v[0-9]").unwrap();
        assert_eq!(pattern.revision("beef").unwrap().as_str(), "beef");
        assert_eq!(pattern.revision("v1").unwrap().to_string(), "v1");
        for text in ["beef0", "xbeef", "beef\n", "BEEF", ""] {
            assert!(pattern.revision(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn malformed_pattern_is_refused() {
        assert!(Pattern::parse("a)(b").is_err());
        assert!(Pattern::parse("[").is_err());
    }

    #[test]
    fn control_characters_are_refused() {
        let pattern = Pattern::parse("(?s).*").unwrap();
        assert!(pattern.revision("a\u{1b}b").is_err());
    }
}
