//! The repository that the sets of a command share, so that git reads it once for all of them.

use std::{cell::OnceCell, path::PathBuf};

use super::Services;
use crate::{
    config::Config,
    core::{
        history,
        outside::{SharedTree, TrackedTree},
    },
    git::{self, Git, GitError, SharedGit},
};

/// The repository around a directory, read when the first set needs it.
pub(super) struct SharedRepository {
    directory: PathBuf,
    /// The paths whose history the sets read, from the top of the repository.
    history: Vec<Vec<u8>>,
    /// The paths below which the sets search files, from the top of the repository.
    searched: Vec<Vec<u8>>,
    /// `None` if it cannot be opened: then each set reports its own error.
    git: OnceCell<Option<SharedGit>>,
    /// `None` if it cannot be listed.
    tree: OnceCell<Option<SharedTree>>,
}

impl SharedRepository {
    fn git(&self) -> Option<&SharedGit> {
        let open = || SharedGit::open(&self.directory, self.history.iter().cloned()).ok();
        self.git.get_or_init(open).as_ref()
    }

    fn tree(&self) -> Option<&SharedTree> {
        let read = || SharedTree::read(&self.directory, &self.searched).ok();
        self.tree.get_or_init(read).as_ref()
    }
}

impl Services {
    /// Reads the repository around the current directory once for these sets. A single set reads only its
    /// own files and their history.
    pub(crate) fn share_repository(&self, sets: &[&Config]) {
        if sets.len() < 2 {
            return;
        }
        let shared = SharedRepository {
            directory: self.environment.directory().to_owned(),
            history: sets
                .iter()
                .flat_map(|set| history::read_paths(set))
                .collect(),
            searched: sets.iter().flat_map(|set| set.searched_paths()).collect(),
            git: OnceCell::new(),
            tree: OnceCell::new(),
        };
        // A command selects its sets once.
        let _ = self.shared_repository.set(shared);
    }

    /// The repository of a set.
    pub(super) fn git(&self, config: &Config) -> Result<Git, GitError> {
        let shared = self.shared_repository.get();
        match shared.and_then(SharedRepository::git) {
            Some(shared) => shared.at(&config.root),
            None => Git::open(&config.root),
        }
    }

    /// The repository of a set; `None` outside of a work tree.
    pub(super) fn discover_git(&self, config: &Config) -> Result<Option<Git>, GitError> {
        git::unless_missing(self.git(config))
    }

    /// The work tree of a set, with the list of its files.
    pub(crate) fn tracked_tree(&self, config: &Config) -> TrackedTree {
        let shared = self.shared_repository.get();
        match shared.and_then(SharedRepository::tree) {
            Some(shared) => TrackedTree::of_shared(config, shared),
            None => TrackedTree::open(config),
        }
    }
}
