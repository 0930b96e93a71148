//! Opens the pull requests, one after another in the order of the list.
//!
//! Repositories with an existing pull request that determines the outcome: it is in the planned
//! state, or a user closed it.
//!
//! If the only parent of the branch is the base's head, the run that created the branch checked the
//! history. A pull request that shows another commit than its branch is left to `reconcile`, which
//! repairs it.

use std::collections::BTreeMap;

use super::{
    Walk,
    member::FleetMember,
    plan::ApprovedRepository,
    walk::{PendingReason, pending},
};
use crate::{
    app::{
        fleet::{FleetOutcome, ListEntry, Report},
        pull_request::{
            Base,
            reconcile::{Closing, Outcome, PullRequestAction, PullRequestResult, closing},
        },
        report::json::PullRequest,
        workflow::{
            ATTEMPTS, base_kept_moving,
            publication::{MergeReport, Publication},
            site::BranchHead,
        },
    },
    base::{
        error::{Class, Error, Errors},
        files::RelPath,
        untrusted::plain,
    },
    config::Trailer,
    forge::{Forge, Pull, Readiness, Words, fleet::SurveyedBranch},
    git::blob_id,
};

/// The result of an attempt to open a pull request.
enum Attempt {
    Done(Box<Report>),
    /// The base branch moved, so the plan is outdated. `may_have_changed`: whether the pull request may be open.
    BaseMoved {
        may_have_changed: bool,
    },
}

impl Walk<'_> {
    /// Opens the repository's pull request, or reports the pull request that would be opened.
    pub(super) async fn conclude(
        &self,
        entry: &ListEntry,
        mut prepared: ApprovedRepository,
    ) -> Report {
        // Whether an earlier attempt of this run opened the pull request.
        let mut is_new = false;
        for _ in 0..ATTEMPTS {
            // Without pull requests, a finished plan is reported even after the deadline.
            if let Some(reason) = self.pending_reason()
                && (self.request.open.is_some() || reason == PendingReason::Limit)
            {
                return pending(reason).with_pins(prepared.pins);
            }
            let pins = prepared.pins.clone();
            let open = prepared.member.open_pulls(&self.marker()).pop().cloned();
            let Some(request) = prepared.site.open else {
                self.count(open.is_none());
                let report = Report::done(FleetOutcome::Planned).with_pins(pins);
                return match open {
                    Some(pull) => {
                        report.with_pull(PullRequest::new(pull.number, &pull.url, "open"))
                    }
                    None => report,
                };
            };
            let deadline = self.services.forge_deadline.deadline();
            if open.is_none() && !self.pace.wait_for_turn(deadline).await {
                return pending(PendingReason::Deadline).with_pins(pins);
            }
            let publication = Publication {
                builds: &self.builds,
                config: &prepared.site.config,
                head: &prepared.site.head,
                planned: &prepared.planned,
                document: &prepared.document,
                request,
            };
            match Box::pin(self.open(&publication, &prepared.member, is_new)).await {
                Attempt::Done(report) => {
                    // A pull request that did not exist before counts, also if another run opened it.
                    self.count(open.is_none() && report.pull_request.is_some() || is_new);
                    return report.with_pins(pins);
                }
                Attempt::BaseMoved { may_have_changed } => {
                    self.services.console.note(&format!(
                        "note: {}: the base branch moved; planning again",
                        entry.repository
                    ));
                    is_new |= may_have_changed && open.is_none();
                    match Box::pin(self.prepare_again(entry)).await {
                        Ok(next) => prepared = next,
                        Err(report) => return *report,
                    }
                }
            }
        }
        Report::from(base_kept_moving()).with_pins(prepared.pins)
    }

    fn count(&self, is_new: bool) {
        self.counts
            .opened
            .set(self.counts.opened.get() + usize::from(is_new));
    }

    async fn open(
        &self,
        publication: &Publication<'_>,
        member: &FleetMember,
        is_new: bool,
    ) -> Attempt {
        self.services.interruption.changes(format!(
            "{} {}s were opened; that of {} may be incomplete; run the same command again",
            self.counts.opened.get(),
            publication.head.repository.forge.words().pull_request,
            member.name
        ));
        let mut pull = match publication.open().await {
            Ok(Outcome::Reconciled(pull)) => *pull,
            Ok(Outcome::BaseMoved { may_have_changed }) => {
                return Attempt::BaseMoved { may_have_changed };
            }
            Err(error) => {
                let report = self.failure_report(member, &publication.head.repository.forge, error);
                return Attempt::Done(Box::new(report.await));
            }
        };
        if is_new {
            pull.change = PullRequestAction::Created;
        }
        self.print_messages(member, &pull);
        let late_error = match pull.late_error.take() {
            Some(error) => Some(error.into()),
            None => self.schedule_merge(publication, member, &pull).await.err(),
        };
        let report = Report::done(match pull.change {
            PullRequestAction::Created => FleetOutcome::Created,
            PullRequestAction::Updated => FleetOutcome::Updated,
            PullRequestAction::Unchanged => FleetOutcome::Unchanged,
        })
        .with_pull(PullRequest::new(
            pull.number,
            &pull.url,
            pull.change.as_str(),
        ));
        Attempt::Done(Box::new(match late_error {
            Some(errors) => report.because(errors),
            None => report,
        }))
    }

    /// Schedules the merge, if the configuration of the repository requires it.
    async fn schedule_merge(
        &self,
        publication: &Publication<'_>,
        member: &FleetMember,
        pull: &PullRequestResult,
    ) -> Result<(), Errors> {
        let merge = publication.schedule_merge(pull.number, &pull.url);
        if let Some(MergeReport::NotYet(warning)) = merge.await? {
            let console = &self.services.console;
            console.warn(&format!("{}: {warning}", member.name));
        }
        Ok(())
    }

    fn print_messages(&self, member: &FleetMember, pull: &PullRequestResult) {
        let (console, name) = (&self.services.console, &member.name);
        for warning in &pull.warnings {
            console.warn(&format!("{name}: {}", plain(warning)));
        }
        for number in &pull.superseded {
            let words = Words::for_page(&pull.url);
            console.note(&format!(
                "note: {name}: {} was closed: {} supersedes it",
                words.name(*number),
                words.mark(pull.number)
            ));
        }
    }

    /// The report of a pull request that was not opened.
    async fn failure_report(&self, member: &FleetMember, forge: &Forge, error: Error) -> Report {
        if error.class != Class::Refused {
            return error.into();
        }
        // If there are more, the refusal concerns the last one.
        let closed = member.last_closed_pull(&self.marker());
        match closed_pull_report(forge, closed).await {
            Ok(Some(report)) => report,
            Ok(None) => error.into(),
            Err(read_error) => read_error.into(),
        }
    }
}

impl Walk<'_> {
    /// The report of a repository with a pull request that is in the planned state or was closed by
    /// a user. `contents`: the planned contents of the files.
    pub(super) async fn existing_pull_report(
        &self,
        member: &FleetMember,
        head: &BranchHead,
        contents: &BTreeMap<RelPath, Vec<u8>>,
    ) -> Result<Option<Report>, Error> {
        let marker = self.marker();
        if let [pull] = member.open_pulls(&marker).as_slice()
            && let Some(branch) = &member.state.branch
            && self.is_in_requested_state(member, pull, branch)
            && has_contents(member, branch, &head.base, contents)
            && head
                .repository
                .forge
                .shows_head(pull, &pull.head_commit)
                .await?
        {
            let pull = PullRequest::new(pull.number, &pull.url, "unchanged");
            return Ok(Some(Report::done(FleetOutcome::Unchanged).with_pull(pull)));
        }
        closed_pull_report(&head.repository.forge, member.closed_pull(&marker)).await
    }

    /// Whether a pull request is in the requested state, with one commit of repin on the base's head.
    fn is_in_requested_state(
        &self,
        member: &FleetMember,
        pull: &Pull,
        branch: &SurveyedBranch,
    ) -> bool {
        let configured = member.config.forge_or_default();
        let labels = &configured.labels;
        let has_label = labels.is_empty() || labels.iter().any(|label| pull.labels.contains(label));
        let needs_merge = configured.auto_merge && self.request.open == Some(Readiness::Ready);
        let is_on_head = branch.commit.id == pull.head_commit
            && branch.commit.parents == [member.state.head.commit.clone()]
            && Trailer::from_message(&branch.commit.message)
                .any(|trailer| trailer.revision == self.revision.as_str());
        let has_state = self
            .request
            .open
            .is_none_or(|state| state == pull.readiness);
        has_label && !needs_merge && is_on_head && has_state
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
    member: &FleetMember,
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
    let subject = format!("{} ({})", pull.name(), pull.url);
    let reason = "it was closed without being merged, and repin does not reopen it by itself";
    let problem = Error::about(Class::Refused, subject, reason)
        .help("ask who closed it, or reopen it by hand");
    Report::done(FleetOutcome::ClosedByPerson)
        .because(problem)
        .with_pull(PullRequest::new(pull.number, &pull.url, "closed"))
}
