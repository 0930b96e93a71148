//! The facts about a server that a run reads once.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use tokio::sync::OnceCell;

use super::fleet::RepositoryName;

/// The facts about a server; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerFacts {
    /// The version of a Gitea or Forgejo.
    pub(super) version: Rc<OnceCell<String>>,
    /// Whether a repository has a commit.
    commits: Rc<RefCell<HashMap<(RepositoryName, String), bool>>>,
}

impl ServerFacts {
    pub(super) fn has_commit(&self, repository: &RepositoryName, commit: &str) -> Option<bool> {
        let key = (repository.clone(), commit.to_owned());
        self.commits.borrow().get(&key).copied()
    }

    pub(super) fn add_commit(&self, repository: &RepositoryName, commit: &str, exists: bool) {
        let key = (repository.clone(), commit.to_owned());
        self.commits.borrow_mut().insert(key, exists);
    }
}
