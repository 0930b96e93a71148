//! Pull requests, one after another, in the order of the list.

use async_trait::async_trait;

use super::{
    Walk,
    judge::Prepared,
    member::Member,
    outcome::Report,
    standing::{closed_by_person, line},
    walk::{PendingReason, pending},
};
use crate::{
    config::Config,
    error::{Class, Error, Errors},
    fleet::{FleetOutcome, LinePullRequest, ListEntry},
    forge::Forge,
    pull_request::reconcile::{Change, Outcome, PullRequestResult, RevisionAge, Rivals},
    untrusted::plain,
    workflow::{
        ATTEMPTS, kept_moving,
        publication::{Publication, Scheduled},
        publish::promotion_branch,
        site::Target,
    },
};

/// The result of an attempt to open a pull request.
enum Opened {
    Done(Box<Report>),
    /// The base branch moved, so the plan is outdated. `begun`: whether the pull request may be open.
    BaseMoved {
        begun: bool,
    },
}

impl Walk<'_> {
    /// Opens the repository's pull request, or reports what would be opened.
    pub(super) async fn conclude(&self, entry: &ListEntry, mut prepared: Prepared) -> Report {
        // Whether this run opened the pull request and then found that the base had moved.
        let mut is_new = false;
        for _ in 0..ATTEMPTS {
            // Without pull requests, a finished plan is reported even after the deadline.
            if let Some(reason) = self.pending_reason()
                && (self.request.open.is_some() || reason == PendingReason::Limit)
            {
                return pending(reason).about(prepared.facts);
            }
            let facts = prepared.facts.clone();
            let open = prepared.member.open_pulls(&self.marker()).pop().cloned();
            let Target::Branch(head, Some(request)) = &prepared.site.target else {
                self.count(open.is_none());
                let report = Report::done(FleetOutcome::Planned).about(facts);
                return match open {
                    Some(pull) => report.with_pull(line(&pull, "open")),
                    None => report,
                };
            };
            let deadline = self.services.forge_time.deadline();
            if open.is_none() && !self.pace.wait_for_pull_request(deadline).await {
                return pending(PendingReason::Deadline).about(facts);
            }
            let publication = Publication {
                config: &prepared.site.config,
                head,
                planned: &prepared.planned,
                document: &prepared.document,
                request: *request,
            };
            match Box::pin(self.open(&publication, &prepared.member, is_new)).await {
                Opened::Done(report) => {
                    // A pull request that did not exist before counts, also if another run opened it.
                    self.count(open.is_none() && report.pull_request.is_some() || is_new);
                    return report.about(facts);
                }
                Opened::BaseMoved { begun } => {
                    self.services.console.note(&format!(
                        "note: {}: the base branch moved; planning again",
                        entry.repository
                    ));
                    is_new |= begun && open.is_none();
                    match Box::pin(self.again(entry)).await {
                        Ok(next) => prepared = next,
                        Err(report) => return *report,
                    }
                }
            }
        }
        Report::from(kept_moving()).about(prepared.facts)
    }

    /// Counts a new pull request.
    fn count(&self, is_new: bool) {
        self.counts
            .opened
            .set(self.counts.opened.get() + usize::from(is_new));
    }

    async fn open(&self, publication: &Publication<'_>, member: &Member, is_new: bool) -> Opened {
        self.services.interruption.changes(format!(
            "{} pull requests were opened; that of {} may be incomplete; run the same command again",
            self.counts.opened.get(),
            member.name
        ));
        let rivals = RivalsInSource {
            walk: self,
            config: publication.config,
        };
        let mut standing = match publication.open(&rivals).await {
            Ok(Outcome::Stands(standing)) => *standing,
            Ok(Outcome::BaseMoved { begun }) => return Opened::BaseMoved { begun },
            Err(error) => {
                let report = self.failed(member, &*publication.head.forge, error);
                return Opened::Done(Box::new(report.await));
            }
        };
        if is_new {
            standing.change = Change::Created;
        }
        self.warn(member, &standing);
        let trouble = match standing.trouble.take() {
            Some(error) => Some(error.into()),
            None => self
                .schedule_merge(publication, member, &standing)
                .await
                .err(),
        };
        let report = Report::done(match standing.change {
            Change::Created => FleetOutcome::Created,
            Change::Updated => FleetOutcome::Updated,
            Change::Unchanged => FleetOutcome::Unchanged,
        });
        let report = report.with_pull(LinePullRequest {
            number: standing.number,
            url: standing.url,
            state: standing.change.as_str().to_owned(),
        });
        Opened::Done(Box::new(match trouble {
            Some(errors) => report.because(errors),
            None => report,
        }))
    }

    /// Schedules the merge, if the configuration of the repository requires it.
    async fn schedule_merge(
        &self,
        publication: &Publication<'_>,
        member: &Member,
        standing: &PullRequestResult,
    ) -> Result<(), Errors> {
        let merge = publication.schedule_merge(standing.number, &standing.url);
        if let Some(Scheduled::NotYet(warning)) = merge.await? {
            let console = &self.services.console;
            console.warn(&format!("{}: {warning}", member.name));
        }
        Ok(())
    }

    fn warn(&self, member: &Member, standing: &PullRequestResult) {
        let (console, name) = (&self.services.console, &member.name);
        for warning in &standing.warnings {
            console.warn(&format!("{name}: {}", plain(warning)));
        }
        for number in &standing.superseded {
            console.note(&format!(
                "note: {name}: pull request #{number} was closed: #{} supersedes it",
                standing.number
            ));
        }
    }

    /// The report of a pull request that was not opened.
    async fn failed(&self, member: &Member, forge: &dyn Forge, error: Error) -> Report {
        if error.class != Class::Refused {
            return error.into();
        }
        // Of several pull requests, the refusal concerns the last one.
        let closed = member.last_closed_pull(&self.marker());
        match closed_by_person(forge, closed).await {
            Ok(Some(report)) => report,
            Ok(None) => error.into(),
            Err(outage) => outage.into(),
        }
    }
}

/// Other revisions of a repository's set, whose ages follow from ancestry in the source.
struct RivalsInSource<'r> {
    walk: &'r Walk<'r>,
    config: &'r Config,
}

#[async_trait(?Send)]
impl Rivals for RivalsInSource<'_> {
    fn branch(&self, revision: &str) -> Option<String> {
        promotion_branch(self.config, revision)
    }

    async fn age(&self, revision: &str) -> Result<RevisionAge, Error> {
        let walk = self.walk;
        let reader = &*walk.reader;
        walk.orders.age(reader, revision, walk.revision).await
    }
}
