//! The commits of a branch with their changes, read by one `git log` for several sets.
//!
//! A log lists every commit that the tip reaches, whatever its paths are. So the log of a set is a part
//! of the log of all sets: the same commits, with the changes below the paths of the set.

use super::{
    Git, GitError, ObjectId,
    log::{self, Change, Commit},
    path_set::PathSet,
};

/// The maximum number of paths on the command line.
const MAX_PATHS: usize = 64;

/// The commits that are reachable from a tip.
#[derive(Debug)]
pub(super) struct KeptLog {
    /// In the order of git, without their changes.
    commits: Vec<Commit>,
    /// Sorted by path, then by commit.
    changes: Vec<KeptChange>,
}

#[derive(Debug)]
struct KeptChange {
    change: Change,
    /// The index of the commit.
    commit: usize,
    /// The position among the changes of the commit.
    position: usize,
}

impl KeptLog {
    /// Reads the commits that are reachable from `tip`, with the changes below `paths`.
    pub(super) fn read(git: &Git, tip: &ObjectId, paths: &PathSet) -> Result<Self, GitError> {
        let (mut commits, mut changes) = (Vec::new(), Vec::new());
        log::reachable(git, tip, &paths.outermost(MAX_PATHS))?.each(|mut commit| {
            for (position, change) in std::mem::take(&mut commit.changes).into_iter().enumerate() {
                if paths.contains(&change.path) {
                    changes.push(KeptChange {
                        change,
                        commit: commits.len(),
                        position,
                    });
                }
            }
            commits.push(commit);
            Ok(())
        })?;
        // Stable: the changes of a path stay in the order of the commits.
        changes.sort_by(|a, b| a.change.path.cmp(&b.change.path));
        Ok(Self { commits, changes })
    }

    /// The commits with the changes below `paths`, as [`log::reachable`] lists them.
    pub(super) fn select(&self, paths: &[Vec<u8>]) -> Vec<Commit> {
        let mut selected = Vec::new();
        for path in paths {
            selected.extend(self.at(path));
            selected.extend(self.below(path));
        }
        selected.sort_by_key(|change| (change.commit, change.position));
        selected.dedup_by_key(|change| (change.commit, change.position));
        let mut selected = selected.into_iter().peekable();
        let mut commits = self.commits.clone();
        for (index, commit) in commits.iter_mut().enumerate() {
            while let Some(change) = selected.next_if(|change| change.commit == index) {
                commit.changes.push(change.change.clone());
            }
        }
        commits
    }

    /// The changes of a file.
    fn at(&self, path: &[u8]) -> &[KeptChange] {
        self.range(path, |other| other == path)
    }

    /// The changes of the files in a directory.
    fn below(&self, path: &[u8]) -> &[KeptChange] {
        let mut prefix = path.to_vec();
        if !path.is_empty() && !path.ends_with(b"/") {
            prefix.push(b'/');
        }
        self.range(&prefix, |other| other.starts_with(&prefix))
    }

    /// The changes from `start` on whose paths `belongs` accepts.
    fn range(&self, start: &[u8], belongs: impl Fn(&[u8]) -> bool) -> &[KeptChange] {
        let first = (self.changes).partition_point(|kept| kept.change.path.as_slice() < start);
        let rest = &self.changes[first..];
        &rest[..rest.partition_point(|kept| belongs(&kept.change.path))]
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::git::tests::{git, id};

    /// The commits of `git log` for these paths only.
    fn own(git: &Git, tip: &ObjectId, paths: &[Vec<u8>]) -> Vec<Commit> {
        let mut commits = Vec::new();
        let log = log::reachable(git, tip, paths).unwrap();
        log.each(|commit| {
            commits.push(commit);
            Ok(())
        })
        .unwrap();
        commits
    }

    fn commit(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut text = fs::read_to_string(&path).unwrap_or_default();
            text.push_str(file);
            fs::write(&path, text).unwrap();
        }
        git(root, &["add", "-A"]);
        git(
            root,
            &[
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                "subject\n\nRepin-Set: x",
            ],
        );
    }

    /// A repository with merges, renames, a directory in place of a file, and names with a common beginning.
    fn repository(root: &Path) -> ObjectId {
        git(root, &["init", "-q", "-b", "main"]);
        commit(
            root,
            &["a/x", "a/y", "ab/x", "a-b/x", "a.yml", "c/d/x", "top"],
        );
        commit(root, &["a/x", "ab/x", "c/e"]);
        git(root, &["checkout", "-q", "-b", "side"]);
        commit(root, &["ab/y", "a/y"]);
        fs::remove_file(root.join("a.yml")).unwrap();
        commit(root, &["a.yml/x"]);
        git(root, &["checkout", "-q", "main"]);
        commit(root, &["a-b/x", "top"]);
        git(root, &["mv", "c/d", "a/d"]);
        commit(root, &[]);
        git(root, &["merge", "-q", "--no-ff", "-m", "merge", "side"]);
        commit(root, &[]);
        fs::remove_dir_all(root.join("a")).unwrap();
        commit(root, &["a"]);
        std::os::unix::fs::symlink("top", root.join("ab/link")).unwrap();
        commit(root, &["top"]);
        id(root, "HEAD")
    }

    fn bytes(paths: &[&str]) -> Vec<Vec<u8>> {
        paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    }

    #[test]
    fn selection_equals_the_log_of_the_paths() {
        let directory = tempfile::tempdir().unwrap();
        let tip = repository(directory.path());
        let opened = Git::open(directory.path()).unwrap();
        let all = [
            "", "a", "a/", "ab", "a-b/", "a.yml", "a.yml/", "c/d", "c/", "top", "none",
        ];
        let shared = [&all[..1], &all[1..]].map(|paths| bytes(paths).into_iter().collect());
        let [everything, without_top] =
            shared.map(|paths: PathSet| KeptLog::read(&opened, &tip, &paths).unwrap());
        let mut selections: Vec<Vec<&str>> = all[1..].iter().map(|path| vec![*path]).collect();
        selections.extend([
            vec!["a/", "a/x"],
            vec!["c/d", "ab", "top"],
            vec!["ab/", "a"],
            vec![],
        ]);
        for paths in selections {
            let paths = bytes(&paths);
            if paths.is_empty() {
                // Without paths, git lists every change.
                assert!(
                    everything
                        .select(&paths)
                        .iter()
                        .all(|one| one.changes.is_empty())
                );
                continue;
            }
            let expected = own(&opened, &tip, &paths);
            assert_eq!(expected.len(), 10);
            assert_eq!(everything.select(&paths), expected, "{paths:?}");
            assert_eq!(without_top.select(&paths), expected, "{paths:?}");
        }
        let expected = own(&opened, &tip, &bytes(&[""]));
        assert_eq!(everything.select(&bytes(&[""])), expected);
    }

    #[test]
    fn many_paths_are_read_as_few_directories() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q"]);
        let names: Vec<String> = (0..MAX_PATHS + 2)
            .map(|number| format!("e/{number}/x"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        commit(root, &names);
        commit(root, &["e/1/x", "e/10/x", "other"]);
        let (opened, tip) = (Git::open(root).unwrap(), id(root, "HEAD"));
        let paths = names
            .iter()
            .map(|name| name.as_bytes()[..name.len() - 1].to_vec());
        let paths: Vec<Vec<u8>> = paths.skip(1).collect();
        let kept = KeptLog::read(&opened, &tip, &paths.iter().cloned().collect()).unwrap();
        // Neither the first directory nor the other file is kept.
        assert_eq!(kept.changes.len(), MAX_PATHS + 3);
        for path in paths {
            let path = [path];
            assert_eq!(kept.select(&path), own(&opened, &tip, &path));
        }
    }
}
