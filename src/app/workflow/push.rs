//! `--push`: the branch that counts before the files are read, and the push of the commit. Exactly one commit is pushed,
//! to a branch that is still at its parent; if another process moved the branch, the commit is undone and the run plans
//! again.

use std::{fs, os::unix::ffi::OsStrExt as _};

use super::{BranchRole, HistoryBranch, Services, commit_errors::obstructed, history_branch};
use crate::{
    base::{
        error::{Class, Code, Error, Errors},
        files::RelPath,
        untrusted::{plain, shell},
    },
    config::Config,
    forge::{PushedBranch, RefusedPush},
    git::{Branch, Git, GitError, ObjectId, Pushed},
};

/// The branch that receives the commit; `HEAD` is at its tip.
pub(super) struct PushTarget {
    git: Git,
    remote: String,
    /// Its name at the remote.
    branch: String,
    /// Its name in the clone, such as `origin/main`.
    pub(super) name: String,
    tip: ObjectId,
    /// Whether the work tree was updated to the branch.
    pub(super) has_updated: bool,
}

/// The outcome of the push of a commit.
pub(super) enum CommitPush {
    Done,
    /// Another process moved the branch.
    BranchMoved,
    /// The commit may not be on the branch.
    Failed(Errors),
}

/// The branch that counts, after a fetch.
struct FetchedBranch {
    git: Git,
    branch: Branch,
    remote: String,
    /// Its name at the remote.
    name: String,
}

impl FetchedBranch {
    fn fetch(config: &Config, services: &Services) -> Result<Self, Errors> {
        let failed = |error: GitError| Errors::from(Error::from(&error));
        let git = services.git(config).map_err(failed)?;
        let found = history_branch(&git, Some(config), &services.environment).map_err(failed)?;
        let HistoryBranch { branch, role } = found;
        if role == BranchRole::Local {
            return Err(failed(GitError::NoRemote));
        }
        let (remote, name) = git.remote_of(&branch).map_err(failed)?;
        refuse_other_branch(&git, &branch, &name)?;
        let _progress = services.console.progress("fetching the branch");
        git.fetch_tracking(&remote, &name).map_err(failed)?;
        Ok(Self {
            git,
            branch,
            remote,
            name,
        })
    }
}

/// Fetches the branch, before a user chooses one of its sets.
pub(crate) fn fetch_branch(config: &Config, services: &Services) -> Result<(), Errors> {
    FetchedBranch::fetch(config, services).map(drop)
}

impl PushTarget {
    /// Fetches the branch, and moves a checkout that is behind to it.
    pub(super) fn prepare(config: &Config, services: &Services) -> Result<Self, Errors> {
        let failed = |error: GitError| Errors::from(Error::from(&error));
        let FetchedBranch {
            git,
            branch,
            remote,
            name,
        } = FetchedBranch::fetch(config, services)?;
        let tip = git.branch(Some(&branch.name)).map_err(failed)?.tip;
        let has_updated = git.head().map_err(failed)?.tip != tip;
        if has_updated {
            follow(&git, &branch, &tip, services)?;
        }
        refuse_other_configuration(config, &git, &branch, &tip)?;
        Ok(Self {
            git,
            remote,
            branch: name,
            name: branch.name,
            tip,
            has_updated,
        })
    }

    /// Pushes the commit.
    pub(super) fn push(&self, commit: &ObjectId, services: &Services) -> CommitPush {
        let _progress = services.console.progress("pushing the commit");
        let pushed = (self.git).push_commit(&self.remote, &self.branch, commit, &self.tip);
        let refused = |message: &str, is_denied| {
            RefusedPush {
                branch: &self.branch,
                message,
                is_denied,
                // git has no token of repin.
                changes_workflows: false,
                target: PushedBranch::Base,
            }
            .error(&plain(&self.remote))
        };
        let error = match &pushed {
            Ok(Pushed::Done) => return CommitPush::Done,
            Ok(Pushed::Raced(_) | Pushed::BaseMoved) => return CommitPush::BranchMoved,
            Ok(Pushed::Refused(message)) => refused(message, false),
            Ok(Pushed::Unsure(message)) => {
                Error::unavailable(format!("pushing {}", plain(&self.name)), message)
            }
            Err(GitError::Denied { message, .. }) => refused(message, true),
            Err(error) => Error::from(error),
        };
        CommitPush::Failed(error.into())
    }

    /// Moves `HEAD` from the commit back to its parent.
    pub(super) fn undo(&self, commit: &ObjectId) -> Result<(), GitError> {
        self.git.undo_commit(commit, &self.tip)
    }
}

/// Moves a checkout that is behind the branch to its tip, unless no commit could be made there.
fn follow(git: &Git, branch: &Branch, tip: &ObjectId, services: &Services) -> Result<(), Errors> {
    let failed = |error: GitError| Errors::from(Error::from(&error));
    if let Some(obstacle) = git.commit_obstacle().map_err(failed)? {
        return Err(obstructed(obstacle));
    }
    let head = git.head().map_err(failed)?.tip;
    if !git.is_ancestor(&head, tip).map_err(failed)? {
        return Err(unpublished(git, branch, &head, tip)?);
    }
    let name = plain(&branch.name);
    let step = services.interruption.step(format!(
        "the work tree may be partly updated to {name}: see git status"
    ));
    git.fast_forward(tip).map_err(|error| {
        let message = format!("cannot update the work tree to {name}: {error}");
        Errors::from(match &error {
            GitError::Failed { message: cause, .. } if cause.contains("would be overwritten") => {
                Error::new(Class::Refused, Code::CONFLICT, message)
                    .help("commit, stash or move these files")
            }
            _ => Error {
                message,
                ..Error::from(&error)
            },
        })
    })?;
    step.done(format!("the work tree was updated to {name}"));
    Ok(())
}

/// Refuses a checkout of a branch that is not the one that receives the commit.
fn refuse_other_branch(git: &Git, branch: &Branch, name: &str) -> Result<(), Errors> {
    let failed = |error: GitError| Errors::from(Error::from(&error));
    let Some(checked_out) = git.checked_out().map_err(failed)? else {
        return Ok(());
    };
    let follows = git.upstream(&checked_out).map_err(failed)?;
    if checked_out == name || follows.as_ref() == Some(&branch.name) {
        return Ok(());
    }
    let message = format!(
        "--push publishes to {}, but the branch {} is checked out",
        plain(&branch.name),
        plain(&checked_out)
    );
    let help = format!("run `git switch {}` first", shell(name));
    Err(Error::new(Class::Refused, Code::CONFLICT, message)
        .help(help)
        .into())
}

/// Refuses a configuration that differs from that of the branch, because the commit does not show what decided about it. A
/// branch without the configuration accepts any.
fn refuse_other_configuration(
    config: &Config,
    git: &Git,
    branch: &Branch,
    tip: &ObjectId,
) -> Result<(), Errors> {
    let failed = |error: GitError| Errors::from(Error::from(&error));
    let file = config.file_name();
    let unreadable = |reason: String| Errors::io(format!("cannot read {}: {reason}", plain(file)));
    let path = RelPath::new(file.as_ref()).map_err(|error| unreadable(error.to_string()))?;
    let from_top = config.set_path.as_path().as_os_str().as_bytes();
    let Some(there) = git.regular_file(*tip, from_top).map_err(failed)? else {
        return Ok(());
    };
    let here = fs::read(config.root.join(file)).map_err(|error| unreadable(error.to_string()))?;
    if git
        .stores(&path, &here, &there.to_string())
        .map_err(failed)?
    {
        return Ok(());
    }
    let message = format!(
        "--push publishes to {}, which has another {path}",
        plain(&branch.name)
    );
    let help = format!(
        "commit and push the configuration first, or restore it (`git restore --staged --worktree -- {}`)",
        shell(file)
    );
    Err(Error::new(Class::Refused, Code::CONFLICT, message)
        .help(help)
        .into())
}

/// The refusal of a checkout with commits that the branch does not contain.
fn unpublished(
    git: &Git,
    branch: &Branch,
    head: &ObjectId,
    tip: &ObjectId,
) -> Result<Errors, Errors> {
    let failed = |error: GitError| Errors::from(Error::from(&error));
    let commits = git.commits_since(tip).map_err(failed)?;
    let name = plain(&branch.name);
    let message =
        format!("--push publishes one commit, but HEAD has other commits that are not on {name}");
    // A rebase leaves the commits on the branch.
    let publish = if !git.is_ancestor(tip, head).map_err(failed)? {
        "git pull --rebase && git push".to_owned()
    } else if git.checked_out().map_err(failed)?.is_some() {
        "git push".to_owned()
    } else {
        let (remote, name) = git.remote_of(branch).map_err(failed)?;
        format!("git push {} HEAD:{}", shell(&remote), shell(&name))
    };
    let mut error = Error::new(Class::Refused, Code::CONFLICT, message).help(format!(
        "publish these commits (`{publish}`), or set them aside (`git branch NAME && git reset --keep {}`), then run the \
         command again",
        shell(&branch.name)
    ));
    error.notes = commits.iter().map(|line| plain(line)).collect();
    Ok(error.into())
}
