//! A repository that several sets share: each query about it starts one process for all of them.
//!
//! Only a command for several sets shares a repository, see `app::workflow`. The configuration, the references
//! and the logs are kept until the end of the run, so every set sees the repository at the same moment.
//! Objects are not kept: one process reads them for all handles (`objects`).

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Git, GitError, ObjectId,
    kept_log::KeptLog,
    location::Location,
    log::{self, Commit, Log},
    path_set::PathSet,
};

/// A repository that several sets share.
#[derive(Debug)]
pub(crate) struct SharedGit(Git);

impl SharedGit {
    /// Opens the repository that contains `directory`, for sets that read the history of `paths`, from
    /// the top of the repository.
    pub(crate) fn open(
        directory: &Path,
        paths: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, GitError> {
        let mut git = Git::open(directory)?;
        git.kept = Some(Arc::new(Kept {
            outputs: Mutex::default(),
            paths: paths.into_iter().collect(),
            logs: Mutex::default(),
        }));
        Ok(Self(git))
    }

    /// The repository that contains `root`, which is shared unless it is another one.
    pub(crate) fn at(&self, root: &Path) -> Result<Git, GitError> {
        let place = Location::find(root)?;
        if !place.is_in_repository_of(&self.0.place) {
            return Git::open(root);
        }
        Ok(Git {
            place,
            ..self.0.clone()
        })
    }
}

/// The output of git that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    outputs: Mutex<HashMap<Query, Output>>,
    /// The paths whose changes are read.
    paths: PathSet,
    /// By the tip; `None` if git failed, because it may succeed for the paths of a single set.
    logs: Mutex<HashMap<ObjectId, Option<Arc<KeptLog>>>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Query {
    command: &'static str,
    args: Vec<OsString>,
}

/// The exit code and the output of a query.
type Output = (i32, Vec<u8>);

impl Kept {
    /// The log of a tip, if it contains the changes below `paths`.
    fn log(&self, git: &Git, tip: &ObjectId, paths: &[Vec<u8>]) -> Option<Arc<KeptLog>> {
        if !paths.iter().all(|path| self.paths.contains(path)) {
            return None;
        }
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || KeptLog::read(git, tip, &self.paths).ok().map(Arc::new);
        logs.entry(*tip).or_insert_with(read).clone()
    }
}

/// The commits that are reachable from a tip.
pub(crate) enum Reachable {
    Running(Log),
    Kept(Vec<Commit>),
}

impl Reachable {
    /// Calls `each` with every commit until it returns an error.
    pub(crate) fn each(
        self,
        each: impl FnMut(Commit) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        match self {
            Self::Running(log) => log.each(each),
            Self::Kept(commits) => commits.into_iter().try_for_each(each),
        }
    }
}

impl Git {
    /// The commits that are reachable from `tip`, in any order, with the changes under `paths` (in the
    /// repository; an empty path selects every file).
    pub(crate) fn reachable(
        &self,
        tip: &ObjectId,
        paths: &[Vec<u8>],
    ) -> Result<Reachable, GitError> {
        let kept = self.kept.as_ref();
        match kept.and_then(|kept| kept.log(self, tip, paths)) {
            Some(log) => Ok(Reachable::Kept(log.select(paths))),
            None => log::reachable(self, tip, paths).map(Reachable::Running),
        }
    }

    /// Like `output_or`, for a query about the configuration, the references, the index or commits.
    pub(super) fn kept_output(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
        expected: &[i32],
    ) -> Result<Output, GitError> {
        self.keep(command, args, || self.output_or(command, args, expected))
    }

    /// The result of `read`, which a shared repository calls once for the command and its arguments.
    pub(super) fn keep(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
        read: impl FnOnce() -> Result<Output, GitError>,
    ) -> Result<Output, GitError> {
        let Some(kept) = &self.kept else {
            return read();
        };
        let outputs = || kept.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let args = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
        let query = Query { command, args };
        if let Some(known) = outputs().get(&query) {
            return Ok(known.clone());
        }
        let output = read()?;
        outputs().insert(query, output.clone());
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::tests::{commit_at, git, repository};

    #[test]
    fn sets_see_the_same_references() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        repository(root);
        let first = commit_at(root, 1, &[]);
        git(root, &["update-ref", "HEAD", &first]);
        std::fs::create_dir(root.join("a")).unwrap();
        let shared = SharedGit::open(root, []).unwrap();
        assert_eq!(
            shared.at(root).unwrap().head().unwrap().tip.to_string(),
            first
        );
        let second = commit_at(root, 2, &[&first]);
        git(root, &["update-ref", "HEAD", &second]);
        git(root, &["config", "remote.origin.url", "/nonexistent"]);
        let set = shared.at(&root.join("a")).unwrap();
        assert_eq!(set.prefix(), b"a/");
        assert_eq!(set.head().unwrap().tip.to_string(), first);
        // It was not read before.
        assert_eq!(set.remotes().unwrap(), ["origin"]);
        git(root, &["config", "--unset", "remote.origin.url"]);
        assert_eq!(shared.at(root).unwrap().remotes().unwrap(), ["origin"]);
        let own = Git::open(root).unwrap();
        assert_eq!(own.head().unwrap().tip.to_string(), second);
        assert!(own.remotes().unwrap().is_empty());
    }

    #[test]
    fn nested_repository_is_not_shared() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let nested = root.join("a");
        std::fs::create_dir(&nested).unwrap();
        for path in [root, &nested] {
            repository(path);
        }
        git(
            &nested,
            &["update-ref", "HEAD", &commit_at(&nested, 1, &[])],
        );
        let shared = SharedGit::open(root, []).unwrap();
        assert!(matches!(
            shared.at(root).unwrap().head(),
            Err(GitError::Unborn)
        ));
        assert!(shared.at(&nested).unwrap().head().is_ok());
    }

    #[test]
    fn other_paths_and_tips_have_their_own_log() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        repository(root);
        let tips = [1, 2].map(|seconds| commit_at(root, seconds, &[]));
        let tips = tips.map(|tip| ObjectId::parse(tip.as_bytes()).unwrap());
        let shared = SharedGit::open(root, [b"a/".to_vec()]).unwrap();
        let shared = shared.at(root).unwrap();
        let ids = |tip, path: &str| {
            let log = shared.reachable(tip, &[path.into()]).unwrap();
            let is_kept = matches!(log, Reachable::Kept(_));
            let mut ids = Vec::new();
            log.each(|commit| {
                ids.push(commit.id);
                Ok(())
            })
            .unwrap();
            (is_kept, ids)
        };
        for (path, is_kept) in [("a/", true), ("a/b", true), ("ab", false), ("", false)] {
            for tip in &tips {
                assert_eq!(ids(tip, path), (is_kept, vec![*tip]), "{path}");
            }
        }
    }
}
