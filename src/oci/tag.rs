//! Tags of the OCI distribution specification ("Pulling manifests", `<reference>` as a tag).

use std::fmt;

use serde::{Serialize, Serializer};

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// Why a text is not a tag.
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
        let first = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let rest = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if first && rest && text.len() <= Self::MAX {
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
    fn the_grammar_of_the_specification() {
        for good in ["latest", "_x", "1.2-3", &"a".repeat(128)] {
            assert!(Tag::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a/b", "a:b", "ä", &"a".repeat(129)] {
            assert!(Tag::parse(bad).is_err(), "{bad}");
        }
    }
}
