//! Paths and globs that stay beneath the root.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use globset::{GlobBuilder, GlobMatcher};

/// A relative path that never leaves the folder it is relative to (symlinks aside: whoever opens it
/// checks those).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(PathBuf);

/// Why a text is not a path beneath the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Begins at the file system's root.
    #[error("`{0}` is absolute: paths here are relative to the folder of the configuration")]
    Absolute(String),
    /// Has a `..`.
    #[error("`{0}` leaves the folder of the configuration: `..` is not allowed")]
    Leaves(String),
    /// Empty, or `.` alone, or with a NUL byte.
    #[error("`{0}` names no file")]
    Nothing(String),
    /// The glob's own syntax.
    #[error("`{0}` is not a glob: {1}")]
    Glob(String, String),
}

impl RelPath {
    /// Parses `text`; `./` is dropped.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.contains('\0') {
            return Err(PathError::Nothing(text.to_owned()));
        }
        Self::new(Path::new(text))
    }

    /// The same for a path that need not be UTF-8.
    pub fn new(path: &Path) -> Result<Self, PathError> {
        let text = || path.to_string_lossy().into_owned();
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::CurDir => {}
                Component::ParentDir => return Err(PathError::Leaves(text())),
                Component::RootDir | Component::Prefix(_) => {
                    return Err(PathError::Absolute(text()));
                }
            }
        }
        if clean.as_os_str().is_empty() {
            Err(PathError::Nothing(text()))
        } else {
            Ok(Self(clean))
        }
    }

    /// The path itself.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The path's bytes, `/` between the components.
    pub fn as_bytes(&self) -> &[u8] {
        std::os::unix::ffi::OsStrExt::as_bytes(self.0.as_os_str())
    }
}

impl fmt::Display for RelPath {
    /// Bytes that are not UTF-8 are shown as U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.display(), f)
    }
}

/// A glob over paths beneath the root: `*` and `?` stay within a component, `**` crosses them, dot
/// files match.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    matcher: GlobMatcher,
}

impl Glob {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        RelPath::parse(text)?;
        if text.ends_with('/') {
            return Err(PathError::Glob(
                text.to_owned(),
                "it ends with `/`, and no file does".to_owned(),
            ));
        }
        let text = text.strip_prefix("./").unwrap_or(text);
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(true)
            .empty_alternates(true)
            .build();
        match glob {
            Ok(glob) => Ok(Self {
                text: text.to_owned(),
                matcher: glob.compile_matcher(),
            }),
            Err(error) => Err(PathError::Glob(text.to_owned(), error.kind().to_string())),
        }
    }

    /// Whether the path matches.
    pub fn matches(&self, path: &Path) -> bool {
        self.matcher.is_match(path)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The folder that every match lies in, as far as it is spelled out: `.github/workflows` for
    /// `.github/workflows/*.yml`.
    pub fn literal_folder(&self) -> PathBuf {
        let mut components: Vec<_> = self.text.split('/').collect();
        components.pop();
        components
            .into_iter()
            .take_while(|c| !c.contains(['*', '?', '[', '{', '}', '\\']))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_beneath_the_root() {
        assert_eq!(RelPath::parse("./a//b/.").unwrap().to_string(), "a/b");
        assert!(matches!(
            RelPath::parse("/etc/passwd"),
            Err(PathError::Absolute(_))
        ));
        assert!(matches!(
            RelPath::parse("a/../../b"),
            Err(PathError::Leaves(_))
        ));
        assert!(matches!(RelPath::parse("."), Err(PathError::Nothing(_))));
        assert!(matches!(RelPath::parse("a\0b"), Err(PathError::Nothing(_))));
    }

    #[test]
    fn globs_match_dot_files_and_stop_at_slashes() {
        let glob = Glob::parse(".github/workflows/*.yml").unwrap();
        assert!(glob.matches(Path::new(".github/workflows/.hidden.yml")));
        assert!(!glob.matches(Path::new(".github/workflows/a/b.yml")));
        assert!(
            Glob::parse("**/*.yml")
                .unwrap()
                .matches(Path::new("top.yml"))
        );
        assert!(Glob::parse("../*.yml").is_err());
        assert!(Glob::parse("a[").is_err());
    }

    #[test]
    fn the_walk_begins_at_the_folder_that_is_spelled_out() {
        assert_eq!(
            Glob::parse(".github/workflows/*.yml")
                .unwrap()
                .literal_folder(),
            Path::new(".github/workflows")
        );
        assert_eq!(
            Glob::parse("*.yml").unwrap().literal_folder(),
            Path::new("")
        );
        assert_eq!(
            Glob::parse("a/{b,c/d}/e.yml").unwrap().literal_folder(),
            Path::new("a")
        );
        assert_eq!(
            Glob::parse("a/{b/c,d}/e.yml").unwrap().literal_folder(),
            Path::new("a")
        );
    }
}
