//! Paths of a repository that several sets read, and a few directories that contain all of them.

use std::collections::BTreeSet;

/// Paths without a slash at the end. The empty path contains every other one.
#[derive(Debug, Clone, Default)]
pub(super) struct PathSet(BTreeSet<Vec<u8>>);

impl FromIterator<Vec<u8>> for PathSet {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(paths: I) -> Self {
        let paths = paths.into_iter();
        Self(paths.map(|path| without_slash(&path).to_vec()).collect())
    }
}

impl PathSet {
    /// Whether a path is one of these or below one.
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        let path = without_slash(path);
        self.0.contains(path) || self.has_parent(path)
    }

    fn has_parent(&self, path: &[u8]) -> bool {
        let mut slashes = memchr::memchr_iter(b'/', path);
        !path.is_empty() && self.0.contains(&b""[..])
            || slashes.any(|slash| self.0.contains(&path[..slash]))
    }

    /// At most `most` paths that contain all of these, none of them below another one: git compares every
    /// file with every path.
    pub(super) fn outermost(&self, most: usize) -> Vec<Vec<u8>> {
        let mut set = self.clone();
        loop {
            let paths = set.0.iter().filter(|path| !set.has_parent(path));
            let paths: Vec<_> = paths.cloned().collect();
            let depth = paths.iter().map(|path| depth(path)).max().unwrap_or(0);
            if paths.len() <= most || depth == 0 {
                return paths;
            }
            let mut above = BTreeSet::new();
            for mut path in paths {
                if self::depth(&path) == depth {
                    path.truncate(memchr::memrchr(b'/', &path).unwrap_or(0));
                }
                above.insert(path);
            }
            set = Self(above);
        }
    }
}

fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

/// The number of names in a path.
fn depth(path: &[u8]) -> usize {
    if path.is_empty() {
        0
    } else {
        memchr::memchr_iter(b'/', path).count() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> PathSet {
        paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    }

    fn outermost(paths: &[&str], most: usize) -> Vec<String> {
        let paths = set(paths).outermost(most).into_iter();
        paths.map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn common_beginning_of_names_is_no_directory() {
        let paths = set(&["a", "b/c/"]);
        for path in ["a", "a/", "a/x", "b/c", "b/c/d/e"] {
            assert!(paths.contains(path.as_bytes()), "{path}");
        }
        for path in ["", "ab", "a-b/x", "b", "b/", "b/cd"] {
            assert!(!paths.contains(path.as_bytes()), "{path}");
        }
        for path in ["", "a", "a/b"] {
            assert!(set(&[""]).contains(path.as_bytes()), "{path}");
        }
        assert!(!set(&[]).contains(b""));
    }

    #[test]
    fn outermost_paths_contain_all() {
        let paths = ["a", "a/x", "a-b/c", "a-b/d/e", "ab"];
        assert_eq!(outermost(&paths, 9), ["a", "a-b/c", "a-b/d/e", "ab"]);
        assert_eq!(outermost(&paths, 3), ["a", "a-b", "ab"]);
        assert_eq!(outermost(&paths, 2), [""]);
        assert_eq!(outermost(&["a", ""], 9), [""]);
        assert!(outermost(&[], 1).is_empty());
    }
}
