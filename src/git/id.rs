//! The ids of git objects.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use crate::base::hex::decode_hex;

/// The full id of a git object: 40 hexadecimal digits, or 64 in a repository with SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    bytes: [u8; 32],
    length: u8,
}

impl ObjectId {
    /// Parses a full id in lower case, as git prints it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if !matches!(text.len(), 40 | 64) {
            return None;
        }
        let mut bytes = [0; 32];
        decode_hex(text, &mut bytes[..text.len() / 2])?;
        Some(Self {
            bytes,
            length: u8::try_from(text.len() / 2).ok()?,
        })
    }

    /// From the bytes of a tree entry: 20 or 32.
    pub(crate) fn from_bytes(raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        if !matches!(raw.len(), 20 | 32) {
            return None;
        }
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Self {
            bytes,
            length: u8::try_from(raw.len()).ok()?,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length()]
    }

    /// The number of bytes: 20 or 32.
    pub(super) fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// The first ten digits, for messages.
    pub fn short(&self) -> String {
        hex::encode(&self.bytes[..5])
    }
}

impl Hash for ObjectId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.bytes());
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.bytes()))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for ObjectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_ids_are_parsed() {
        for good in ["a".repeat(40), "0".repeat(64)] {
            assert_eq!(ObjectId::parse(good.as_bytes()).unwrap().to_string(), good);
        }
        for bad in [
            String::new(),
            "a".repeat(39),
            "a".repeat(41),
            "A".repeat(40),
            format!("-{}", "a".repeat(39)),
            format!("HEAD@{{1}}{}", "a".repeat(31)),
        ] {
            assert_eq!(ObjectId::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
