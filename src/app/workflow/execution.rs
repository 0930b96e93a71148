//! The execution of a plan, here in the work tree; `publication` executes it as a pull request.

use std::fmt;

use super::{
    Services, SiteHistory, Stop,
    builds::open_pull_requests,
    commit::{self, NotCommitted, ReadyCommit},
    commit_errors,
    engine::Planned,
    push::{CommitPush, PushTarget},
    request::{ApplyMode, Request},
    site::{Site, WorkTreeChange, WorkTreeSite},
};
use crate::{
    app::{
        pull_request::head::PullRequestOfSet,
        report::json::{PlanDocument, PullRequest, WaitDocument},
    },
    base::{
        error::{Class, Error, Errors},
        text::counted,
        untrusted::plain,
    },
    config::Config,
    core::{apply, plan::FileChange},
    git::ObjectId,
};

#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Nothing,
    /// No change; with `--pr` the run would open a pull request.
    PullRequestShown,
    Applied,
    /// The files of the plan were committed.
    Committed(Commit),
    /// A pull request was begun and is not complete.
    Begun,
    Opened(OpenedPull),
    /// No change, because no build is newer than the current set.
    NothingNewer,
}

/// A pull request of a run, and its state at the end of the run.
#[derive(Debug, Clone)]
pub(crate) struct OpenedPull {
    pub(crate) row: PullRequest,
    /// `open`, `merged`, `closed` or `unknown`.
    pub(crate) state: &'static str,
    pub(crate) merge_commit: Option<String>,
    /// The outcome of the wait, if the run waited.
    pub(crate) wait: Option<WaitDocument>,
}

impl OpenedPull {
    /// A pull request that was open when it was last read.
    pub(super) fn new(row: PullRequest) -> Self {
        Self {
            row,
            state: "open",
            merge_commit: None,
            wait: None,
        }
    }
}

/// A commit of the files of a plan.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) id: ObjectId,
    pub(crate) pins: usize,
    pub(crate) files: usize,
    pub(crate) publication: Publication,
}

/// Whether the branch that counts contains a commit.
#[derive(Debug, Clone)]
pub(crate) enum Publication {
    /// It was pushed to this branch.
    Pushed(String),
    /// It was not pushed; this command does so, if there is a remote.
    Missing(Option<String>),
    /// The server refused it; the remedy.
    Refused(String),
}

impl fmt::Display for Publication {
    /// Continues a sentence about the commit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pushed(branch) => write!(f, "and pushed to {}", plain(branch)),
            Self::Missing(Some(command)) => {
                write!(f, "but not pushed; publish the commit with: {command}")
            }
            Self::Missing(None) => f.write_str("but not pushed: the repository has no remote"),
            Self::Refused(remedy) => write!(f, "but not pushed: {}", plain(remedy)),
        }
    }
}

/// The effect of a run on a site, and the cause of an early stop.
pub(super) struct Execution {
    pub(super) effect: Effect,
    pub(super) stop: Option<Stop>,
}

impl Execution {
    pub(super) fn complete(effect: Effect) -> Self {
        Self { effect, stop: None }
    }

    pub(super) fn stopped(effect: Effect, stop: Stop) -> Self {
        let stop = Some(stop);
        Self { effect, stop }
    }

    /// The pull request is incomplete. `may_have_changed`: whether a part of it is visible.
    pub(super) fn incomplete(may_have_changed: bool, stop: Stop) -> Self {
        let effect = if may_have_changed {
            Effect::Begun
        } else {
            Effect::Nothing
        };
        Self::stopped(effect, stop)
    }
}

/// A site at which a plan can be carried out.
pub(super) trait Executor: Site {
    /// The open pull requests of the set; empty without a token. `config`: that of the site, with the
    /// former names of the set.
    fn open_pull_requests(
        &self,
        config: &Config,
        history: &SiteHistory,
        services: &Services,
    ) -> Result<Vec<PullRequestOfSet>, Errors>;

    /// Makes the open pull request of a set a draft if a stage stopped the run, and if the run may make a
    /// change.
    fn withhold(
        &self,
        request: &Request,
        stop: &Stop,
        services: &Services,
    ) -> Result<Option<PullRequest>, Errors>;

    /// Carries out a plan, if the run may make a change.
    fn carry_out(
        &mut self,
        planned: &Planned,
        document: &PlanDocument,
        services: &Services,
    ) -> Execution;
}

impl Executor for WorkTreeSite {
    fn open_pull_requests(
        &self,
        config: &Config,
        history: &SiteHistory,
        services: &Services,
    ) -> Result<Vec<PullRequestOfSet>, Errors> {
        open_pull_requests(config, history.git(), services)
    }

    fn withhold(&self, _: &Request, _: &Stop, _: &Services) -> Result<Option<PullRequest>, Errors> {
        Ok(None)
    }

    fn carry_out(
        &mut self,
        planned: &Planned,
        document: &PlanDocument,
        services: &Services,
    ) -> Execution {
        let changes = planned.plan.changes();
        let Some(change) = &mut self.change else {
            return Execution::complete(Effect::Nothing);
        };
        if change.mode == ApplyMode::Files {
            return apply_files(&mut change.session, changes, document, services);
        }
        let ready = match commit::ready(planned, &self.config, &self.files) {
            Ok(ready) => ready,
            Err(errors) => return Execution::stopped(Effect::Nothing, errors.into()),
        };
        let applied = apply_files(&mut change.session, changes, document, services);
        match ready {
            Some(ready) if applied.stop.is_none() => {
                commit_files(&ready, change, planned, applied.effect, document, services)
            }
            _ => applied,
        }
    }
}

/// Commits the files of the applied plan, and pushes the commit if that was requested. `applied`: the effect without a
/// commit.
fn commit_files(
    ready: &ReadyCommit<'_>,
    change: &mut WorkTreeChange,
    planned: &Planned,
    applied: Effect,
    document: &PlanDocument,
    services: &Services,
) -> Execution {
    let changes = planned.plan.changes();
    let session = &mut change.session;
    let written = counted(ready.files(), "file");
    let step = services.interruption.step(format!(
        "{written} changed; the commit may be missing: see git status"
    ));
    match commit::commit(ready, document) {
        Ok(id) => {
            let command = match &planned.checkout {
                Some(checkout) => Some(checkout.push_command()),
                None => ready.push_command(),
            };
            let publication = Publication::Missing(command);
            step.done(format!(
                "{written} changed and committed as {}, {publication}",
                id.short()
            ));
            let commit = Commit {
                id,
                pins: ready.pins,
                files: ready.files(),
                publication,
            };
            match &change.push {
                Some(target) => push(commit, target, ready, session, planned, document, services),
                None => Execution::complete(Effect::Committed(commit)),
            }
        }
        Err(NotCommitted::Doubtful(errors)) => Execution::stopped(applied, errors.into()),
        Err(NotCommitted::Nothing(reason)) => match restore(session, changes, document) {
            Ok(()) => {
                step.done("nothing was committed, and the files were restored");
                Execution::stopped(Effect::Nothing, commit_errors::restored(&reason).into())
            }
            Err(error) => {
                let reason = format!("{reason}; the files cannot be restored: {error}");
                let errors = commit::uncommitted(ready, document, &reason);
                Execution::stopped(applied, errors.into())
            }
        },
    }
}

/// Pushes the commit. If the branch moved, the commit is undone and the files are restored, for another plan.
fn push(
    commit: Commit,
    target: &PushTarget,
    ready: &ReadyCommit<'_>,
    session: &mut apply::Session,
    planned: &Planned,
    document: &PlanDocument,
    services: &Services,
) -> Execution {
    let id = commit.id.short();
    let step = services.interruption.step(format!(
        "committed as {id}; the push may be missing: see repin status"
    ));
    match target.push(&commit.id, services) {
        CommitPush::Done => {
            step.done(format!("committed as {id} and pushed to {}", target.name));
            let publication = Publication::Pushed(target.name.clone());
            Execution::complete(Effect::Committed(Commit {
                publication,
                ..commit
            }))
        }
        CommitPush::Failed(errors) => {
            // A repetition of the push helps only if the server was unavailable.
            let refused = |error: &&Error| matches!(error.class, Class::Refused | Class::Denied);
            let remedy = errors.iter().find(refused).map(Error::remedy);
            let publication = remedy.map_or(commit.publication, Publication::Refused);
            step.done(format!("committed as {id}, {publication}"));
            let commit = Commit {
                publication,
                ..commit
            };
            Execution::stopped(Effect::Committed(commit), errors.into())
        }
        CommitPush::BranchMoved => {
            let undone = target.undo(&commit.id).map_err(|error| error.to_string());
            let undone = undone.and_then(|()| {
                restore(session, planned.plan.changes(), document)
                    .map_err(|error| error.to_string())?;
                ready.unstage().map_err(|error| error.to_string())
            });
            match undone {
                Ok(()) => {
                    step.done(
                        "the branch moved; the commit was undone, and the files were restored",
                    );
                    Execution::stopped(Effect::Nothing, Stop::BaseMoved)
                }
                Err(reason) => {
                    step.done(format!("committed as {id}, but not pushed"));
                    let errors = commit_errors::not_undone(&commit.id, &target.name, &reason);
                    Execution::stopped(Effect::Committed(commit), errors.into())
                }
            }
        }
    }
}

/// Gives every file its old content again, unless one was changed since.
fn restore(
    session: &mut apply::Session,
    changes: &[FileChange],
    document: &PlanDocument,
) -> Result<(), apply::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut backwards = Vec::new();
    for change in changes {
        backwards.push(FileChange {
            path: change.path.clone(),
            pins: change.pins,
            old_sha256: change.new_sha256,
            new_sha256: change.old_sha256,
            old: change.new.clone(),
            new: change.old.clone(),
        });
    }
    session.apply(&backwards, run_identity(document))
}

fn run_identity(document: &PlanDocument) -> apply::RunIdentity {
    apply::RunIdentity {
        set_path: document.set_path.clone(),
        revision: Some(document.revision.clone()),
    }
}

/// Applies the plan.
fn apply_files(
    session: &mut apply::Session,
    changes: &[FileChange],
    document: &PlanDocument,
    services: &Services,
) -> Execution {
    if changes.is_empty() {
        return Execution::complete(Effect::Nothing);
    }
    let applied = exchange(session, changes, run_identity(document), services);
    let effect = match &applied {
        Ok(()) | Err(apply::Error::Uncleared { .. }) => Effect::Applied,
        Err(_) => Effect::Nothing,
    };
    Execution {
        effect,
        stop: applied.err().map(|error| Errors::from(error).into()),
    }
}

/// Gives every file its new content. After a first signal, the exchange is still completed.
pub(crate) fn exchange(
    session: &mut apply::Session,
    changes: &[FileChange],
    run: apply::RunIdentity,
    services: &Services,
) -> Result<(), apply::Error> {
    let interruption = &services.interruption;
    let step = interruption
        .step("files may have changed; `repin recover` finishes or undoes what was begun");
    let written = format!(
        "{} changed, nothing committed",
        counted(changes.len(), "file")
    );
    let applied = session.apply(changes, run);
    if let Ok(()) | Err(apply::Error::Uncleared { .. }) = &applied {
        step.done(written);
    }
    applied
}
