//! Carries out a plan: in the work tree, or as a pull request.

use async_trait::async_trait;

use super::{
    Services, Stop, commit,
    engine::Planned,
    publication::{Publication, Scheduled},
    site::{Site, Target},
};
use crate::{
    apply,
    config::{Config, Forge as Configured, number},
    error::{Error, Errors},
    forge::{ANOTHER_TOKEN, Ability, Forge},
    git::{Git, ObjectId},
    plan::FileChange,
    pull_request::reconcile::{Outcome, RevisionAge, Rivals},
    report::json::{PlanDocument, PullRequest},
    untrusted::plain,
};

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

/// Carries out the plan, if the site permits a change.
pub(super) fn carry_out(
    document: &PlanDocument,
    planned: &Planned,
    site: &mut Site,
    services: &Services,
) -> CarriedPull {
    let changes = planned.plan.changes();
    let config = &site.config;
    match &mut site.target {
        Target::WorkTree(_, None) => CarriedPull::complete(Done::Nothing),
        Target::Branch(_, None) => CarriedPull::complete(Done::Rehearsed),
        Target::WorkTree(_, Some(_)) | Target::Branch(_, Some(_)) if changes.is_empty() => {
            CarriedPull::complete(Done::Nothing)
        }
        Target::WorkTree(_, Some(change)) => {
            let session = &mut change.session;
            if change.commit {
                committed(session, changes, document, config, services)
            } else {
                applied(session, changes, services)
            }
        }
        Target::Branch(head, Some(request)) => {
            let publication = Publication {
                config,
                head,
                planned,
                document,
                request: *request,
            };
            published(&publication, services)
        }
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

/// Opens the pull request of a plan, and schedules its merge.
fn published(publication: &Publication<'_>, services: &Services) -> CarriedPull {
    let standing = match opened(publication, services) {
        Ok(Outcome::Stands(standing)) => standing,
        Ok(Outcome::BaseMoved { begun }) => {
            return CarriedPull::incomplete(begun, Stop::BaseMoved);
        }
        Err(errors) => return CarriedPull::incomplete(errors.begun(), errors.into()),
    };
    services.interruption.changes(format!(
        "pull request #{} is open ({})",
        standing.number,
        plain(&standing.url)
    ));
    for warning in &standing.warnings {
        services.console.warn(warning);
    }
    for number in &standing.superseded {
        services.console.note(&format!(
            "note: pull request #{number} was closed: this pull request supersedes it"
        ));
    }
    let merge = match standing.trouble {
        Some(error) => Err(error.into()),
        None => schedule_merge(publication, standing.number, &standing.url, services),
    };
    CarriedPull {
        done: Done::Opened(PullRequest {
            number: standing.number,
            url: standing.url,
            state: standing.change.as_str(),
        }),
        stop: merge.err().map(Stop::Errors),
    }
}

/// Reconciles the branch, its commit and the pull request with the plan.
fn opened(publication: &Publication<'_>, services: &Services) -> Result<Outcome, Errors> {
    let (config, document) = (publication.config, publication.document);
    if let Some(configured) = &config.forge {
        warn_of_silent_checks(&*publication.head.forge, configured, services)?;
    }
    // The stages before, such as a smoke test, must not shorten the time for writes.
    services.forge_time.restart();
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
        Some(Scheduled::Yes(note)) => services.console.note(&note),
        Some(Scheduled::NotYet(warning)) => services.console.warn(&warning),
        None => {}
    }
    Ok(())
}

/// Other revisions of the set, whose ages follow from ancestry in the clone.
struct RivalsInClone<'r> {
    config: &'r Config,
    document: &'r PlanDocument,
}

#[async_trait(?Send)]
impl Rivals for RivalsInClone<'_> {
    fn branch(&self, revision: &str) -> Option<String> {
        promotion_branch(self.config, revision)
    }

    async fn age(&self, revision: &str) -> Result<RevisionAge, Error> {
        Ok(self.age_in_clone(revision).unwrap_or(RevisionAge::Unknown))
    }
}

impl RivalsInClone<'_> {
    fn age_in_clone(&self, revision: &str) -> Option<RevisionAge> {
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

/// The branch that the pull request of another revision has; `None` for a malformed revision.
pub(super) fn promotion_branch(config: &Config, revision: &str) -> Option<String> {
    let revision = config.revision.pattern.revision(revision).ok()?;
    Some(config.promote.branch.render(&revision, &config.name))
}
