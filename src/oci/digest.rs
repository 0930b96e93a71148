//! Digests of the OCI image specification (descriptor, "Digests"), SHA-256 only.

use crate::base::hex::decode_hex;
use std::{
    fmt,
    hash::{self, Hash},
    str::FromStr,
};

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

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
