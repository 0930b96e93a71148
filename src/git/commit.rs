//! Commits exactly the files that a run changed, with their contents in the work tree.
//!
//! The hooks and the signing of the user apply: only here may git run configured commands.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{Read, Write},
};

use super::{Git, GitError, ObjectId, command::Mode};
use crate::config::RelPath;

/// Operations that `git commit --only` cannot commit within (git-commit(1), "cannot do a partial
/// commit"), by the reference that exists during them.
const UNFINISHED: [&str; 3] = ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"];

/// An obstacle to the commit of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommitObstacle {
    /// These files differ from `HEAD` or from the index.
    Differ(Vec<RelPath>),
    /// A merge, cherry-pick or revert is not finished.
    Unfinished(&'static str),
    /// The identity of the user is not configured; the message of git.
    NoIdentity(String),
}

/// The content of a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitPlan<'p> {
    /// The files, with their contents in the work tree.
    pub files: &'p [(&'p RelPath, &'p [u8])],
    /// The first line of its message.
    pub title: &'p str,
    /// The last line of its message, which a hook may not drop.
    pub trailer: &'p str,
}

/// The outcome of a commit.
#[derive(Debug)]
pub(crate) enum Committed {
    /// It contains exactly the plan.
    AsPlanned(ObjectId),
    /// A hook changed it, with this difference; `HEAD` was reset to its parent.
    Undone(String),
    /// A hook changed it, and `HEAD` cannot be reset.
    Kept(ObjectId, String),
    /// git failed before the commit could be compared with its plan.
    Unverified(GitError),
}

impl Git {
    /// An obstacle to the commit of `paths`, which the run will change.
    pub(crate) fn commit_obstacle(
        &self,
        paths: &[&RelPath],
    ) -> Result<Option<CommitObstacle>, GitError> {
        for name in UNFINISHED {
            let args = ["--verify", "--quiet", name];
            if self.output_or("rev-parse", &args, &[1])?.0 == 0 {
                return Ok(Some(CommitObstacle::Unfinished(name)));
            }
        }
        for name in ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"] {
            match self.output("var", &[name]) {
                Ok(_) => {}
                Err(GitError::Failed { message, .. }) => {
                    return Ok(Some(CommitObstacle::NoIdentity(message)));
                }
                Err(error) => return Err(error),
            }
        }
        let mut missing: BTreeSet<Vec<u8>> =
            paths.iter().map(|path| self.full_path(path)).collect();
        self.regular_files(&self.head()?.tip, |path, _| {
            missing.remove(path.as_bytes());
        })?;
        let modified = self.modified()?;
        let mut differ = Vec::new();
        for path in paths {
            let full_path = self.full_path(path);
            if missing.contains(&full_path) || modified.contains(&full_path) {
                differ.push((*path).clone());
            }
        }
        Ok((!differ.is_empty()).then_some(CommitObstacle::Differ(differ)))
    }

    /// Commits files with their contents in the work tree, and no other changes. An error means
    /// that no commit was created.
    pub(crate) fn commit_only(&self, plan: &CommitPlan<'_>) -> Result<Committed, GitError> {
        let parent = self.head()?.tip;
        let result = self.run_commit(plan);
        let id = match self.head() {
            Ok(head) => head.tip,
            Err(error) => return Ok(Committed::Unverified(error)),
        };
        // git may fail after it has moved the branch.
        if id == parent {
            result?;
        }
        let difference = match self.difference(plan, &parent, &id) {
            Ok(None) => return Ok(Committed::AsPlanned(id)),
            Ok(Some(difference)) => difference,
            Err(error) => return Ok(Committed::Unverified(error)),
        };
        let (new, old) = (parent.to_string(), id.to_string());
        let args = ["-m", "repin: a hook changed the commit", "HEAD", &new, &old];
        Ok(match self.output("update-ref", &args) {
            Ok(_) => Committed::Undone(difference),
            Err(_) => Committed::Kept(id, difference),
        })
    }

    fn run_commit(&self, plan: &CommitPlan<'_>) -> Result<(), GitError> {
        let args = [
            "--only",
            "--quiet",
            "--cleanup=whitespace",
            "-m",
            plan.title,
            "-m",
            plan.trailer,
            "--pathspec-from-file=-",
            "--pathspec-file-nul",
        ];
        let mut running = self.start("commit", &args.map(OsString::from), Mode::Commit)?;
        let mut input = running.stdin()?;
        for (path, _) in plan.files {
            // git closes the pipe if it exits early; the exit code reports the failure.
            let _ = input.write_all(&[path.as_bytes(), b"\0"].concat());
        }
        drop(input);
        let mut printed = Vec::new();
        let read = running.stdout()?.read_to_end(&mut printed);
        read.map_err(|error| running.io(error))?;
        running.finish(&[]).map(drop)
    }

    /// A description of how the commit differs from its plan.
    fn difference(
        &self,
        plan: &CommitPlan<'_>,
        parent: &ObjectId,
        id: &ObjectId,
    ) -> Result<Option<String>, GitError> {
        let args = ["-1", "--format=%P%n%B", &id.to_string(), "--"];
        let printed = self.output("log", &args)?;
        let message = String::from_utf8_lossy(&printed);
        let mut lines = message.lines();
        if lines.next() != Some(parent.to_string().as_str()) {
            return Ok(Some(
                "its parent is not the commit that was checked out".to_owned(),
            ));
        }
        if !lines.any(|line| line == plan.trailer) {
            return Ok(Some(format!(
                "its message lost the line `{}`",
                plan.trailer
            )));
        }
        let options = ["-r", "-z", "--name-only", "--no-renames"];
        let (before, after) = (parent.to_string(), id.to_string());
        let args = [&options[..], &[&before, &after]].concat();
        let mut changed = paths(&self.output("diff-tree", &args)?);
        let modified = self.modified()?;
        for (path, content) in plan.files {
            let full_path = self.full_path(path);
            let current = std::fs::read(self.place.root.join(path.as_path()));
            let is_unchanged = current.is_ok_and(|current| current == *content);
            if !changed.remove(&full_path) || modified.contains(&full_path) || !is_unchanged {
                return Ok(Some(format!("it holds another content of {path}")));
            }
        }
        let other = changed.first().map(|path| String::from_utf8_lossy(path));
        Ok(other.map(|path| format!("it changes {path} too")))
    }

    /// The tracked files, from the top of the work tree, that differ from `HEAD` or the index.
    fn modified(&self) -> Result<BTreeSet<Vec<u8>>, GitError> {
        let args = [
            "--porcelain=v1",
            "-z",
            "--untracked-files=no",
            "--no-renames",
            "--ignore-submodules=all",
        ];
        // Each path follows two letters and a space.
        let listed = self.output("status", &args)?;
        let entries = listed.split(|b| *b == 0).filter_map(|entry| entry.get(3..));
        Ok(entries.map(<[u8]>::to_vec).collect())
    }

    /// A path below the root, from the top of the work tree.
    fn full_path(&self, path: &RelPath) -> Vec<u8> {
        [self.prefix(), path.as_bytes()].concat()
    }
}

fn paths(listed: &[u8]) -> BTreeSet<Vec<u8>> {
    let paths = listed.split(|b| *b == 0).filter(|path| !path.is_empty());
    paths.map(<[u8]>::to_vec).collect()
}
