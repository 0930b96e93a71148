//! Carries out a plan: in the work tree, or as a pull request.

use super::{
    Goal, Intent, Options, Services, Stop, Workspace, commit,
    pipeline::Planned,
    workspace::{At, Site},
};
use crate::{
    apply,
    checks::Approved,
    config::{Config, Forge as Configured, number},
    error::{Error, Errors},
    forge::{ANOTHER_TOKEN, Ability, Forge, Merge, State},
    git::{Git, ObjectId},
    plan::{self, FileChange, Plan},
    pull_request::{
        ApprovedSet, Marker, OnlyPins, Permission,
        merging::{self, MergeAttempt},
        reconcile::{self, Outcome, Proposal, PullRequestResult, RevisionAge, Rival},
    },
    report::json::{PlanDocument, PullRequest},
    untrusted::plain,
};

/// The message for a merge that cannot be scheduled yet.
pub fn not_yet(number: u64, reason: &str) -> String {
    let reason = plain(reason);
    format!(
        "the merge of #{number} is not scheduled yet: {reason}; `repin wait --pr {number}` schedules it"
    )
}

/// The error for a requested merge that cannot be scheduled.
pub fn not_scheduled(stands: &str, reason: &str) -> Errors {
    let problem = Error::failed(
        "conflict",
        format!("{stands} is open, but its merge cannot be scheduled: {reason}"),
    );
    let hint = "merge the pull request by hand, or fix the cause and run the command again";
    Errors::from(problem.help(hint))
}

/// What came of scheduling a merge.
pub(super) enum Arming {
    /// The pull request is merged, or will be: what to say of it.
    Scheduled(String),
    /// It cannot be scheduled yet: a warning.
    NotYet(String),
}

/// The meaning of an attempt to schedule the merge of a new pull request, which messages call `stands`.
pub(super) fn armed(attempt: MergeAttempt, number: u64, stands: &str) -> Result<Arming, Errors> {
    let merge = match attempt {
        MergeAttempt::Merge(merge) => merge,
        MergeAttempt::Refused(error) => return Err(error.into()),
        MergeAttempt::Lagging => {
            let reason = "the pull request was closed, or its branch changed, during the run";
            return Err(not_scheduled(stands, reason));
        }
    };
    Ok(Arming::Scheduled(match merge {
        Merge::Scheduled => "will be merged once its gates pass".to_owned(),
        Merge::Held(reason) => {
            format!(
                "will be merged once a status or a review arrives that allows it: {}",
                plain(&reason)
            )
        }
        Merge::Queued(position, _) => format!("is in the merge queue, at position {position}"),
        Merge::Merged => "was merged: its gates had already passed".to_owned(),
        Merge::Later(reason) | Merge::Clean(reason) | Merge::Unscheduled(reason) => {
            return Ok(Arming::NotYet(not_yet(number, &reason)));
        }
        Merge::Refused(reason) => return Err(not_scheduled(stands, &reason)),
    }))
}

/// Warns if a merge waits for checks that never start with this token.
pub fn warn_of_silent_checks(
    forge: &dyn Forge,
    configured: &Configured,
    services: &Services,
) -> Result<(), Errors> {
    if !configured.waits_for_checks() {
        return Ok(());
    }
    let console = &services.console;
    match services.wait(forge.starts_checks(), "identifying the token")? {
        Ok(Ability::Yes) => {}
        Ok(Ability::No(reason)) => console.warn(&format!("{reason}\n  = help: {ANOTHER_TOKEN}")),
        Err(error) => console.warn(&format!(
            "cannot determine whether checks start with this token: {error}"
        )),
    }
    Ok(())
}

/// What a run did.
#[derive(Debug, Clone)]
pub enum Done {
    /// Nothing was changed.
    Nothing,
    /// Nothing was changed; it would have opened a pull request.
    Rehearsed,
    /// The work tree was changed.
    Applied,
    /// The work tree was changed, and the change was committed.
    Committed(ObjectId),
    /// A pull request was begun and is not complete.
    Begun,
    /// A pull request is open.
    Opened(PullRequest),
}

/// What was done with a plan, and what stopped the rest.
pub(super) struct CarriedPull {
    pub(super) done: Done,
    pub(super) stop: Option<Stop>,
}

/// Carries out the plan as requested.
pub(super) fn carry_out(
    goal: &Goal,
    document: &PlanDocument,
    planned: &mut Planned,
    workspace: &Workspace,
    options: &Options,
    services: &Services,
) -> CarriedPull {
    let plan = &planned.plan;
    match (options.intent, &mut planned.session, &workspace.at) {
        (Intent::ShowOpen, ..) => CarriedPull::complete(Done::Rehearsed),
        _ if plan.changes().is_empty() => CarriedPull::complete(Done::Nothing),
        (Intent::Apply, Some(session), _) if options.commit => committed(
            session,
            plan.changes(),
            document,
            &workspace.config,
            services,
        ),
        (Intent::Apply, Some(session), _) => applied(session, plan.changes(), services),
        (Intent::Open(state), _, At::Forge(site)) => {
            let publication = Publication {
                goal,
                document,
                plan,
                approved: &planned.approved,
                config: &workspace.config,
                site,
                services,
            };
            publication.open(state, options.reopen)
        }
        _ => CarriedPull::complete(Done::Nothing),
    }
}

/// Applies the plan and commits it; nothing is written where the commit could not be made.
fn committed(
    session: &mut apply::Session,
    changes: &[FileChange],
    document: &PlanDocument,
    config: &Config,
    services: &Services,
) -> CarriedPull {
    let git = match commit::ready(config, changes) {
        Ok(git) => git,
        Err(errors) => return CarriedPull::stopped(Done::Nothing, errors.into()),
    };
    let applied = applied(session, changes, services);
    if applied.stop.is_some() {
        return applied;
    }
    let written = number(changes.len(), "file");
    let step = services.interruption.step(format!(
        "{written} changed; the commit may be missing: see git status"
    ));
    match commit::commit(&git, &config.root, changes, document) {
        Ok(id) => {
            step.done(format!("{written} changed and committed as {}", id.short()));
            CarriedPull::complete(Done::Committed(id))
        }
        Err(errors) => CarriedPull::stopped(Done::Applied, errors.into()),
    }
}

/// Applies the plan. A first signal lets all files be exchanged.
fn applied(
    session: &mut apply::Session,
    changes: &[FileChange],
    services: &Services,
) -> CarriedPull {
    let interruption = &services.interruption;
    let step = interruption
        .step("files may have changed; `repin recover` finishes or undoes what was begun");
    let written = format!(
        "{} changed, nothing committed",
        number(changes.len(), "file")
    );
    match session.apply(changes) {
        Ok(()) => {
            step.done(written);
            CarriedPull::complete(Done::Applied)
        }
        Err(error @ apply::Error::Uncleared { .. }) => {
            step.done(written);
            CarriedPull::stopped(Done::Applied, Errors::from(error).into())
        }
        Err(error) => CarriedPull::stopped(Done::Nothing, Errors::from(error).into()),
    }
}

impl CarriedPull {
    fn complete(done: Done) -> Self {
        Self { done, stop: None }
    }

    pub(super) fn stopped(done: Done, stop: Stop) -> Self {
        let stop = Some(stop);
        Self { done, stop }
    }

    /// The pull request is incomplete; `begun`: whether a part of it is visible.
    fn incomplete(begun: bool, stop: Stop) -> Self {
        Self::stopped(if begun { Done::Begun } else { Done::Nothing }, stop)
    }
}

/// A plan on its way to a pull request.
struct Publication<'p> {
    goal: &'p Goal,
    document: &'p PlanDocument,
    plan: &'p Plan,
    approved: &'p Approved,
    config: &'p Config,
    site: &'p Site,
    services: &'p Services,
}

impl Publication<'_> {
    fn open(&self, state: State, reopen: bool) -> CarriedPull {
        let only_pins = plan::only_pins(self.config, &self.site.prefix);
        let standing = match self.reconcile(state, reopen, &only_pins) {
            Ok(Outcome::Stands(standing)) => standing,
            Ok(Outcome::BaseMoved { begun }) => {
                return CarriedPull::incomplete(begun, Stop::BaseMoved);
            }
            Err(errors) => return CarriedPull::incomplete(errors.begun(), errors.into()),
        };
        self.services.interruption.changes(format!(
            "pull request #{} is open ({})",
            standing.number,
            plain(&standing.url)
        ));
        self.report(&standing);
        let armed = match (standing.trouble, state) {
            (Some(error), _) => Err(error.into()),
            (None, State::Ready) => self.arm(standing.number, &standing.url),
            (None, State::Draft) => Ok(()),
        };
        CarriedPull {
            done: Done::Opened(PullRequest {
                number: standing.number,
                url: standing.url,
                state: standing.change.as_str(),
            }),
            stop: armed.err().map(Stop::Errors),
        }
    }

    /// Reconciles the branch, its commit and the pull request with the plan.
    fn reconcile(
        &self,
        state: State,
        reopen: bool,
        only_pins: OnlyPins<'_>,
    ) -> Result<Outcome, Errors> {
        let (document, configured) = (self.document, self.config.forge.as_ref());
        let rival = |revision: &str| self.rival(revision);
        let supersede = match self.goal {
            Goal::Promote { .. } => self.config.promote.supersede,
            Goal::Rollback { .. } => false,
        };
        let proposal = Proposal {
            branch: &document.branch,
            title: &document.title,
            body: document.body.as_deref().unwrap_or_default(),
            marker: &Marker {
                kind: document.kind.to_owned(),
                revision: document.revision.clone(),
            },
            prefix: &self.site.prefix,
            changes: self.plan.changes(),
            labels: configured.map_or(&[][..], |forge| &forge.labels),
            state,
            reopen,
            supersede: supersede.then_some(&rival),
            only_pins,
            auto_merge: configured.is_some_and(|forge| forge.auto_merge),
        };
        let forge = &*self.site.forge;
        if let Some(configured) = configured {
            warn_of_silent_checks(forge, configured, self.services)?;
        }
        // What came before, such as a smoke test, takes nothing of the writes' time.
        self.services.forge_time.restart();
        self.services.interruption.changes(format!(
            "the branch {} and its pull request may be incomplete; run the command again",
            plain(&self.document.branch)
        ));
        let work = reconcile::open(forge, &self.site.base, &proposal);
        Ok(self.services.wait(work, "opening the pull request")??)
    }

    fn report(&self, standing: &PullRequestResult) {
        let console = &self.services.console;
        for warning in &standing.warnings {
            console.warn(warning);
        }
        for number in &standing.superseded {
            console.note(&format!(
                "note: pull request #{number} was closed: this pull request supersedes it"
            ));
        }
    }

    /// Schedules the merge, if configured.
    fn arm(&self, number: u64, url: &str) -> Result<(), Errors> {
        let Some(configured) = self.config.forge.as_ref().filter(|forge| forge.auto_merge) else {
            return Ok(());
        };
        let stands = format!("pull request #{number} ({url})");
        let forge = &*self.site.forge;
        let permission = Permission::Set(ApprovedSet {
            config: self.config,
            approved: self.approved,
            base: &self.site.base,
            prefix: &self.site.prefix,
            branch: &self.document.branch,
        });
        let work = merging::schedule_new(forge, number, &configured.gates, &permission);
        let attempt = self.services.wait(work, "scheduling the merge")??;
        let console = &self.services.console;
        match armed(attempt, number, &stands)? {
            Arming::Scheduled(said) => console.note(&format!("note: {stands} {said}")),
            Arming::NotYet(warning) => console.warn(&warning),
        }
        Ok(())
    }

    /// Another revision of this configuration: the branch of its pull request, and its age as far as
    /// git knows it.
    fn rival(&self, revision: &str) -> Option<Rival> {
        let theirs = self.config.revision.pattern.revision(revision).ok()?;
        let branch = self
            .config
            .promote
            .branch
            .render(&theirs, &self.config.name);
        let age = self.age(revision).unwrap_or(RevisionAge::Unknown);
        Some(Rival { branch, age })
    }

    fn age(&self, revision: &str) -> Option<RevisionAge> {
        let git = Git::open(&self.config.root).ok()?;
        let commit = |name: &str| git.commit_named(name).ok().flatten();
        let (ours, theirs) = (commit(&self.document.revision)?, commit(revision)?);
        let is_ancestor = |old, new| git.is_ancestor(old, new).unwrap_or_default();
        Some(if is_ancestor(&ours, &theirs) {
            RevisionAge::Newer
        } else if is_ancestor(&theirs, &ours) {
            RevisionAge::Older
        } else {
            RevisionAge::Unknown
        })
    }
}
