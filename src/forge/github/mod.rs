//! GitHub, and GitHub Enterprise Server: REST, and GraphQL for what REST lacks.
//!
//! A commit is made object by object (blobs, tree, commit), which stay invisible until a branch is
//! moved to the commit.

mod branches;
mod checks;
mod commits;
mod fleet;
mod graphql;
mod issues;
mod merging;
mod pull_requests;
mod refusal;
mod repository;
mod rules;
mod signed_commits;

use std::{cell::RefCell, collections::HashMap};

use reqwest::Method;

use super::{
    Settings, Target, Token, TokenFacts,
    http::{Http, Request},
};
use crate::{
    config::{MergeMethod, Sign},
    error::Error,
};

pub use fleet::GithubFleet;

/// A repository on GitHub.
#[derive(Debug)]
pub struct Github {
    http: Http,
    owner: String,
    name: String,
    /// How pull requests are merged, as configured.
    method: MergeMethod,
    /// Whether GitHub may be asked to sign commits.
    sign: Sign,
    /// The objects that this run made last.
    made: RefCell<Option<commits::Objects>>,
    /// What holds in all repositories of the token.
    facts: TokenFacts,
    /// The rules of branches as this run read them last; `None` where the token may not.
    rules: RefCell<HashMap<String, Option<rules::Rules>>>,
}

impl Github {
    /// The repository that `target` names; nothing is sent yet.
    pub fn new(target: &Target, token: Token, settings: Settings) -> Result<Self, Error> {
        let facts = settings.facts.clone();
        let http = versioned(Http::new(&target.api, token, "Bearer", settings)?);
        Ok(Self {
            http,
            facts,
            owner: target.owner.clone(),
            name: target.name.clone(),
            method: MergeMethod::Auto,
            sign: Sign::Auto,
            made: RefCell::default(),
            rules: RefCell::default(),
        })
    }

    /// The same with how pull requests are merged and commits signed, as configured.
    #[must_use]
    pub fn configured(self, method: MergeMethod, sign: Sign) -> Self {
        Self {
            method,
            sign,
            ..self
        }
    }

    /// A request below the repository.
    fn request(&self, method: Method, path: &str, what: impl Into<String>) -> Request {
        let top = ["repos", &self.owner, &self.name];
        let below = path.split('/').filter(|part| !part.is_empty());
        Request::new(
            method,
            top.into_iter().chain(below),
            format!("GitHub: {}", what.into()),
        )
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// Names the version of the API.
fn versioned(http: Http) -> Http {
    http.with_header("accept", "application/vnd.github+json")
        .with_header("x-github-api-version", "2022-11-28")
}

/// Whether GitHub runs what is at `path`.
pub fn is_workflow(path: &str) -> bool {
    path.starts_with(".github/workflows/")
}
