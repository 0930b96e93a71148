//! Committing what a run changed: exactly these files, from the work tree as it is.
//!
//! Hooks and signing are the user's: this is the one place that lets git run what is configured.

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

/// Why files cannot be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitObstacle {
    /// These files differ from `HEAD` or from the index.
    Differ(Vec<RelPath>),
    /// A merge, cherry-pick or revert is not finished.
    Unfinished(&'static str),
    /// git does not know who commits, in its words.
    Nobody(String),
}

/// What a commit is to hold.
#[derive(Debug, Clone, Copy)]
pub struct CommitPlan<'p> {
    /// The files, with the contents that the work tree has.
    pub files: &'p [(&'p RelPath, &'p [u8])],
    /// The first line of its message.
    pub title: &'p str,
    /// The last line of its message, which a hook may not drop.
    pub trailer: &'p str,
}

/// What became of a commit.
#[derive(Debug)]
pub enum Committed {
    /// It holds what was planned, and nothing else.
    AsPlanned(ObjectId),
    /// A hook changed it, in these words; `HEAD` names its parent again.
    Undone(String),
    /// A hook changed it, and `HEAD` cannot be set back.
    Kept(ObjectId, String),
    /// git failed before the commit could be compared with its plan.
    Unverified(GitError),
}

impl Git {
    /// What stands in the way of committing `paths`, which are about to be changed.
    pub fn commit_obstacle(&self, paths: &[&RelPath]) -> Result<Option<CommitObstacle>, GitError> {
        for name in UNFINISHED {
            let asked = ["--verify", "--quiet", name];
            if self.answer_or("rev-parse", &asked, &[1])?.0 == 0 {
                return Ok(Some(CommitObstacle::Unfinished(name)));
            }
        }
        for name in ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"] {
            match self.answer("var", &[name]) {
                Ok(_) => {}
                Err(GitError::Failed { message, .. }) => {
                    return Ok(Some(CommitObstacle::Nobody(message)));
                }
                Err(error) => return Err(error),
            }
        }
        let mut missing: BTreeSet<&RelPath> = paths.iter().copied().collect();
        self.regular_files(&self.head()?.tip, |path, _| {
            missing.remove(&path);
        })?;
        let modified = self.modified()?;
        let differs =
            |path: &&RelPath| missing.contains(path) || modified.contains(&self.whole(path));
        let differ: Vec<_> = paths.iter().copied().filter(differs).cloned().collect();
        Ok((!differ.is_empty()).then_some(CommitObstacle::Differ(differ)))
    }

    /// Commits files as the work tree has them, and nothing else. An error means that nothing was
    /// committed.
    pub fn commit_only(&self, plan: &CommitPlan<'_>) -> Result<Committed, GitError> {
        let parent = self.head()?.tip;
        let ran = self.run_commit(plan);
        let id = match self.head() {
            Ok(head) => head.tip,
            Err(error) => return Ok(Committed::Unverified(error)),
        };
        // git can fail after it has moved the branch: what `HEAD` names decides.
        if id == parent {
            ran?;
        }
        let difference = match self.difference(plan, &parent, &id) {
            Ok(None) => return Ok(Committed::AsPlanned(id)),
            Ok(Some(difference)) => difference,
            Err(error) => return Ok(Committed::Unverified(error)),
        };
        let (new, old) = (parent.to_string(), id.to_string());
        let args = ["-m", "repin: a hook changed the commit", "HEAD", &new, &old];
        Ok(match self.answer("update-ref", &args) {
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
            // git that ended early closes it; the exit code says so.
            let _ = input.write_all(&[path.as_bytes(), b"\0"].concat());
        }
        drop(input);
        let mut printed = Vec::new();
        let read = running.stdout()?.read_to_end(&mut printed);
        read.map_err(|error| running.io(error))?;
        running.finish(&[]).map(drop)
    }

    /// How the commit differs from its plan, in words.
    fn difference(
        &self,
        plan: &CommitPlan<'_>,
        parent: &ObjectId,
        id: &ObjectId,
    ) -> Result<Option<String>, GitError> {
        let asked = ["-1", "--format=%P%n%B", &id.to_string(), "--"];
        let printed = self.answer("log", &asked)?;
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
        let asked = [&options[..], &[&before, &after]].concat();
        let mut changed = paths(&self.answer("diff-tree", &asked)?);
        let modified = self.modified()?;
        for (path, content) in plan.files {
            let whole = self.whole(path);
            let kept = std::fs::read(self.place.root.join(path.as_path()));
            let is_kept = kept.is_ok_and(|kept| kept == *content);
            if !changed.remove(&whole) || modified.contains(&whole) || !is_kept {
                return Ok(Some(format!("it holds another content of {path}")));
            }
        }
        let other = changed.first().map(|path| String::from_utf8_lossy(path));
        Ok(other.map(|path| format!("it changes {path} too")))
    }

    /// The tracked files, from the top of the work tree, that differ from `HEAD` or the index.
    fn modified(&self) -> Result<BTreeSet<Vec<u8>>, GitError> {
        let asked = [
            "--porcelain=v1",
            "-z",
            "--untracked-files=no",
            "--no-renames",
            "--ignore-submodules=all",
        ];
        // Two letters and a blank before each path.
        let listed = self.answer("status", &asked)?;
        let entries = listed.split(|b| *b == 0).filter_map(|entry| entry.get(3..));
        Ok(entries.map(<[u8]>::to_vec).collect())
    }

    /// A path beneath the root, from the top of the work tree.
    fn whole(&self, path: &RelPath) -> Vec<u8> {
        [self.prefix(), path.as_bytes()].concat()
    }
}

fn paths(listed: &[u8]) -> BTreeSet<Vec<u8>> {
    let paths = listed.split(|b| *b == 0).filter(|path| !path.is_empty());
    paths.map(<[u8]>::to_vec).collect()
}
