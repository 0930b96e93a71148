//! Repositories that need no judgment: the pull request is in the planned state, or a person closed it.
//!
//! The history of a branch whose only parent is the base's head was judged when the branch was made.

use std::collections::BTreeMap;

use super::{
    Walk,
    member::{Member, closed},
    outcome::Report,
};
use crate::{
    config::RelPath,
    error::Error,
    fleet::{FleetOutcome, LinePullRequest},
    forge::{Forge, Pull, State, blob_id},
    pull_request::{
        Base,
        reconcile::{Closing, closing, is_moving},
        trailer,
    },
    workflow::site::BranchHead,
};

impl Walk<'_> {
    /// The report of a repository that needs no judgment: its pull request is in the planned state, or a
    /// person closed it. `contents`: those that the plan would give its files.
    pub(super) async fn settled(
        &self,
        member: &Member,
        head: &BranchHead,
        contents: &BTreeMap<RelPath, Vec<u8>>,
    ) -> Result<Option<Report>, Error> {
        let marker = self.marker();
        if let [pull] = member.open_pulls(&marker).as_slice()
            && self.is_in_requested_state(member, pull)
            && has_contents(member, &head.base, contents)
        {
            let pull = line(pull, "unchanged");
            return Ok(Some(Report::done(FleetOutcome::Unchanged).with_pull(pull)));
        }
        closed_by_person(&*head.forge, member.closed_pull(&marker)).await
    }

    /// Whether a pull request is in the requested state, with one commit of repin on the base's head.
    fn is_in_requested_state(&self, member: &Member, pull: &Pull) -> bool {
        let configured = member.config.forge_or_default();
        let labels = &configured.labels;
        let labeled = labels.is_empty() || labels.iter().any(|label| pull.labels.contains(label));
        let merges = configured.auto_merge && self.request.open == Some(State::Ready);
        let branch = member.state.branch.as_ref();
        let on_head = branch.is_some_and(|branch| {
            branch.commit.id == pull.head_commit
                && branch.commit.parents == [member.state.head.commit.clone()]
                && trailer(&branch.commit.message) == Some(self.revision.as_str())
        });
        let in_state = self.request.open.is_none_or(|state| state == pull.draft);
        labeled && !merges && on_head && in_state && pull.head_exists && !is_moving(pull)
    }
}

/// The report of a closed pull request, if a person closed it.
pub(super) async fn closed_by_person(
    forge: &dyn Forge,
    pull: Option<&Pull>,
) -> Result<Option<Report>, Error> {
    let Some(pull) = pull else { return Ok(None) };
    Ok(match closing(forge, pull.number).await? {
        Closing::Superseded { .. } => None,
        Closing::ByPerson => Some(closed(pull).with_pull(line(pull, "closed"))),
    })
}

/// Whether the branch is the base with exactly these contents.
fn has_contents(member: &Member, base: &Base, contents: &BTreeMap<RelPath, Vec<u8>>) -> bool {
    let changed = contents.iter().filter_map(|(path, content)| {
        let path = path.to_string();
        let id = blob_id(content, &base.tree.entries.get(&path)?.id);
        Some((path, id))
    });
    let planned = base.tree.id_with(&changed.collect());
    let branch = member.state.branch.as_ref();
    planned.is_some_and(|planned| branch.is_some_and(|branch| branch.tree == planned))
}

/// A pull request as a line contains it.
pub(super) fn line(pull: &Pull, state: &str) -> LinePullRequest {
    LinePullRequest {
        number: pull.number,
        url: pull.url.clone(),
        state: state.to_owned(),
    }
}
