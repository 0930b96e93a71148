//! Gitea and Forgejo: REST.
//!
//! Drafts are marked in the title, labels are added by number, and listings ignore unknown filters.

mod before_pull;
mod branches;
mod fleet;
mod issues;
mod merging;
mod nullable;
mod pull_requests;
mod repository;

use reqwest::Method;
use serde::Deserialize;

use super::{
    MergeMethod, Settings, Sign, Target, Token,
    http::{Http, Request},
    token::TokenHeader,
};
use crate::base::error::Error;

pub(super) use fleet::GiteaFleet;

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
    /// The configured merge method.
    method: MergeMethod,
    /// Whether commits are signed.
    pub(super) sign: Sign,
}

impl Gitea {
    pub(super) fn new(
        target: &Target,
        token: Token,
        settings: Settings,
        method: MergeMethod,
        sign: Sign,
    ) -> Result<Self, Error> {
        Ok(Self {
            http: Http::new(&target.api, token, TokenHeader::Scheme("token"), settings)?,
            owner: target.owner.clone(),
            name: target.name.clone(),
            method,
            sign,
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
