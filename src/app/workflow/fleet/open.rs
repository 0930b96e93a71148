//! Opens the pull requests, one after another in the order of the list.

use super::{
    Walk,
    existing_pull::{closed_pull_report, pull_line},
    member::Member,
    outcome::Report,
    plan::Prepared,
    walk::{PendingReason, pending},
};
use crate::{
    app::{
        fleet::{FleetOutcome, LinePullRequest, ListEntry},
        pull_request::reconcile::{Change, Outcome, PullRequestResult},
        workflow::{
            ATTEMPTS, base_kept_moving,
            publication::{MergeSchedule, Publication},
        },
    },
    base::{
        error::{Class, Error, Errors},
        untrusted::plain,
    },
    forge::Forge,
};

/// The result of an attempt to open a pull request.
enum Attempt {
    Done(Box<Report>),
    /// The base branch moved, so the plan is outdated. `begun`: whether the pull request may be open.
    BaseMoved {
        begun: bool,
    },
}

impl Walk<'_> {
    /// Opens the repository's pull request, or reports the pull request that would be opened.
    pub(super) async fn conclude(&self, entry: &ListEntry, mut prepared: Prepared) -> Report {
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
                    Some(pull) => report.with_pull(pull_line(&pull, "open")),
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
                Attempt::BaseMoved { begun } => {
                    self.services.console.note(&format!(
                        "note: {}: the base branch moved; planning again",
                        entry.repository
                    ));
                    is_new |= begun && open.is_none();
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

    async fn open(&self, publication: &Publication<'_>, member: &Member, is_new: bool) -> Attempt {
        self.services.interruption.changes(format!(
            "{} pull requests were opened; that of {} may be incomplete; run the same command again",
            self.counts.opened.get(),
            member.name
        ));
        let mut pull = match publication.open().await {
            Ok(Outcome::Reconciled(pull)) => *pull,
            Ok(Outcome::BaseMoved { begun }) => return Attempt::BaseMoved { begun },
            Err(error) => {
                let report = self.failure_report(member, &publication.head.forge, error);
                return Attempt::Done(Box::new(report.await));
            }
        };
        if is_new {
            pull.change = Change::Created;
        }
        self.print_messages(member, &pull);
        let late_error = match pull.late_error.take() {
            Some(error) => Some(error.into()),
            None => self.schedule_merge(publication, member, &pull).await.err(),
        };
        let report = Report::done(match pull.change {
            Change::Created => FleetOutcome::Created,
            Change::Updated => FleetOutcome::Updated,
            Change::Unchanged => FleetOutcome::Unchanged,
        })
        .with_pull(LinePullRequest {
            number: pull.number,
            url: pull.url,
            state: pull.change.as_str().to_owned(),
        });
        Attempt::Done(Box::new(match late_error {
            Some(errors) => report.because(errors),
            None => report,
        }))
    }

    /// Schedules the merge, if the configuration of the repository requires it.
    async fn schedule_merge(
        &self,
        publication: &Publication<'_>,
        member: &Member,
        pull: &PullRequestResult,
    ) -> Result<(), Errors> {
        let merge = publication.schedule_merge(pull.number, &pull.url);
        if let Some(MergeSchedule::NotYet(warning)) = merge.await? {
            let console = &self.services.console;
            console.warn(&format!("{}: {warning}", member.name));
        }
        Ok(())
    }

    fn print_messages(&self, member: &Member, pull: &PullRequestResult) {
        let (console, name) = (&self.services.console, &member.name);
        for warning in &pull.warnings {
            console.warn(&format!("{name}: {}", plain(warning)));
        }
        for number in &pull.superseded {
            console.note(&format!(
                "note: {name}: pull request #{number} was closed: #{} supersedes it",
                pull.number
            ));
        }
    }

    /// The report of a pull request that was not opened.
    async fn failure_report(&self, member: &Member, forge: &Forge, error: Error) -> Report {
        if error.class != Class::Refused {
            return error.into();
        }
        // If there are more, the refusal concerns the last one.
        let closed = member.last_closed_pull(&self.marker());
        match closed_pull_report(forge, closed).await {
            Ok(Some(report)) => report,
            Ok(None) => error.into(),
            Err(outage) => outage.into(),
        }
    }
}
