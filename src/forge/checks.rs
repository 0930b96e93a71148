//! Checks: the reports about a commit, and the contexts that a branch requires.

use async_trait::async_trait;

use super::repository::Ability;
use crate::error::Error;

/// Reports about commits, and the contexts that branches require.
#[async_trait(?Send)]
pub trait Checks {
    /// Every status and check run of a commit, in any order.
    async fn statuses(&self, commit: &str) -> Result<Vec<Status>, Error>;

    /// The contexts that a branch requires; `None` if the token may not read them.
    async fn required(&self, branch: &str) -> Result<Option<Vec<String>>, Error>;

    /// Whether the forge may have deleted reports about a commit because of its age.
    async fn may_have_expired(&self, commit: &str) -> Result<bool, Error>;

    /// Whether pull requests that are opened or updated with this token start their checks, as far
    /// as reading can show.
    async fn starts_checks(&self) -> Result<Ability, Error>;
}

/// A report about a commit: a status, or a check run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The reporter's name.
    pub context: String,
    /// Its result so far.
    pub result: StatusResult,
    /// A page with details.
    pub url: Option<String>,
    /// When it was reported, as the forge writes it (RFC 3339).
    pub at: String,
    /// The forge's number of the report.
    pub id: u64,
    /// Whether it is a commit's status or a check run: one name may have both.
    pub kind: StatusKind,
    /// The app and the workflow that reported it, as far as the forge distinguishes them: a later
    /// report replaces only earlier ones of the same source.
    pub source: String,
}

/// Two ways to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusKind {
    /// A commit's status.
    Status,
    /// A check run.
    Run,
}

/// The result of a report, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusResult {
    /// It passed.
    Pass,
    /// It has not ended.
    Pending,
    /// It failed.
    Fail,
}
