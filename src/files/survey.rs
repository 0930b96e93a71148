//! Lists every file of a tree that may be written by hand, before a configuration exists.
//!
//! Only a guess begins here, so `.gitignore` is obeyed and directories of others' code are left
//! out. What the configuration then matches is decided by its globs alone.

use std::path::Path;

use ignore::{DirEntry, WalkBuilder};

use super::{ReadError, is_reserved, worktree::walk_error};
use crate::config::RelPath;

/// What a first look found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Regular files whose names are UTF-8, sorted by the bytes of their paths.
    pub files: Vec<RelPath>,
    /// Files that a configuration cannot name, since their names are not UTF-8.
    pub unnameable: Vec<RelPath>,
    /// Directories that cannot be listed.
    pub unread: Vec<ReadError>,
}

/// Directories of other people's code.
const FOREIGN: &[&str] = &["node_modules", "vendor"];

/// Lists the tree beneath `root`: no symlinks, nothing that git ignores, no other repository's work
/// tree, no directory called `node_modules` or `vendor`.
pub fn survey(root: &Path) -> Survey {
    walk(root, enters, ParentIgnores::Obeyed)
}

/// Lists the whole tree beneath `root`, which no repository is about: no symlinks, and nothing that
/// a `.gitignore` beneath the root ignores.
pub fn survey_all(root: &Path) -> Survey {
    let enters = |entry: &DirEntry| !is_reserved(entry.file_name().as_encoded_bytes());
    walk(root, enters, ParentIgnores::Left)
}

/// Whether `.gitignore` files above the root count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ParentIgnores {
    Obeyed,
    Left,
}

fn walk(root: &Path, enters: fn(&DirEntry) -> bool, above: ParentIgnores) -> Survey {
    let mut builder = WalkBuilder::new(root);
    builder
        .standard_filters(false)
        .git_ignore(true)
        .git_exclude(true)
        .parents(above == ParentIgnores::Obeyed)
        .require_git(false);
    builder
        .follow_links(false)
        .filter_entry(move |entry| entry.depth() == 0 || enters(entry));
    let mut survey = Survey::default();
    for entry in builder.build() {
        match entry {
            Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => {
                let path = entry
                    .path()
                    .strip_prefix(root)
                    .ok()
                    .and_then(|path| RelPath::new(path).ok());
                let Some(path) = path else { continue };
                let list = if path.as_path().to_str().is_some() {
                    &mut survey.files
                } else {
                    &mut survey.unnameable
                };
                list.push(path);
            }
            Ok(_) => {}
            Err(error) => survey.unread.push(walk_error(root, Path::new(""), error)),
        }
    }
    survey.files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    survey
        .unnameable
        .sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    survey
}

fn enters(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let directory = entry.file_type().is_some_and(|kind| kind.is_dir());
    let others =
        || FOREIGN.iter().any(|foreign| name == *foreign) || entry.path().join(".git").exists();
    !(is_reserved(name.as_encoded_bytes()) || directory && others())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn foreign_files_are_left_out() {
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
        assert!(survey.unread.is_empty(), "{:?}", survey.unread);
    }
}
