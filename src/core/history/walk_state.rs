//! The state of a walk through the commits.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    periods::{OwnRules, Rules},
    read_paths::FilePath,
};
use crate::git::ObjectId;

/// The state after a commit.
#[derive(Default)]
pub(super) struct WalkState {
    /// Every regular file under the read directories, by its path in the repository.
    pub(super) files: BTreeMap<FilePath, ObjectId>,
    /// The index of the path of the configuration.
    pub(super) path: usize,
    /// The blob of the commit's own configuration.
    pub(super) own: Option<ObjectId>,
    /// Whether this commit or one before has a configuration.
    pub(super) has_had_config: bool,
    /// The rules of that configuration, once it is parsed.
    pub(super) own_rules: Option<OwnRules>,
    /// The rules of the last commit; `None` before the first commit and after unknown content.
    pub(super) rules: Option<Arc<Rules>>,
}

/// The state before a commit, to which a visit returns.
pub(super) struct Undo {
    /// The changed paths with their blobs.
    pub(super) files: Vec<(FilePath, Option<ObjectId>)>,
    pub(super) path: usize,
    pub(super) own: Option<ObjectId>,
    pub(super) has_had_config: bool,
    pub(super) own_rules: Option<OwnRules>,
    pub(super) rules: Option<Arc<Rules>>,
}

impl WalkState {
    pub(super) fn undo(&mut self, undo: Undo) {
        for (path, blob) in undo.files.into_iter().rev() {
            match blob {
                Some(blob) => self.files.insert(path, blob),
                None => self.files.remove(&path),
            };
        }
        self.path = undo.path;
        self.own = undo.own;
        self.has_had_config = undo.has_had_config;
        self.own_rules = undo.own_rules;
        self.rules = undo.rules;
    }
}
