//! The ids of git objects.
//!
//! The rules of git for the names of branches.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use crate::base::text::decode_hex;

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

/// A name that git refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid branch name: {1}")]
pub struct BranchNameError(String, &'static str);

/// Checks a branch name by git's rules (git-check-ref-format, rules 1 to 10), and that it does not
/// begin with `-`.
pub(crate) fn check_branch(name: &str) -> Result<(), BranchNameError> {
    let malformed = |reason| Err(BranchNameError(name.to_owned(), reason));
    if name.starts_with('-') {
        return malformed("it begins with `-`");
    }
    if name == "@" || name.contains("@{") || name.contains("..") {
        return malformed("`@{`, `..` and a lone `@` have a special meaning in git");
    }
    if name.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c)) {
        return malformed("a space, a control character or one of ~ ^ : ? * [ \\");
    }
    // The case of `.lock` matters to git.
    let is_malformed = |part: &str| {
        part.is_empty() || part.starts_with('.') || part.strip_suffix(".lock").is_some()
    };
    if name.split('/').any(is_malformed) || name.ends_with('.') {
        return malformed("an empty part, or one that begins with `.` or ends with `.lock` or `.`");
    }
    Ok(())
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
