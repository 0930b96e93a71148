//! Issues, and workflows that are started on request: what a run leaves beside pull requests.

use async_trait::async_trait;

use super::{pull_requests::Edit, repository::Ability};
use crate::error::Error;

/// Issues, and workflow runs with the claims by which exactly one run of repin starts them.
#[async_trait(?Send)]
pub trait Issues {
    /// All open issues, without pull requests.
    async fn issues(&self) -> Result<Vec<Issue>, Error>;

    /// Opens an issue.
    async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error>;

    /// Changes an issue's text, or closes or reopens it.
    async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error>;

    /// Whether a workflow can be started, as far as reading can show.
    async fn can_dispatch(&self, workflow: &str) -> Result<Ability, Error>;

    /// Starts a workflow on a branch.
    async fn dispatch(&self, workflow: &str, branch: &str) -> Result<(), Error>;

    /// Makes a claim, which only one run can; `true` if this run holds it, including by an earlier
    /// attempt of its own.
    async fn claim(&self, claim: &Claim<'_>) -> Result<bool, Error>;

    /// Deletes a claim of this run.
    async fn release(&self, claim: &Claim<'_>) -> Result<(), Error>;

    /// Deletes claims that are older than any run that could still ask for them.
    async fn expire_claims(&self) -> Result<(), Error>;
}

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// The URL of its web page.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
}

/// A mark on the forge that can be made once.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// What is claimed; a name that git takes for a part of a reference.
    pub name: &'a str,
    /// The commit that it is about.
    pub commit: &'a str,
    /// The branch that the commit is on.
    pub base: &'a str,
    /// A word unique to this run, by which it recognizes its own claim.
    pub word: &'a str,
}
