//! GitHub and GitHub Enterprise Server: REST, and GraphQL for operations that REST does not
//! support.

mod before_pull;
mod branches;
mod checks;
mod fleet;
mod graphql;
mod issues;
mod merging;
mod packages;
mod pull_requests;
mod repository;
mod rules;
mod signed_commits;

use std::{cell::RefCell, collections::HashMap};

use reqwest::{Method, Url};

use super::{
    MergeMethod, Settings, Sign, Target, Token, TokenFacts,
    http::{Http, Request},
    token::TokenHeader,
};
use crate::base::error::Error;

pub(crate) use fleet::GithubFleet;
#[cfg(test)]
pub(crate) use packages::{Links, VersionPages};
pub(crate) use packages::{Package, PackageVersion};

/// A repository on GitHub.
#[derive(Debug)]
pub(crate) struct Github {
    pub(super) http: Http,
    owner: String,
    name: String,
    /// The configured merge method.
    method: MergeMethod,
    /// Whether GitHub may be requested to sign commits.
    sign: Sign,
    facts: TokenFacts,
    /// The rules of branches as this run read them last; `None` if the token may not read them.
    rules: RefCell<HashMap<String, Option<rules::Rules>>>,
}

impl Github {
    pub(super) fn new(
        target: &Target,
        token: Token,
        settings: Settings,
        method: MergeMethod,
        sign: Sign,
    ) -> Result<Self, Error> {
        Ok(Self {
            facts: settings.facts.clone(),
            http: client(&target.api, token, settings)?,
            owner: target.owner.clone(),
            name: target.name.clone(),
            method,
            sign,
            rules: RefCell::default(),
        })
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

/// A client of the API in a fixed version.
fn client(api: &Url, token: Token, settings: Settings) -> Result<Http, Error> {
    let http = Http::new(api, token, TokenHeader::Scheme("Bearer"), settings)?;
    Ok(http
        .with_header("accept", "application/vnd.github+json")
        .with_header("x-github-api-version", "2022-11-28"))
}
