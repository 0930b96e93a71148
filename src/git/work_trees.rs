//! The work trees of a clone, and its stashes.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::PathBuf};

use super::{Git, GitError, ObjectId};

/// A work tree in the list of a clone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListedTree {
    /// Of the main work tree of a submodule, and with `--separate-git-dir`, git lists the git directory.
    pub(crate) path: PathBuf,
    pub(crate) head: Head,
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
    pub(crate) fn work_trees(&self) -> Result<(Vec<ListedTree>, Option<usize>), GitError> {
        // `-z` requires git 2.36.
        let trees = parse(&self.output("worktree", &["list", "--porcelain"])?);
        let is_own =
            |tree: &ListedTree| fs::canonicalize(&tree.path).is_ok_and(|p| p == self.top());
        let mut own = trees.iter().position(is_own);
        if own.is_none() && self.is_main_work_tree()? {
            own = Some(0);
        }
        Ok((trees, own))
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
}

/// Parses `git worktree list --porcelain`. Attributes of newer versions are skipped.
fn parse(listed: &[u8]) -> Vec<ListedTree> {
    let mut trees: Vec<ListedTree> = Vec::new();
    for line in listed.split(|byte| *byte == b'\n') {
        let space = line.iter().position(|byte| *byte == b' ');
        let (name, value) = line.split_at(space.unwrap_or(line.len()));
        let value = value.strip_prefix(b" ").unwrap_or_default();
        if name == b"worktree" {
            trees.push(ListedTree {
                path: PathBuf::from(OsStr::from_bytes(value)),
                head: Head::Unreadable,
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
        let tree = |path: &str, head| ListedTree {
            path: path.into(),
            head,
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
