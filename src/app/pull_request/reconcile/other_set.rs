//! Detects that the configurations of two sets give the same branch.

use super::{AheadCommits, Error, Proposal, Pull, Reconcile};
use crate::{
    app::pull_request::{Marker, MarkerKind, origin},
    base::{error::Class, untrusted::plain},
    config::{Operation, SetPath, Trailer},
    core::plan,
};

impl Reconcile<'_> {
    /// Another set with a pull request or a commit on the branch.
    pub(super) fn other_set(&self, ahead: &AheadCommits, open: &[Pull]) -> Option<SetPath> {
        let ours = &self.proposal.marker.set;
        let pulls = open
            .iter()
            .filter(|pull| pull.own && pull.head == self.proposal.branch)
            .filter_map(|pull| Marker::find(&pull.body))
            .filter(|marker| matches!(marker.kind, MarkerKind::Set(_)))
            .map(|marker| marker.set);
        let commits = ahead.commits.iter().filter_map(|commit| {
            // A trailer without a path may refer to this set: the content decides.
            let trailers = Trailer::of_message(&commit.message);
            let sets: Option<Vec<SetPath>> = trailers.map(|trailer| trailer.set).collect();
            let sets = sets.filter(|sets| !sets.contains(ours))?;
            sets.first().cloned()
        });
        let mut sets = pulls.chain(commits);
        sets.find(|set| !self.is_own(set))
    }

    /// Whether the commits of the branch belong to the `repin.yaml` at the top, whose trailer has no path:
    /// they change its pins and nothing else.
    pub(super) async fn is_of_top_set(&self, ahead: &AheadCommits) -> Result<bool, Error> {
        let mut trailers = ahead
            .commits
            .iter()
            .flat_map(|commit| Trailer::of_message(&commit.message));
        let top = SetPath::top();
        if self.proposal.marker.set == top || !trailers.any(|trailer| trailer.set.is_none()) {
            return Ok(false);
        }
        let Some(Ok(config)) = self.base.configuration(self.forge, &top).await? else {
            return Ok(false);
        };
        let only_pins = plan::pin_only_filter(&config, "");
        let foreign = origin::foreign(self.forge, ahead, &|_, _| false, &only_pins).await?;
        Ok(foreign.is_none())
    }

    /// Whether a set path is that of this set, or a former one that gave the same branch.
    pub(super) fn is_own(&self, set: &SetPath) -> bool {
        let Proposal { marker, branch, .. } = self.proposal;
        let marker = Marker {
            set: set.clone(),
            ..Marker::clone(marker)
        };
        self.proposal.rivals.has_branch(&marker, branch)
    }

    /// The error for the branch of the proposal if it is that of another set.
    pub(super) fn other_set_error(&self, other: &SetPath) -> Error {
        let MarkerKind::Set(operation) = self.proposal.marker.kind else {
            return Error::internal();
        };
        shared_branch(
            self.branch_subject(),
            operation,
            &self.proposal.marker.set,
            other,
        )
    }
}

/// The error for a branch of the set `other` that the configuration of the set `ours` also gives.
pub(crate) fn shared_branch(
    subject: String,
    operation: Operation,
    ours: &SetPath,
    other: &SetPath,
) -> Error {
    let key = format!("{}.branch", operation.as_str());
    let help = if ours.key() == other.key() {
        format!("give `{key}` of one set another name")
    } else {
        format!("give `{key}` a name that contains {{set}}")
    };
    let reason = format!(
        "it belongs to the set {}, and the configuration of the set {} gives the same branch",
        plain(&other.to_string()),
        plain(&ours.to_string())
    );
    Error::about(Class::Conflict, subject, reason).help(help)
}
