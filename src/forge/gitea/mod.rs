//! Gitea and Forgejo: REST, one commit and its branch in one request.
//!
//! Most versions cannot move a branch: one that must go back is deleted and made again from its
//! base. Titles mark drafts, labels go by number, and listings ignore filters that they don't know.

mod branches;
mod checks;
mod commits;
mod fleet;
mod issues;
mod listing;
mod merging;
mod nullable;
mod pull_requests;
mod refusal;
mod repository;
mod version;

use std::{cell::RefCell, collections::HashMap};

use reqwest::Method;

use super::{
    Settings, Target, Token, Tree,
    http::{Http, Request},
};
use crate::{config::MergeMethod, error::Error};

pub use fleet::GiteaFleet;

/// How often repin reads whether the server has closed a pull request, or has taken its branch's new
/// head in: about 20 seconds with the usual pauses.
const LOOKS: u32 = 50;
/// The same for a task that the server's queue does within two seconds.
const QUEUE_LOOKS: u32 = LOOKS / 4;

/// A repository on Gitea or Forgejo.
#[derive(Debug)]
pub struct Gitea {
    http: Http,
    owner: String,
    name: String,
    /// Trees by commit: they never change.
    trees: RefCell<HashMap<String, Tree>>,
    /// The server's version, once it was requested.
    version: RefCell<Option<String>>,
    /// The branch that this run deleted while it had no pull request: the server closes whatever it
    /// has once the deletion comes up in its queue.
    deleted: RefCell<Option<String>>,
    /// The pull request that this run opened again while its branch was missing.
    reopened: RefCell<Option<u64>>,
    /// How pull requests are merged, as configured.
    method: MergeMethod,
}

impl Gitea {
    /// The repository that `target` names; nothing is sent yet.
    pub fn new(target: &Target, token: Token, settings: Settings) -> Result<Self, Error> {
        let http = Http::new(&target.api, token, "token", settings)?;
        let (owner, name) = (target.owner.clone(), target.name.clone());
        Ok(Self {
            http,
            owner,
            name,
            trees: RefCell::default(),
            version: RefCell::default(),
            deleted: RefCell::default(),
            reopened: RefCell::default(),
            method: MergeMethod::Auto,
        })
    }

    /// The same with how pull requests are merged, as configured.
    #[must_use]
    pub fn configured(self, method: MergeMethod) -> Self {
        Self { method, ..self }
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
