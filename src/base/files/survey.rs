//! Lists the files of a tree that a person may have written, before a configuration exists.
//!
//! The list is the basis of a suggestion, so it omits ignored files and directories of third-party
//! code. The globs of a configuration match independently of it.

use std::path::Path;

use ignore::{DirEntry, WalkBuilder};

use super::{ReadError, RelPath, is_reserved, worktree::walk_error};

/// The files of a tree.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Regular files with UTF-8 paths, sorted by the bytes of their paths.
    pub(crate) files: Vec<RelPath>,
    /// Files that a configuration cannot contain, because their paths are not UTF-8.
    pub(crate) unnameable: Vec<RelPath>,
    /// Directories, sorted by the bytes of their paths.
    pub(crate) directories: Vec<RelPath>,
    /// Directories that cannot be listed.
    pub(crate) unread: Vec<ReadError>,
    /// Whether the walk was cut at its limit.
    pub(crate) is_cut_off: bool,
}

/// Directories of third-party code.
const THIRD_PARTY: &[&str] = &["node_modules", "vendor"];

/// Lists the tree of `root` without symlinks, files that git ignores, work trees of other
/// repositories, and directories called `node_modules` or `vendor`.
pub(crate) fn survey(root: &Path) -> Survey {
    walk(root, is_own_file, ParentIgnores::Applied, usize::MAX)
}

/// Lists the tree of `root`, which belongs to no repository, without symlinks and files that a
/// `.gitignore` in the tree ignores. At most `most` files and directories are visited.
pub(crate) fn survey_all(root: &Path, most: usize) -> Survey {
    walk(
        root,
        |entry| !is_reserved(entry.file_name().as_encoded_bytes()),
        ParentIgnores::Skipped,
        most,
    )
}

/// The treatment of `.gitignore` files above the root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ParentIgnores {
    Applied,
    Skipped,
}

fn walk(
    root: &Path,
    is_listed: fn(&DirEntry) -> bool,
    parents: ParentIgnores,
    most: usize,
) -> Survey {
    let mut builder = WalkBuilder::new(root);
    builder
        .standard_filters(false)
        .git_ignore(true)
        .git_exclude(true)
        .parents(parents == ParentIgnores::Applied)
        .require_git(false)
        .follow_links(false)
        .filter_entry(move |entry| entry.depth() == 0 || is_listed(entry));
    let mut survey = Survey::default();
    for (number, entry) in builder.build().enumerate() {
        if number == most {
            survey.is_cut_off = true;
            break;
        }
        match entry {
            Ok(entry) => survey.add(root, &entry),
            Err(error) => survey.unread.push(walk_error(root, Path::new(""), error)),
        }
    }
    for paths in [
        &mut survey.files,
        &mut survey.unnameable,
        &mut survey.directories,
    ] {
        paths.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    }
    survey
}

impl Survey {
    fn add(&mut self, root: &Path, entry: &DirEntry) {
        let (Some(kind), Ok(path)) = (entry.file_type(), entry.path().strip_prefix(root)) else {
            return;
        };
        // The root itself has no relative path.
        let Ok(path) = RelPath::new(path) else {
            return;
        };
        if kind.is_dir() {
            self.directories.push(path);
        } else if kind.is_file() && path.as_path().to_str().is_some() {
            self.files.push(path);
        } else if kind.is_file() {
            self.unnameable.push(path);
        }
    }
}

/// Whether an entry is not reserved, and not a directory of third-party code or of another
/// repository.
fn is_own_file(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    if is_reserved(name.as_encoded_bytes()) {
        return false;
    }
    if !entry.file_type().is_some_and(|kind| kind.is_dir()) {
        return true;
    }
    let is_third_party = THIRD_PARTY.iter().any(|directory| name == *directory);
    !is_third_party && !entry.path().join(".git").exists()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn survey_ends_at_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        // The walk also visits the root.
        for (most, files, is_cut_off) in [(4, 3, false), (3, 2, true), (0, 0, true)] {
            let survey = survey_all(dir.path(), most);
            assert_eq!((survey.files.len(), survey.is_cut_off), (files, is_cut_off));
        }
    }

    #[test]
    fn survey_omits_ignored_and_third_party_files() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "a.yml",
            ".github/workflows/b.yml",
            "build/out.yml",
            "node_modules/c.yml",
            "deep/vendor/d.yml",
            "sub/.git/HEAD",
            "sub/e.yml",
            ".git/f.yml",
            ".repin/g.yml",
            ".repin-h.yml",
        ] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(dir.path().join(".gitignore"), "/build\n").unwrap();
        fs::write(
            dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.yml")),
            "",
        )
        .unwrap();
        std::os::unix::fs::symlink("a.yml", dir.path().join("link.yml")).unwrap();
        std::os::unix::fs::symlink(".github", dir.path().join("directory")).unwrap();
        let survey = survey(dir.path());
        let names: Vec<_> = survey.files.iter().map(ToString::to_string).collect();
        assert_eq!(names, [".github/workflows/b.yml", ".gitignore", "a.yml"]);
        assert_eq!(survey.unnameable.len(), 1);
        let names: Vec<_> = survey.directories.iter().map(ToString::to_string).collect();
        assert_eq!(names, [".github", ".github/workflows", "deep"]);
        assert!(survey.unread.is_empty(), "{:?}", survey.unread);
    }
}
