//! References to one image in arguments: `REPOSITORY[:TAG][@DIGEST]`.
//!
//! Tags of the OCI distribution specification ("Pulling manifests", `<reference>` as a tag).
//!
//! Digests of the OCI image specification (descriptor, "Digests"), SHA-256 only.

use std::{
    fmt,
    hash::{self, Hash},
    str::FromStr,
};

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::{Repository, RepositoryError};
use crate::base::text::decode_hex;

/// A repository with a tag or a digest. There is no default tag such as `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub repository: Repository,
    /// The tag, if the reference has one.
    pub tag: Option<Tag>,
    /// The digest, which takes precedence over the tag.
    pub digest: Option<Digest>,
}

/// The error for a malformed reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// In the part before tag and digest.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// In the part after `:`.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// In the part after `@`.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The reference has neither tag nor digest.
    #[error("`{0}` names neither a tag nor a digest")]
    Neither(String),
}

impl Reference {
    /// Parses `REPOSITORY:TAG`, `REPOSITORY@DIGEST` or `REPOSITORY:TAG@DIGEST`. A colon before a
    /// slash belongs to a host with a port.
    pub(crate) fn parse(text: &str) -> Result<Self, ReferenceError> {
        let reference = Self::parse_name(text)?;
        if reference.tag.is_none() && reference.digest.is_none() {
            return Err(ReferenceError::Neither(text.to_owned()));
        }
        Ok(reference)
    }

    /// Parses a reference with an optional tag and an optional digest.
    fn parse_name(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(Tag::parse(tag)?)),
            _ => (name, None),
        };
        Ok(Self {
            repository: Repository::parse(name)?,
            tag,
            digest,
        })
    }
}

/// The repository in a signed name, which may have a tag and a digest. Build systems sign the
/// owner's name with its capitals, as in `ghcr.io/Acme/app`, but repository paths are lowercase.
pub(crate) fn signed_repository(name: &str) -> Option<Repository> {
    let reference = Reference::parse_name(name)
        .or_else(|_| Reference::parse_name(&name.to_ascii_lowercase()))
        .ok()?;
    Some(reference.repository)
}

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

/// A SHA-256 digest; displayed as `sha256:` and 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 32]);

impl Hash for Digest {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// The reason that a text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DigestError {
    /// The specification allows only lowercase letters.
    #[error("a digest must be in lower case")]
    UpperCase,
    /// An algorithm other than `sha256`.
    #[error("only sha256 digests are supported")]
    Algorithm,
    /// The number of digits is not 64.
    #[error("expected `sha256:` and 64 hexadecimal digits, found {0} digits")]
    Length(usize),
    /// A character is not a hexadecimal digit.
    #[error("a digest may contain only the digits 0-9 and a-f")]
    NotHex,
}

impl Digest {
    /// The length of the text, `sha256:` and 64 digits.
    pub(crate) const TEXT_LENGTH: usize = "sha256:".len() + 64;

    /// The digest of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Parses an argument of a user or a build, with or without `sha256:`.
    pub(crate) fn parse_input(text: &str) -> Result<Self, DigestError> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(DigestError::UpperCase);
        }
        match text.split_once(':') {
            Some(("sha256", digits)) => Self::from_hex(digits),
            Some(_) => Err(DigestError::Algorithm),
            None => Self::from_hex(text),
        }
    }

    /// Calls `use_text` with the algorithm and the digits. A scan may print hundreds of thousands of digests,
    /// so the text is not allocated.
    fn with_text<T>(&self, use_text: impl FnOnce(&str) -> T) -> T {
        let mut text = [0; "sha256:".len() + 64];
        text[..7].copy_from_slice(b"sha256:");
        // The rest has the length of the digits.
        let _ = hex::encode_to_slice(self.0, &mut text[7..]);
        use_text(str::from_utf8(&text).unwrap_or_default())
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub(crate) fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The 32 bytes.
    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The first twelve digits, for tables.
    pub(crate) fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }

    /// Parses the 64 digits that follow the algorithm.
    pub(crate) fn from_hex(digits: &str) -> Result<Self, DigestError> {
        if digits.len() != 64 {
            return Err(DigestError::Length(digits.len()));
        }
        let mut bytes = [0; 32];
        match decode_hex(digits.as_bytes(), &mut bytes) {
            Some(()) => Ok(Self(bytes)),
            None if digits.bytes().any(|b| b.is_ascii_uppercase()) => Err(DigestError::UpperCase),
            None => Err(DigestError::NotHex),
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':') {
            Some(("sha256", digits)) => Self::from_hex(digits),
            _ => Err(DigestError::Algorithm),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

/// Computes a [`Digest`] incrementally.
#[derive(Default, Clone)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// Adds `bytes`.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all added bytes.
    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_digests_are_distinguished_from_ports() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, tag, pinned) in [
            ("nginx:1.27".to_owned(), Some("1.27"), false),
            ("localhost:5000/app:v1".to_owned(), Some("v1"), false),
            (format!("localhost:5000/app@{digest}"), None, true),
            (format!("ghcr.io/acme/app:v1@{digest}"), Some("v1"), true),
        ] {
            let reference = Reference::parse(&text).unwrap();
            assert_eq!(reference.tag.as_ref().map(Tag::as_str), tag, "{text}");
            assert_eq!(reference.digest.is_some(), pinned, "{text}");
        }
    }

    #[test]
    fn signed_names_have_no_tag_or_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let canonical = |name: &str| signed_repository(name).map(|found| found.canonical());
        for (name, expected) in [
            ("ghcr.io/acme/app", "ghcr.io/acme/app"),
            ("ghcr.io/acme/app:v1", "ghcr.io/acme/app"),
            (&format!("ghcr.io/acme/app@{digest}"), "ghcr.io/acme/app"),
            (
                &format!("localhost:5000/app:v1@{digest}"),
                "localhost:5000/app",
            ),
            ("ghcr.io/Acme/App", "ghcr.io/acme/app"),
            ("GHCR.IO/acme/app", "ghcr.io/acme/app"),
            ("index.docker.io/acme/app", "docker.io/acme/app"),
            ("acme/app", "docker.io/acme/app"),
            ("nginx", "docker.io/library/nginx"),
        ] {
            assert_eq!(canonical(name).as_deref(), Some(expected), "{name}");
        }
        for name in [
            "",
            "_",
            "pkg:docker/acme/app@v1",
            "https://ghcr.io/acme/app",
            "app@sha256:1",
            "a b",
            "../app",
        ] {
            assert_eq!(canonical(name), None, "{name}");
        }
    }

    #[test]
    fn incomplete_reference_is_refused() {
        let upper = format!("app@sha256:{}", "A".repeat(64));
        for text in [
            "nginx",
            "localhost:5000/app",
            "app:",
            "app@",
            "app@sha256:12",
            ":v1",
            "app:v1@",
            "App:v1",
            &upper,
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

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

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn empty_input_has_its_known_digest() {
        assert_eq!(Digest::of(b"").to_string(), format!("sha256:{EMPTY}"));
        assert_eq!(Digest::of(b"").short(), EMPTY[..12]);
    }

    #[test]
    fn algorithm_is_optional_only_in_arguments() {
        assert_eq!(Digest::parse_input(EMPTY), Ok(Digest::of(b"")));
        assert_eq!(
            Digest::parse_input(&format!("sha256:{EMPTY}")),
            Ok(Digest::of(b""))
        );
        assert_eq!(EMPTY.parse::<Digest>(), Err(DigestError::Algorithm));
    }

    #[test]
    fn malformed_digest_is_refused_with_its_reason() {
        assert_eq!(
            Digest::parse_input(&EMPTY.to_uppercase()),
            Err(DigestError::UpperCase)
        );
        assert_eq!(
            Digest::parse_input("SHA256:aa"),
            Err(DigestError::UpperCase)
        );
        assert_eq!(
            Digest::parse_input(&EMPTY[1..]),
            Err(DigestError::Length(63))
        );
        assert_eq!(
            Digest::parse_input(&format!("sha512:{EMPTY}")),
            Err(DigestError::Algorithm)
        );
        assert_eq!(
            Digest::parse_input(&EMPTY.replace('e', "g")),
            Err(DigestError::NotHex)
        );
        assert_eq!(Digest::parse_input(""), Err(DigestError::Length(0)));
    }
}
