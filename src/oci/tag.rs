//! Tags of the OCI distribution specification ("Pulling manifests", `<reference>` as a tag).

use std::fmt;

use serde::{Serialize, Serializer};

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// The error for a malformed tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed tag `{0}`: expected 1 to 128 of the characters A-Z a-z 0-9 _ . -, not starting with . or -"
)]
pub struct TagError(String);

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX: usize = 128;

    /// Parses a tag.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        let is_allowed = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let has_length = (1..=Self::MAX).contains(&text.len());
        if is_allowed && has_length && !text.starts_with(['.', '-']) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TagError(text.to_owned()))
        }
    }

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_follow_the_specification() {
        for tag in ["latest", "_x", "1.2-3", &"a".repeat(128)] {
            assert!(Tag::parse(tag).is_ok(), "{tag}");
        }
        for text in ["", ".a", "-a", "a/b", "a:b", "ä", &"a".repeat(129)] {
            assert!(Tag::parse(text).is_err(), "{text}");
        }
    }
}
