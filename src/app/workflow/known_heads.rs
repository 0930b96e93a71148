//! The heads of promoted branches on forges that a run read.

use std::{cell::RefCell, path::PathBuf};

use crate::{
    app::pull_request::Content,
    base::error::Error,
    forge::Target,
    git::{Branch, Git, ObjectId},
};

/// The heads that a run read; `None` if the history of the clone counts.
pub(super) type KnownHeads = RefCell<Vec<(HeadKey, Option<HeadOnForge>)>>;

/// The clone, and the keys that select the repository and the branch.
#[derive(PartialEq, Eq)]
pub(super) struct HeadKey {
    pub(super) clone: PathBuf,
    pub(super) target: Target,
    /// `forge.base` and `provenance.branch`
    pub(super) branches: [Option<String>; 2],
}

/// The head of the branch whose history counts, as the forge has it.
#[derive(Clone)]
pub(super) struct HeadOnForge {
    /// Its name on the forge.
    pub(super) branch: String,
    /// The head, with the name in messages.
    pub(super) history_branch: Branch,
    /// The repository with its history.
    pub(super) git: Git,
    pub(super) content: Content,
}

impl HeadOnForge {
    /// The head of a fetched branch.
    pub(super) fn new(branch: String, commit: &str, content: &Content) -> Result<Self, Error> {
        let tip = ObjectId::parse(commit.as_bytes()).ok_or_else(Error::internal)?;
        Ok(Self {
            history_branch: Branch {
                name: branch.clone(),
                tip,
            },
            branch,
            git: content.git()?,
            content: content.clone(),
        })
    }

    /// The same head, fetched again.
    pub(super) async fn renewed(&self) -> Result<Self, Error> {
        self.content.renew().await?;
        Ok(Self {
            git: self.content.git()?,
            ..self.clone()
        })
    }
}
