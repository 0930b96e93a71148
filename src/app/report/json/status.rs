//! The document of `status`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    config::SetPath,
    core::{apply::RecoveryState, checks::Check, history::IgnoredClaim},
};

/// `repin.status/1`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StatusDocument {
    pub schema: &'static str,
    pub set_path: SetPath,
    pub name: String,
    pub set: Option<SetRow>,
    pub author: Option<String>,
    pub pull_request: Option<MergedRow>,
    pub branch: Option<BranchRow>,
    pub work_tree: Vec<WorkTreeRow>,
    pub holds: Vec<HoldRow>,
    pub waiting: Vec<WaitingRow>,
    pub pull_requests: Option<Vec<OpenRow>>,
    pub pins: Vec<Check>,
    pub outside: Vec<Check>,
    pub unpinned: Vec<Check>,
    pub interrupted: bool,
    pub recovery: Option<RecoveryState>,
    pub running: Option<String>,
    pub unreadable: Vec<UnreadableRow>,
    pub ignored_claims: Vec<IgnoredClaimRow>,
    pub adoption: Option<AdoptionRow>,
    pub unpushed: Option<UnpushedRow>,
    pub not_queried: Vec<&'static str>,
    pub not_read: Vec<NotRead>,
}

/// The current set.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SetRow {
    pub revision: Option<String>,
    pub kind: &'static str,
    pub commit: String,
    pub date: String,
    pub subject: String,
    pub images: BTreeMap<String, String>,
}

/// The pull request of the merge that made the set current.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MergedRow {
    pub number: u64,
    pub url: Option<String>,
}

/// The branch of the history.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BranchRow {
    pub name: String,
    pub commit: String,
    pub head: Option<String>,
}

/// The pins of one image in the work tree.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkTreeRow {
    pub image: String,
    pub repository: String,
    pub digests: Vec<String>,
    pub pins: usize,
    pub expected: usize,
    pub current: Option<bool>,
}

/// A held set, which `promote` refuses.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HoldRow {
    pub revision: Option<String>,
    pub commit: String,
    pub date: String,
    pub images: BTreeMap<String, String>,
}

/// A stage for which the next set waits.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WaitingRow {
    pub revision: Option<String>,
    pub stage: String,
    pub since: Option<String>,
    pub until: Option<String>,
}

/// An open pull request of a set.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OpenRow {
    pub number: u64,
    pub url: String,
    pub kind: &'static str,
    pub revision: String,
    pub title: String,
    pub draft: bool,
}

/// A commit since the current set with unknown content.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UnreadableRow {
    pub commit: String,
    pub date: String,
    pub reason: String,
}

/// A claim of a commit for digests that belong to another revision.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct IgnoredClaimRow {
    pub commit: String,
    pub claimed: String,
    pub introduced: String,
    pub revision: String,
}

impl From<IgnoredClaim<'_>> for IgnoredClaimRow {
    fn from(claim: IgnoredClaim<'_>) -> Self {
        Self {
            commit: claim.commit.to_string(),
            claimed: claim.claimed.to_string(),
            introduced: claim.introduced.to_string(),
            revision: claim.revision.to_string(),
        }
    }
}

/// A configuration that the branch does not contain.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AdoptionRow {
    pub branch: String,
    pub commit: Option<String>,
}

/// A set that is only in this clone.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UnpushedRow {
    pub branch: String,
    pub commit: String,
    pub kind: &'static str,
    pub revision: Option<String>,
}

/// Information that was not read, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NotRead {
    pub what: &'static str,
    pub reason: String,
    pub hint: Option<String>,
}

impl BranchRow {
    /// Whether the forge has a different head than this clone.
    pub(crate) fn is_outdated(&self) -> bool {
        self.head.as_ref().is_some_and(|head| *head != self.commit)
    }
}
