//! The documents of `gates`, `wait`, `branch` and `freshness`.

use serde::Serialize;

use super::PullRequest;
use crate::forge::Gate;

/// `repin.gates/1`: the required statuses of a commit.
#[derive(Debug, Serialize)]
pub(crate) struct GatesDocument {
    pub schema: &'static str,
    pub r#ref: String,
    pub commit: Option<String>,
    pub state: Option<&'static str>,
    pub gates: Vec<GateRow>,
}

#[derive(Debug, Serialize)]
pub(crate) struct GateRow {
    pub context: String,
    pub state: &'static str,
    pub url: Option<String>,
    pub detail: Option<&'static str>,
}

/// `repin.wait/1`.
#[derive(Debug, Serialize)]
pub(crate) struct WaitDocument {
    pub schema: &'static str,
    pub number: u64,
    pub state: Option<&'static str>,
    pub merge_commit: Option<String>,
    pub dispatched: Vec<String>,
}

/// `repin.branch/1`.
#[derive(Debug, Serialize)]
pub(crate) struct BranchDocument {
    pub schema: &'static str,
    pub action: &'static str,
    pub from: String,
    pub to: String,
    pub state: &'static str,
    pub pull_request: Option<PullRequest>,
    pub commit: Option<String>,
}

/// `repin.freshness/1`.
#[derive(Debug, Serialize)]
pub(crate) struct FreshnessDocument {
    pub schema: &'static str,
    pub entries: Vec<FreshnessRow>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FreshnessRow {
    pub name: String,
    pub pinned: Option<String>,
    pub head: Option<String>,
    pub commits: Option<u64>,
    pub gap_days: Option<i64>,
    pub state: Option<&'static str>,
    pub reason: Option<String>,
    pub issue: Option<IssueRow>,
}

/// The tracking issue of a stale reference.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct IssueRow {
    pub number: u64,
    pub url: String,
    pub state: &'static str,
}

impl GateRow {
    pub(crate) fn of(gate: &Gate) -> Self {
        Self {
            context: gate.context.clone(),
            state: gate.state.as_str(),
            url: gate.url.clone(),
            detail: gate.expiry(),
        }
    }
}
