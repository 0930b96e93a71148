//! The work trees of a clone, and its stashes.

use std::{ffi::OsStr, fs, io, os::unix::ffi::OsStrExt, path::PathBuf};

use super::{Git, GitError, ObjectId};

/// A work tree in the list of those of a clone.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the attributes of an entry in git's list"
)]
pub(crate) struct WorkTreeEntry {
    /// Of the main work tree of a submodule, and with `--separate-git-dir`, git lists the git directory.
    pub(crate) path: PathBuf,
    pub(crate) head: Head,
    pub(crate) is_main: bool,
    pub(crate) is_bare: bool,
    pub(crate) is_locked: bool,
    /// Whether git cannot find its entry `.git`: its directory was removed or moved, or cannot be read.
    pub(crate) is_prunable: bool,
}

/// The `HEAD` of a work tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Commit(ObjectId),
    /// The branch has no commit yet.
    Unborn,
    Unreadable,
}

impl Git {
    /// Every work tree of the clone, the main one first, and the number of this one; `None` if it was moved
    /// without git.
    pub(crate) fn work_trees(&self) -> Result<(Vec<WorkTreeEntry>, Option<usize>), GitError> {
        // `-z` requires git 2.36.
        let trees = parse(&self.output("worktree", &["list", "--porcelain"])?);
        self.check_work_trees(trees.len())?;
        let is_own =
            |tree: &WorkTreeEntry| fs::canonicalize(&tree.path).is_ok_and(|p| p == self.top());
        let mut own = trees.iter().position(is_own);
        if own.is_none() && self.is_main_work_tree()? {
            own = Some(0);
        }
        Ok((trees, own))
    }

    /// Fails if git listed fewer work trees than are registered: it leaves out those whose entries it cannot read.
    fn check_work_trees(&self, listed: usize) -> Result<(), GitError> {
        let path = self.git_path("worktrees")?;
        let entries = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let linked = match entries {
            Ok(entries) => entries.iter().filter(|entry| entry.path().is_dir()).count(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(GitError::Unreadable { path, error }),
        };
        if linked + 1 == listed {
            return Ok(());
        }
        let error = io::Error::other(format!("git lists {listed} of {} work trees", linked + 1));
        Err(GitError::Unreadable { path, error })
    }

    /// Whether this is not a linked work tree.
    fn is_main_work_tree(&self) -> Result<bool, GitError> {
        if self.place.plain_git_dir().is_some() {
            return Ok(true);
        }
        let directories = self.output("rev-parse", &["--git-dir", "--git-common-dir"])?;
        let mut directories = directories.split(|byte| *byte == b'\n');
        Ok(directories.next() == directories.next())
    }

    /// The commits of each stash, the newest first: its files, the commit that it is based on, its index and, if it
    /// has some, its untracked files.
    pub(crate) fn stashes(&self) -> Result<Vec<Vec<ObjectId>>, GitError> {
        let listed = self.output("stash", &["list", "--no-patch", "--format=%H %P"])?;
        let lines = listed.split(|byte| *byte == b'\n');
        let commits = lines.filter(|line| !line.is_empty()).map(|line| {
            let ids = line.split(|byte| *byte == b' ').map(ObjectId::parse);
            ids.collect::<Option<_>>().ok_or(GitError::Malformed {
                command: "stash",
                what: "a stash without commits",
            })
        });
        commits.collect()
    }

    /// The commits of an unfinished operation in this work tree, such as a merge or a rebase, each with the name that git has
    /// for it. With an autostash, also its parents: the commit that it is based on, and its index.
    pub(crate) fn unfinished_commits(&self) -> Result<Vec<(ObjectId, &'static str)>, GitError> {
        let mut commits = Vec::new();
        for name in OPERATION_REFERENCES {
            commits.extend(self.resolve(name)?.map(|id| (id, name)));
        }
        for name in OPERATION_FILES {
            let path = self.git_path(name)?;
            let content = match fs::read(&path) {
                Ok(content) => content,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(GitError::Unreadable { path, error }),
            };
            // A merge of several branches has a line for each.
            for line in content.split(|byte| *byte == b'\n') {
                match ObjectId::parse(line) {
                    Some(id) => commits.push((id, name)),
                    None if line.is_empty() => {}
                    None => {
                        let error = io::Error::other("a line is no commit");
                        return Err(GitError::Unreadable { path, error });
                    }
                }
            }
        }
        // A garbage collection may have removed them.
        let ids: Vec<_> = commits.iter().map(|(id, _)| *id).collect();
        let gone = self.missing(&ids)?;
        commits.retain(|(id, _)| !gone.contains(id));
        let mut parts = Vec::new();
        for (id, name) in &commits {
            if AUTOSTASHES.contains(name) {
                let parents = self.output("rev-parse", &[&format!("{id}^@")])?;
                let parents = parents.split(|byte| *byte == b'\n');
                parts.extend(parents.filter_map(|line| Some((ObjectId::parse(line)?, *name))));
            }
        }
        commits.extend(parts);
        Ok(commits)
    }
}

/// The references of an unfinished operation (gitrevisions(7)). `REBASE_HEAD` stays after the end of a rebase, whose
/// commits `orig-head` reaches.
const OPERATION_REFERENCES: [&str; 3] = ["MERGE_AUTOSTASH", "CHERRY_PICK_HEAD", "REVERT_HEAD"];
/// Files of git with ids of commits of an unfinished operation.
const OPERATION_FILES: [&str; 7] = [
    "MERGE_HEAD",
    "rebase-merge/autostash",
    "rebase-merge/orig-head",
    "rebase-merge/onto",
    "rebase-apply/autostash",
    "rebase-apply/orig-head",
    "rebase-apply/onto",
];
/// Those of `--autostash`.
const AUTOSTASHES: [&str; 3] = [
    "MERGE_AUTOSTASH",
    "rebase-merge/autostash",
    "rebase-apply/autostash",
];

/// Parses `git worktree list --porcelain`. Attributes of newer versions are skipped.
fn parse(listed: &[u8]) -> Vec<WorkTreeEntry> {
    let mut trees: Vec<WorkTreeEntry> = Vec::new();
    for line in listed.split(|byte| *byte == b'\n') {
        let space = line.iter().position(|byte| *byte == b' ');
        let (name, value) = line.split_at(space.unwrap_or(line.len()));
        let value = value.strip_prefix(b" ").unwrap_or_default();
        if name == b"worktree" {
            trees.push(WorkTreeEntry {
                path: PathBuf::from(OsStr::from_bytes(value)),
                head: Head::Unreadable,
                is_main: trees.is_empty(),
                is_bare: false,
                is_locked: false,
                is_prunable: false,
            });
            continue;
        }
        let Some(tree) = trees.last_mut() else {
            continue;
        };
        match name {
            b"HEAD" if value.iter().any(|digit| *digit != b'0') => {
                tree.head = ObjectId::parse(value).map_or(Head::Unreadable, Head::Commit);
            }
            b"branch" if tree.head == Head::Unreadable => tree.head = Head::Unborn,
            b"bare" => tree.is_bare = true,
            b"locked" => tree.is_locked = true,
            b"prunable" => tree.is_prunable = true,
            _ => {}
        }
    }
    trees
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_without_commit_is_unborn_or_unreadable() {
        let (id, null) = ("1".repeat(40), "0".repeat(40));
        let listed = format!(
            "worktree /a\nHEAD {id}\nbranch refs/heads/main\n\nworktree /b c\nHEAD {id}\ndetached\nlocked x\n\n\
             worktree /d\nHEAD {null}\nbranch refs/heads/new\nprunable gone\n\nworktree /e\nHEAD {null}\nnew x\n\n\
             worktree /f\nbare\n\n"
        );
        let commit = Head::Commit(ObjectId::parse(id.as_bytes()).unwrap());
        let tree = |path: &str, head| WorkTreeEntry {
            path: path.into(),
            head,
            is_main: path == "/a",
            is_bare: path == "/f",
            is_locked: path == "/b c",
            is_prunable: path == "/d",
        };
        let expected = [
            tree("/a", commit),
            tree("/b c", commit),
            tree("/d", Head::Unborn),
            tree("/e", Head::Unreadable),
            tree("/f", Head::Unreadable),
        ];
        assert_eq!(parse(listed.as_bytes()), expected);
    }
}
