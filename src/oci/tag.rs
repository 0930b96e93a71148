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

impl TagError {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX: usize = 128;

    /// Whether a byte may be a part of a tag.
    pub(crate) fn has_character(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
    }

    /// Parses a tag.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        let is_allowed = text.bytes().all(Self::has_character);
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

/// A tag, or a pattern of tags in which each `*` matches `[A-Za-z0-9._-]*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagPattern {
    Tag(Tag),
    Wildcard(WildcardPattern),
}

/// A pattern of tags with `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WildcardPattern {
    /// The text before the first `*`.
    prefix: String,
    /// The texts between the `*`.
    inner: Vec<String>,
    /// The text after the last `*`.
    suffix: String,
}

impl TagPattern {
    /// Parses a tag in which `*` may occur.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        let mut texts: Vec<_> = text.split('*').map(str::to_owned).collect();
        let (Some(suffix), false) = (texts.pop(), texts.is_empty()) else {
            return Ok(Self::Tag(Tag::parse(text)?));
        };
        // The shortest matching tag must be valid; without a prefix, its first character is unknown.
        let shortest = texts.concat() + &suffix;
        let start = if texts[0].is_empty() { "_" } else { "" };
        if Tag::parse(&format!("{start}{shortest}")).is_err() {
            return Err(TagError(text.to_owned()));
        }
        let prefix = texts.remove(0);
        Ok(Self::Wildcard(WildcardPattern {
            prefix,
            inner: texts,
            suffix,
        }))
    }

    /// The tag; `None` for a pattern with `*`.
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Wildcard(_) => None,
        }
    }

    pub fn matches(&self, tag: &Tag) -> bool {
        match self {
            Self::Tag(own) => own == tag,
            Self::Wildcard(pattern) => pattern.matches(tag),
        }
    }
}

impl WildcardPattern {
    /// Whether the pattern matches a tag. One pass decides: if each inner text is matched at its leftmost
    /// occurrence, the rest of the tag is as long as possible.
    pub fn matches(&self, tag: &Tag) -> bool {
        let rest = tag.as_str().strip_prefix(self.prefix.as_str());
        let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(self.suffix.as_str())) else {
            return false;
        };
        for text in &self.inner {
            let Some((_, after)) = rest.split_once(text.as_str()) else {
                return false;
            };
            rest = after;
        }
        true
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => fmt::Display::fmt(tag, f),
            Self::Wildcard(pattern) => fmt::Display::fmt(pattern, f),
        }
    }
}

impl fmt::Display for WildcardPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*", self.prefix)?;
        for text in &self.inner {
            write!(f, "{text}*")?;
        }
        f.write_str(&self.suffix)
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

    #[test]
    fn wildcards_match_within_a_tag() {
        for (pattern, matching, others) in [
            (
                "main-b330f60-*",
                "main-b330f60-1732291200 main-b330f60-",
                "main-b330f60 main-b330f6x-1",
            ),
            ("*-b330f60", "x-b330f60 a-b-b330f60", "b330f60 a-b330f60-1"),
            ("a*b*b", "abb axbxb abbb", "ab a-b axb abbc"),
            ("a**b", "ab a.b", "a b"),
            ("aba*aba", "abaaba aba-aba", "aba ababa"),
            ("*", "a latest", ""),
        ] {
            let parsed = TagPattern::parse(pattern).unwrap();
            assert_eq!(parsed.to_string(), pattern);
            assert_eq!(parsed.tag(), None);
            for text in matching.split_whitespace() {
                assert!(
                    parsed.matches(&Tag::parse(text).unwrap()),
                    "{pattern} {text}"
                );
            }
            for text in others.split_whitespace() {
                assert!(
                    !parsed.matches(&Tag::parse(text).unwrap()),
                    "{pattern} {text}"
                );
            }
        }
        let tag = TagPattern::parse("v1").unwrap();
        assert_eq!(tag.tag().unwrap().as_str(), "v1");
        assert!(tag.matches(&Tag::parse("v1").unwrap()));
        assert!(!tag.matches(&Tag::parse("v12").unwrap()));
        let long = "a".repeat(128);
        for malformed in ["", "-a*", "a/*", "*a:b", &format!("{long}*a")] {
            assert!(TagPattern::parse(malformed).is_err(), "{malformed}");
        }
    }
}
