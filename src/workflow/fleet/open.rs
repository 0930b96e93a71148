//! Pull requests, one after another, in the order of the list.

use std::cell::RefCell;

use super::{
    Walk,
    judge::Prepared,
    member::closed,
    outcome::Report,
    standing::line,
    walk::{Halt, pending},
};
use crate::{
    error::{Class, Error, Errors},
    fleet::{FleetOutcome, LinePullRequest, ListEntry},
    forge::{Forge, PullState, State},
    plan,
    pull_request::{
        ApprovedSet, Marker, OnlyPins, Permission, merging,
        reconcile::{self, Change, Outcome, Proposal, PullRequestResult, Rival, RivalOf},
    },
    untrusted::plain,
    workflow::{
        ATTEMPTS,
        fleet::FleetGoal,
        kept_moving,
        publish::{Arming, armed},
    },
};

/// What became of a pull request.
enum Opened {
    Done(Box<Report>),
    /// The base branch moved: plan again. `begun`: whether the pull request may be open.
    BaseMoved {
        begun: bool,
    },
}

/// A pull request that is being opened.
struct Opening<'o> {
    walk: &'o Walk<'o>,
    prepared: &'o Prepared,
    forge: Box<dyn Forge>,
    state: State,
    /// Whether this run opened the pull request before.
    is_new: bool,
    marker: Marker,
}

impl Walk<'_> {
    /// Opens the repository's pull request, or reports what would be opened.
    pub(super) async fn conclude(&self, entry: &ListEntry, mut prepared: Prepared) -> Report {
        // Whether this run opened the pull request and then found that the base had moved.
        let mut is_new = false;
        for _ in 0..ATTEMPTS {
            // What was planned already may be shown.
            let ends = |halt: &Halt| self.request.open.is_some() || *halt == Halt::Limit;
            if let Some(halt) = self.halt().filter(ends) {
                return pending(halt).about(prepared.facts);
            }
            let facts = prepared.facts.clone();
            let open = prepared.member.open_pulls(&self.marker()).pop().cloned();
            let Some(state) = self.request.open else {
                self.count(open.is_none());
                let report = Report::done(FleetOutcome::Planned).about(facts);
                return match open {
                    Some(pull) => report.with_pull(line(&pull, "open")),
                    None => report,
                };
            };
            let deadline = self.services.forge_time.deadline();
            if open.is_none() && !self.pace.pull_request(deadline).await {
                return pending(Halt::Deadline).about(facts);
            }
            match Box::pin(self.open(&prepared, state, is_new)).await {
                Opened::Done(report) => {
                    // One that is there now and was not before counts, whoever opened it.
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

    async fn open(&self, prepared: &Prepared, state: State, is_new: bool) -> Opened {
        let configured = prepared.member.config.forge_or_default();
        let forge = match self.forge.repository(&prepared.member.name, &configured) {
            Ok(forge) => forge,
            Err(error) => return Opened::Done(Box::new(error.into())),
        };
        let opening = Opening {
            walk: self,
            prepared,
            forge,
            state,
            is_new,
            marker: self.marker(),
        };
        self.services.interruption.changes(format!(
            "{} pull requests were opened; that of {} may be incomplete; run the same command again",
            self.counts.opened.get(),
            prepared.member.name
        ));
        opening.carry_out().await
    }
}

impl Opening<'_> {
    async fn carry_out(&self) -> Opened {
        let only_pins = plan::only_pins(&self.prepared.member.config, "");
        let unknown = RefCell::new(Vec::new());
        let rival = |revision: &str| self.rival(revision, &unknown);
        let outcome = self.reconcile(&rival, &only_pins).await;
        let mut standing = match outcome {
            Ok(Outcome::Stands(standing)) => *standing,
            Ok(Outcome::BaseMoved { begun }) => return Opened::BaseMoved { begun },
            Err(error) => return Opened::Done(Box::new(self.failed(error))),
        };
        if self.is_new {
            standing.change = Change::Created;
        }
        let mut trouble: Vec<Error> = standing.trouble.take().into_iter().collect();
        if trouble.is_empty() {
            let learnt = self.learn(unknown.take(), &rival, &only_pins).await;
            trouble.extend(learnt.err());
        }
        if trouble.is_empty()
            && let Err(errors) = self.arm(&standing).await
        {
            trouble.extend(errors);
        }
        self.warn(&standing);
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
        Opened::Done(Box::new(if trouble.is_empty() {
            report
        } else {
            report.because(trouble)
        }))
    }

    async fn reconcile(
        &self,
        rival: RivalOf<'_>,
        only_pins: OnlyPins<'_>,
    ) -> Result<Outcome, Error> {
        let (config, document) = (&self.prepared.member.config, &self.prepared.document);
        let configured = config.forge_or_default();
        let supersede = self.walk.request.goal == FleetGoal::Promote && config.promote.supersede;
        let proposal = Proposal {
            branch: &document.branch,
            title: &document.title,
            body: &self.prepared.body,
            marker: &self.marker,
            prefix: "",
            changes: self.prepared.plan.changes(),
            labels: &configured.labels,
            state: self.state,
            reopen: false,
            supersede: supersede.then_some(rival),
            only_pins,
            auto_merge: configured.auto_merge,
        };
        reconcile::open(&*self.forge, &self.prepared.base, &proposal).await
    }

    /// Another revision of this repository's set. One whose age nobody asked for yet is left alone
    /// and added to `unknown`.
    fn rival(&self, revision: &str, unknown: &RefCell<Vec<String>>) -> Option<Rival> {
        if revision == self.marker.revision {
            return None;
        }
        let config = &self.prepared.member.config;
        let theirs = config.revision.pattern.revision(revision).ok()?;
        let branch = config.promote.branch.render(&theirs, &config.name);
        let age = self.walk.orders.known_age(revision);
        if age.is_none() {
            let mut unknown = unknown.borrow_mut();
            if !unknown.iter().any(|known| known == revision) {
                unknown.push(revision.to_owned());
            }
        }
        Some(Rival { branch, age: age? })
    }

    /// Learns the ages of other revisions, and looks once more for pull requests to supersede.
    async fn learn(
        &self,
        revisions: Vec<String>,
        rival: RivalOf<'_>,
        only_pins: OnlyPins<'_>,
    ) -> Result<(), Error> {
        if revisions.is_empty() {
            return Ok(());
        }
        let (walk, reader) = (self.walk, &*self.walk.reader);
        for revision in &revisions {
            walk.orders
                .learn_age(reader, revision, walk.revision)
                .await?;
        }
        match self.reconcile(rival, only_pins).await? {
            Outcome::Stands(standing) => {
                self.warn(&standing);
                standing.trouble.map_or(Ok(()), Err)
            }
            // The next run supersedes them.
            Outcome::BaseMoved { .. } => Ok(()),
        }
    }

    /// Schedules the merge, if the repository's configuration says so.
    async fn arm(&self, standing: &PullRequestResult) -> Result<(), Errors> {
        let configured = self.prepared.member.config.forge_or_default();
        if !configured.auto_merge || self.state != State::Ready {
            return Ok(());
        }
        let number = standing.number;
        let prepared = self.prepared;
        let permission = Permission::Set(ApprovedSet {
            config: &prepared.member.config,
            approved: &prepared.approved,
            base: &prepared.base,
            prefix: "",
            branch: &prepared.document.branch,
        });
        let gates = &configured.gates;
        let attempt = merging::schedule_new(&*self.forge, number, gates, &permission).await?;
        let stands = format!("pull request #{number} ({})", standing.url);
        if let Arming::NotYet(warning) = armed(attempt, number, &stands)? {
            let name = &self.prepared.member.name;
            self.walk
                .services
                .console
                .warn(&format!("{name}: {warning}"));
        }
        Ok(())
    }

    fn warn(&self, standing: &PullRequestResult) {
        let (console, name) = (&self.walk.services.console, &self.prepared.member.name);
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
    fn failed(&self, error: Error) -> Report {
        let marked = |body: &str| Marker::find(body).as_ref() == Some(&self.marker);
        let mut pulls = self.prepared.member.state.pulls.iter();
        let last = pulls.rfind(|pull| marked(&pull.body));
        match last.filter(|pull| pull.state == PullState::Closed) {
            Some(pull) if error.class == Class::Refused => {
                closed(pull).with_pull(line(pull, "closed"))
            }
            _ => error.into(),
        }
    }
}
