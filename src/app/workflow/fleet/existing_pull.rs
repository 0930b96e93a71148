//! Repositories with an existing pull request that determines the outcome: it is in the planned
//! state, or a user closed it.
//!
//! If the only parent of the branch is the base's head, the run that created the branch checked the
//! history. A pull request that shows another commit than its branch is left to `reconcile`, which
//! repairs it.

use std::collections::BTreeMap;

use super::{Walk, member::Member, outcome::Report};
use crate::{
    app::{
        fleet::{FleetOutcome, LinePullRequest},
        pull_request::{
            Base,
            reconcile::{Closing, closing, is_moving},
        },
        workflow::site::BranchHead,
    },
    base::{
        error::{Class, Error},
        files::RelPath,
    },
    config::Trailer,
    forge::{Forge, Pull, Readiness, blob_id, fleet::SurveyedBranch},
};

impl Walk<'_> {
    /// The report of a repository with a pull request that is in the planned state or was closed by
    /// a user. `contents`: the planned contents of the files.
    pub(super) async fn existing_pull_report(
        &self,
        member: &Member,
        head: &BranchHead,
        contents: &BTreeMap<RelPath, Vec<u8>>,
    ) -> Result<Option<Report>, Error> {
        let marker = self.marker();
        if let [pull] = member.open_pulls(&marker).as_slice()
            && let Some(branch) = &member.state.branch
            && self.is_in_requested_state(member, pull, branch)
            && has_contents(member, branch, &head.base, contents)
            && head.forge.shows_head(pull, &pull.head_commit).await?
        {
            let pull = pull_line(pull, "unchanged");
            return Ok(Some(Report::done(FleetOutcome::Unchanged).with_pull(pull)));
        }
        closed_pull_report(&head.forge, member.closed_pull(&marker)).await
    }

    /// Whether a pull request is in the requested state, with one commit of repin on the base's head.
    fn is_in_requested_state(&self, member: &Member, pull: &Pull, branch: &SurveyedBranch) -> bool {
        let configured = member.config.forge_or_default();
        let labels = &configured.labels;
        let has_label = labels.is_empty() || labels.iter().any(|label| pull.labels.contains(label));
        let needs_merge = configured.auto_merge && self.request.open == Some(Readiness::Ready);
        let is_on_head = branch.commit.id == pull.head_commit
            && branch.commit.parents == [member.state.head.commit.clone()]
            && Trailer::of_message(&branch.commit.message)
                .any(|trailer| trailer.revision == self.revision.as_str());
        let has_state = self
            .request
            .open
            .is_none_or(|state| state == pull.readiness);
        has_label && !needs_merge && is_on_head && has_state && !is_moving(pull)
    }
}

/// The report of a closed pull request, unless repin closed it in favor of another one.
pub(super) async fn closed_pull_report(
    forge: &Forge,
    pull: Option<&Pull>,
) -> Result<Option<Report>, Error> {
    let Some(pull) = pull else { return Ok(None) };
    Ok(match closing(forge, pull.number).await? {
        Closing::Superseded { .. } => None,
        Closing::ByPerson => Some(closed(pull)),
    })
}

/// Whether the tree of the branch is that of the base with exactly these contents.
fn has_contents(
    member: &Member,
    branch: &SurveyedBranch,
    base: &Base,
    contents: &BTreeMap<RelPath, Vec<u8>>,
) -> bool {
    let mut changed = BTreeMap::new();
    for (path, content) in contents {
        let path = format!("{}{path}", member.config.set_path.prefix());
        if let Some(entry) = base.tree.entries.get(&path) {
            let id = blob_id(content, &entry.id);
            changed.insert(path, id);
        }
    }
    base.tree.id_with(&changed).as_ref() == Some(&branch.tree)
}

/// The report of a pull request that a user closed.
fn closed(pull: &Pull) -> Report {
    let subject = format!("pull request #{} ({})", pull.number, pull.url);
    let reason = "it was closed without being merged, and repin does not reopen it by itself";
    let problem = Error::about(Class::Refused, subject, reason)
        .help("ask who closed the pull request, or reopen it by hand");
    Report::done(FleetOutcome::ClosedByPerson)
        .because(problem)
        .with_pull(pull_line(pull, "closed"))
}

/// The row of a pull request in a line.
pub(super) fn pull_line(pull: &Pull, state: &str) -> LinePullRequest {
    LinePullRequest {
        number: pull.number,
        url: pull.url.clone(),
        state: state.to_owned(),
    }
}
