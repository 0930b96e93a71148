//! Finds the pull requests of a configuration's sets among those of its repository.
//!
//! Anyone can write a marker, so the branch of the pull request must also be the one that the
//! configuration gives, in this repository and not in a fork.

use super::{Marker, MarkerKind};
use crate::{
    base::error::Error,
    config::{Config, Operation},
    forge::{Forge, Pull, PullState, Pulls},
    git::ObjectId,
    oci::Revision,
};

/// A pull request that moves the pins to another set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullRequestOfSet {
    pub operation: Operation,
    /// The revision of the set.
    pub revision: Revision,
    pub pull: Pull,
}

/// The open pull requests for `base` that move pins to a set, by their numbers.
pub(crate) async fn open(
    forge: &Forge,
    config: &Config,
    base: &str,
) -> Result<Vec<PullRequestOfSet>, Error> {
    let pulls = forge.pulls(Pulls::Open).await?;
    let mut found: Vec<_> = pulls
        .into_iter()
        .filter_map(|pull| identify(pull, config).filter(|found| found.pull.base == base))
        .collect();
    found.sort_by_key(|found| found.pull.number);
    Ok(found)
}

/// The set that a pull request belongs to.
pub(crate) fn identify(pull: Pull, config: &Config) -> Option<PullRequestOfSet> {
    let marker = Marker::find(&pull.body)?;
    let MarkerKind::Set(operation) = marker.kind else {
        return None;
    };
    let revision = config.revision.pattern.revision(&marker.revision).ok()?;
    let is_ours = pull.own && gives_branch(config, &marker, &pull.head);
    is_ours.then_some(PullRequestOfSet {
        operation,
        revision,
        pull,
    })
}

/// Whether the configuration, or that of a former path, gives this branch to a pull request with this
/// marker.
pub(crate) fn gives_branch(config: &Config, marker: &Marker, branch: &str) -> bool {
    let MarkerKind::Set(operation) = marker.kind else {
        return false;
    };
    let Ok(revision) = config.revision.pattern.revision(&marker.revision) else {
        return false;
    };
    let branches = config.branches_of(&marker.set, operation, &revision);
    branches.iter().any(|given| given == branch)
}

/// The commit that made a set current, with the facts that identify its pull request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CurrentCommit<'s> {
    /// The commit on the base branch.
    pub commit: &'s ObjectId,
    /// The number in its subject.
    pub number: Option<u64>,
    /// The operation; `None` for a manual change.
    pub operation: Option<Operation>,
    /// The set's revision.
    pub revision: Option<&'s Revision>,
}

/// The pull request of this merge commit: the number in its subject, if the forge confirms it,
/// otherwise the pull request of the set's branch.
pub(crate) async fn merged(
    forge: &Forge,
    config: &Config,
    current: CurrentCommit<'_>,
) -> Result<Option<Pull>, Error> {
    let commit = current.commit.to_string();
    let is_merge =
        |pull: &Pull| matches!(&pull.state, PullState::Merged(Some(by)) if *by == commit);
    // A number in a subject may also be an issue, or belong to another repository.
    if let Some(number) = current.number
        && let Some(pull) = forge.pull(number).await?.filter(is_merge)
    {
        return Ok(Some(pull));
    }
    let (Some(operation), Some(revision)) = (current.operation, current.revision) else {
        return Ok(None);
    };
    for branch in config.branches_of(&config.set_path, operation, revision) {
        let pulls = forge.pulls(Pulls::Closed(&branch)).await?;
        if let Some(pull) = pulls.into_iter().find(is_merge) {
            return Ok(Some(pull));
        }
    }
    Ok(None)
}
