//! The execution of a plan: in the work tree, or as a pull request.

use async_trait::async_trait;

use super::{
    Services, Stop, commit,
    engine::Planned,
    publication::{MergeSchedule, Publication},
    site::{BranchSite, Site, WorkTreeSite},
};
use crate::{
    apply,
    config::{Config, Forge as Configured, number},
    error::{Error, Errors},
    forge::{ANOTHER_TOKEN, Ability, Forge},
    git::{Git, GitError, ObjectId},
    plan::FileChange,
    pull_request::{
        Marker, of_set,
        reconcile::{Outcome, RevisionAge, Rivals},
    },
    report::json::{PlanDocument, PullRequest},
    untrusted::plain,
};

/// Warns if a scheduled merge requires checks that never start with this token.
pub(crate) fn warn_of_silent_checks(
    forge: &Forge,
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

#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Nothing,
    /// No change; with `--pr` the run would open a pull request.
    PullRequestShown,
    Applied,
    /// The work tree was changed, and the change was committed.
    Committed(ObjectId),
    /// A pull request was begun and is not complete.
    Begun,
    Opened(PullRequest),
}

/// The effect of a run on a site, and the cause of an early stop.
pub(super) struct Execution {
    pub(super) effect: Effect,
    pub(super) stop: Option<Stop>,
}

impl Execution {
    fn complete(effect: Effect) -> Self {
        Self { effect, stop: None }
    }

    pub(super) fn stopped(effect: Effect, stop: Stop) -> Self {
        let stop = Some(stop);
        Self { effect, stop }
    }

    /// The pull request is incomplete. `begun`: whether a part of it is visible.
    fn incomplete(begun: bool, stop: Stop) -> Self {
        let effect = if begun {
            Effect::Begun
        } else {
            Effect::Nothing
        };
        Self::stopped(effect, stop)
    }
}

/// A site at which a plan can be carried out.
pub(super) trait Executor: Site {
    /// Carries out a plan, if the run may make a change.
    fn carry_out(
        &mut self,
        planned: &Planned,
        document: &PlanDocument,
        services: &Services,
    ) -> Execution;
}

impl Executor for WorkTreeSite {
    fn carry_out(
        &mut self,
        planned: &Planned,
        document: &PlanDocument,
        services: &Services,
    ) -> Execution {
        let changes = planned.plan.changes();
        match &mut self.change {
            Some(change) if !changes.is_empty() => {
                let session = &mut change.session;
                if change.commit {
                    apply_and_commit(session, changes, document, &self.config, services)
                } else {
                    apply_files(session, changes, services)
                }
            }
            _ => Execution::complete(Effect::Nothing),
        }
    }
}

impl Executor for BranchSite {
    fn carry_out(
        &mut self,
        planned: &Planned,
        document: &PlanDocument,
        services: &Services,
    ) -> Execution {
        match self.open {
            None => Execution::complete(Effect::PullRequestShown),
            Some(_) if planned.plan.changes().is_empty() => Execution::complete(Effect::Nothing),
            Some(request) => {
                let mut config = self.config.clone();
                config.former.extend(planned.former.iter().cloned());
                let publication = Publication {
                    config: &config,
                    head: &self.head,
                    planned,
                    document,
                    request,
                };
                publish(&publication, services)
            }
        }
    }
}

/// Applies the plan and commits it. The files are written only if the commit can be created.
fn apply_and_commit(
    session: &mut apply::Session,
    changes: &[FileChange],
    document: &PlanDocument,
    config: &Config,
    services: &Services,
) -> Execution {
    let git = match commit::ready(config, changes) {
        Ok(git) => git,
        Err(errors) => return Execution::stopped(Effect::Nothing, errors.into()),
    };
    let applied = apply_files(session, changes, services);
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
            Execution::complete(Effect::Committed(id))
        }
        Err(errors) => Execution::stopped(Effect::Applied, errors.into()),
    }
}

/// Applies the plan. After a first signal, the exchange of the files is still completed.
fn apply_files(
    session: &mut apply::Session,
    changes: &[FileChange],
    services: &Services,
) -> Execution {
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
            Execution::complete(Effect::Applied)
        }
        Err(error @ apply::Error::Uncleared { .. }) => {
            step.done(written);
            Execution::stopped(Effect::Applied, Errors::from(error).into())
        }
        Err(error) => Execution::stopped(Effect::Nothing, Errors::from(error).into()),
    }
}

/// Opens the pull request of a plan, and schedules its merge.
fn publish(publication: &Publication<'_>, services: &Services) -> Execution {
    let pull = match open(publication, services) {
        Ok(Outcome::Reconciled(pull)) => pull,
        Ok(Outcome::BaseMoved { begun }) => {
            return Execution::incomplete(begun, Stop::BaseMoved);
        }
        Err(errors) => return Execution::incomplete(errors.begun(), errors.into()),
    };
    services.interruption.changes(format!(
        "pull request #{} is open ({})",
        pull.number,
        plain(&pull.url)
    ));
    for warning in &pull.warnings {
        services.console.warn(&plain(warning));
    }
    for number in &pull.superseded {
        services.console.note(&format!(
            "note: pull request #{number} was closed: this pull request supersedes it"
        ));
    }
    let merge = match pull.trouble {
        Some(error) => Err(error.into()),
        None => schedule_merge(publication, pull.number, &pull.url, services),
    };
    Execution {
        effect: Effect::Opened(PullRequest {
            number: pull.number,
            url: pull.url,
            state: pull.change.as_str(),
        }),
        stop: merge.err().map(Stop::Errors),
    }
}

/// Reconciles the branch, its commit and the pull request with the plan.
fn open(publication: &Publication<'_>, services: &Services) -> Result<Outcome, Errors> {
    let (config, document) = (publication.config, publication.document);
    if let Some(configured) = &config.forge {
        warn_of_silent_checks(&publication.head.forge, configured, services)?;
    }
    // Earlier stages, such as a smoke test, must not shorten the time for writes.
    services.forge_deadline.restart();
    services.interruption.changes(format!(
        "the branch {} and its pull request may be incomplete; run the command again",
        plain(&document.branch)
    ));
    let rivals = RivalsInClone { config, document };
    let work = publication.open(&rivals);
    Ok(services.wait(work, "opening the pull request")??)
}

fn schedule_merge(
    publication: &Publication<'_>,
    number: u64,
    url: &str,
    services: &Services,
) -> Result<(), Errors> {
    let work = publication.schedule_merge(number, url);
    match services.wait(work, "scheduling the merge")?? {
        Some(MergeSchedule::Scheduled(note)) => services.console.note(&note),
        Some(MergeSchedule::NotYet(warning)) => services.console.warn(&warning),
        None => {}
    }
    Ok(())
}

/// Other revisions of the set. Ancestry in the clone gives their ages.
struct RivalsInClone<'r> {
    config: &'r Config,
    document: &'r PlanDocument,
}

#[async_trait(?Send)]
impl Rivals for RivalsInClone<'_> {
    fn has_branch(&self, marker: &Marker, branch: &str) -> bool {
        of_set::gives_branch(self.config, marker, branch)
    }

    async fn age(&self, revision: &str) -> Result<RevisionAge, Error> {
        Ok(match self.age_in_clone(revision) {
            Ok(age) => age,
            Err(error) => RevisionAge::Unreadable(format!(
                "cannot determine whether revision {revision} is older: {error}"
            )),
        })
    }
}

impl RivalsInClone<'_> {
    fn age_in_clone(&self, revision: &str) -> Result<RevisionAge, GitError> {
        let Some(git) = Git::discover(&self.config.root)? else {
            return Ok(RevisionAge::Unknown);
        };
        let ours = git.commit_named(&self.document.revision)?;
        let theirs = git.commit_named(revision)?;
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return Ok(RevisionAge::Unknown);
        };
        if git.is_ancestor(&ours, &theirs)? {
            return Ok(RevisionAge::Newer);
        }
        if git.is_ancestor(&theirs, &ours)? {
            return Ok(RevisionAge::Older);
        }
        Ok(RevisionAge::Unknown)
    }
}
