//! The identity of a set: the path of its configuration file in the repository.

use std::{
    fmt::{self, Write as _},
    path::Path,
};

use serde::{Serialize, Serializer};

use super::FILE_NAME;
use crate::base::files::{PathError, RelPath};

/// The path of a configuration file, relative to the top of the git repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetPath(RelPath);

impl SetPath {
    pub fn new(path: &Path) -> Result<Self, PathError> {
        RelPath::new(path).map(Self)
    }

    /// The set of the `repin.yaml` at the top of the repository.
    pub fn top() -> Self {
        Self(RelPath::file(FILE_NAME))
    }

    /// The directory of the configuration file; empty for the top of the repository.
    pub fn directory(&self) -> &Path {
        self.as_path().parent().unwrap_or(Path::new(""))
    }

    /// The directory with a trailing `/`, as paths below it begin; empty for the top of the repository.
    pub fn prefix(&self) -> String {
        let mut path = self.0.to_string();
        path.truncate(path.rfind('/').map_or(0, |slash| slash + 1));
        path
    }

    /// Whether this is the set of the `repin.yaml` at the top of the repository.
    pub fn is_top(&self) -> bool {
        self.0.as_bytes() == FILE_NAME.as_bytes()
    }

    /// The configuration file.
    pub fn file(&self) -> &RelPath {
        &self.0
    }

    pub fn as_path(&self) -> &Path {
        self.0.as_path()
    }

    /// The name of the file, as messages show it.
    pub fn file_name(&self) -> String {
        let name = self.as_path().file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The set key: the path as a part of a branch name, empty for the `repin.yaml` at the top.
    pub fn key(&self) -> String {
        valid_in_branch(&self.parts().join("-"))
    }

    /// The directories of the path, and the name in that of the configuration file; empty for the `repin.yaml` at the
    /// top.
    pub fn parts(&self) -> Vec<String> {
        let path = self.0.to_string();
        let mut parts: Vec<&str> = path.split('/').collect();
        let file = parts.pop().unwrap_or_default();
        let name = file_key(file);
        if !name.is_empty() {
            parts.push(name);
        }
        parts.into_iter().map(str::to_owned).collect()
    }

    /// The path as a marker and a trailer contain it: percent-encoded outside of `[A-Za-z0-9._/-]`.
    pub fn encoded(&self) -> String {
        let mut text = String::new();
        for byte in self.0.as_bytes() {
            if is_plain(*byte) {
                text.push(char::from(*byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    }

    /// Decodes a path; accepts only the output of [`SetPath::encoded`].
    pub fn decode(text: &str) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            if *first == b'%' {
                let (digits, after) = rest.split_at_checked(2)?;
                let digits = std::str::from_utf8(digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            } else {
                bytes.push(*first);
            }
        }
        let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&bytes);
        let set = Self::new(Path::new(path)).ok()?;
        (set.encoded() == text).then_some(set)
    }
}

impl From<RelPath> for SetPath {
    fn from(file: RelPath) -> Self {
        Self(file)
    }
}

impl fmt::Display for SetPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for SetPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The part of the key that the name of the configuration file contributes.
fn file_key(file: &str) -> &str {
    if file == FILE_NAME {
        return "";
    }
    let Some(stem) = file
        .strip_suffix(".yaml")
        .or_else(|| file.strip_suffix(".yml"))
    else {
        return file;
    };
    match stem.strip_prefix("repin.") {
        Some(name) if !name.is_empty() => name,
        _ => stem,
    }
}

/// Replaces the characters that a branch name must not contain by `-` (git-check-ref-format).
fn valid_in_branch(text: &str) -> String {
    let mut key = text
        .replace(|c: char| c.is_control() || " ~^:?*[\\".contains(c), "-")
        .replace("..", "--")
        .replace("@{", "--");
    if key.starts_with('.') {
        key.replace_range(..1, "-");
    }
    for suffix in [".lock", "."] {
        if key.ends_with(suffix) {
            let dot = key.len() - suffix.len();
            key.replace_range(dot..=dot, "-");
        }
    }
    key
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._/-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::check_branch;

    fn set(path: &str) -> SetPath {
        SetPath::new(Path::new(path)).unwrap()
    }

    #[test]
    fn key_follows_from_path() {
        for (path, key) in [
            ("repin.yaml", ""),
            ("envs/prod/repin.yaml", "envs-prod"),
            ("deploy/repin.eu.yaml", "deploy-eu"),
            ("repin.eu.yml", "eu"),
            ("repin.eu.west.yaml", "eu.west"),
            ("prod.yaml", "prod"),
            ("a/prod.yml", "a-prod"),
            ("repin.yml", "repin"),
            ("a/pins", "a-pins"),
        ] {
            assert_eq!(set(path).key(), key, "{path}");
        }
        assert!(set("repin.yaml").is_top());
        assert!(!set("a/repin.yaml").is_top());
    }

    #[test]
    fn key_is_valid_in_a_branch() {
        for (path, key) in [
            (".github/repin.yaml", "-github"),
            ("a..b/repin.yaml", "a--b"),
            ("a...b/repin.yaml", "a--.b"),
            ("a@{b/repin.yaml", "a--b"),
            ("x.lock/repin.yaml", "x-lock"),
            ("x./repin.yaml", "x-"),
            ("a b~c^d:e?f*g[h\\i/repin.yaml", "a-b-c-d-e-f-g-h-i"),
            ("a\u{7f}\n/repin.yaml", "a--"),
        ] {
            let made = set(path).key();
            assert_eq!(made, key, "{path:?}");
            assert!(check_branch(&format!("repin/{made}/promote-0")).is_ok());
            assert!(check_branch(&format!("promote-0/{made}")).is_ok());
        }
    }

    #[test]
    fn encoded_path_is_decoded() {
        for (path, encoded) in [
            ("envs/prod/repin.yaml", "envs/prod/repin.yaml"),
            ("a b/repin.yaml", "a%20b/repin.yaml"),
            ("a-->%/ü.yaml", "a--%3E%25/%C3%BC.yaml"),
            ("(x)/repin.yaml", "%28x%29/repin.yaml"),
        ] {
            assert_eq!(set(path).encoded(), encoded);
            assert_eq!(SetPath::decode(encoded), Some(set(path)));
        }
        let bytes: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.yaml");
        let raw = SetPath::new(Path::new(bytes)).unwrap();
        assert_eq!(SetPath::decode(&raw.encoded()), Some(raw));
    }

    #[test]
    fn other_encodings_are_refused() {
        for text in [
            "", ".", "/a", "../a", "a/../b", "a//b", "./a", "a b", "%61", "%2", "%zz", "a%c3%bc",
            "%+1", "a>",
        ] {
            assert_eq!(SetPath::decode(text), None, "{text}");
        }
    }
}
