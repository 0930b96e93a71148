//! Gitea and Forgejo: REST; one request creates a commit and its branch.
//!
//! Most versions cannot replace a branch: it is deleted and recreated from its base. Drafts are
//! marked in the title, labels are added by number, and listings ignore unknown filters.

mod branches;
mod commits;
mod fleet;
mod issues;
mod merging;
mod nullable;
mod pull_requests;
mod repository;

use std::{cell::RefCell, collections::HashMap};

use reqwest::Method;
use serde::Deserialize;

use super::{
    MergeMethod, Settings, Target, Token, Tree,
    http::{Http, Request},
};
use crate::base::error::Error;

pub(super) use fleet::GiteaFleet;

/// The maximum number of polls until the server has closed a pull request or shows the new head of
/// its branch: about 20 seconds with the usual pauses.
const MAX_READS: u32 = 50;
/// The same for a task that the server's queue finishes within two seconds.
const MAX_QUEUE_READS: u32 = MAX_READS / 4;

/// A git object in a response.
#[derive(Deserialize)]
struct ObjectRow {
    sha: String,
}

/// A repository on Gitea or Forgejo.
#[derive(Debug)]
pub(crate) struct Gitea {
    pub(super) http: Http,
    owner: String,
    name: String,
    /// Trees by commit: they never change.
    trees: RefCell<HashMap<String, Tree>>,
    /// The branch that this run deleted while it had no pull request: the server closes any pull
    /// request that the branch has when its queue reaches the deletion.
    deleted: RefCell<Option<String>>,
    /// The pull request that this run reopened while its branch was missing.
    reopened: RefCell<Option<u64>>,
    /// The configured merge method.
    method: MergeMethod,
}

impl Gitea {
    pub(super) fn new(
        target: &Target,
        token: Token,
        settings: Settings,
        method: MergeMethod,
    ) -> Result<Self, Error> {
        Ok(Self {
            http: Http::new(&target.api, token, "token", settings)?,
            owner: target.owner.clone(),
            name: target.name.clone(),
            trees: RefCell::default(),
            deleted: RefCell::default(),
            reopened: RefCell::default(),
            method,
        })
    }

    /// A request below the repository.
    fn request(&self, method: Method, path: &str, what: impl Into<String>) -> Request {
        let top = ["repos", &self.owner, &self.name];
        let below = path.split('/').filter(|part| !part.is_empty());
        Request::new(
            method,
            top.into_iter().chain(below),
            format!("Gitea: {}", what.into()),
        )
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}
