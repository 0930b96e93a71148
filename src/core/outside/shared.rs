//! The configuration files of a repository, and the listing of its files that several sets share.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, OnceLock},
};

use crate::{
    base::files::RelPath,
    core::configurations::{self, ConfigurationFiles, is_left_out},
    git::{GitError, ObjectId, SharedTracking, TrackedFile},
};

/// The tracked and the ignored files of a directory, and the configuration files of the repository.
#[derive(Debug)]
pub(crate) struct SharedTree {
    pub(super) tracking: SharedTracking,
    pub(super) configurations: Arc<ListedConfigurations>,
}

impl SharedTree {
    /// Lists the files of a directory once for all sets with these
    /// [`searched_paths`](crate::config::Config::searched_paths).
    pub(crate) fn read(directory: &Path, searched: &[Vec<u8>]) -> Result<Self, GitError> {
        let (tracking, configurations) = SharedTracking::read(directory, searched)?;
        Ok(Self {
            tracking,
            configurations: Arc::new(ListedConfigurations::new(configurations)),
        })
    }
}

/// The configuration files of a repository, by their paths from the top.
#[derive(Debug)]
pub(super) struct ListedConfigurations {
    listed: Vec<TrackedFile>,
    existing: OnceLock<ExistingConfigurations>,
}

/// The configuration files that were not deleted in the work tree.
#[derive(Debug)]
pub(super) struct ExistingConfigurations {
    pub(super) files: Arc<ConfigurationFiles>,
    /// The contents of the files outside of the sparse checkout.
    pub(super) left_out: HashMap<RelPath, ObjectId>,
}

impl ListedConfigurations {
    pub(super) fn new(listed: Vec<TrackedFile>) -> Self {
        Self {
            listed,
            existing: OnceLock::new(),
        }
    }

    /// The files that exist, which the first call determines. `top`: that of the repository.
    pub(super) fn existing(&self, top: &Path) -> &ExistingConfigurations {
        self.existing.get_or_init(|| {
            let (mut files, mut left_out) = (Vec::new(), HashMap::new());
            for file in configurations::existing(self.listed.clone(), top) {
                if let Some(id) = file.sparse.filter(|_| is_left_out(&file, top)) {
                    left_out.insert(file.path.clone(), id);
                }
                files.push(file.path);
            }
            ExistingConfigurations {
                files: Arc::new(files.into_iter().collect()),
                left_out,
            }
        })
    }
}
