//! The repository that the sets of a command share, so that git reads it once for all of them.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};

use crate::{
    config::Config,
    core::{history, outside::SharedTree},
    git::SharedGit,
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
    pub(super) fn new(directory: &Path, sets: &[&Config]) -> Self {
        Self {
            directory: directory.to_owned(),
            history: sets
                .iter()
                .flat_map(|set| history::read_paths(set))
                .collect(),
            searched: sets.iter().flat_map(|set| set.searched_paths()).collect(),
            git: OnceCell::new(),
            tree: OnceCell::new(),
        }
    }

    pub(super) fn git(&self) -> Option<&SharedGit> {
        let open = || SharedGit::open(&self.directory, self.history.iter().cloned()).ok();
        self.git.get_or_init(open).as_ref()
    }

    pub(super) fn tree(&self) -> Option<&SharedTree> {
        let read = || SharedTree::read(&self.directory, &self.searched).ok();
        self.tree.get_or_init(read).as_ref()
    }
}
