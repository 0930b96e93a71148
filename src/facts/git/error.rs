//! What can go wrong between repin and git, for the person who has to act.

use std::{io, path::PathBuf};

use super::ObjectId;

/// Why git did not answer. [`GitError::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// There is no `git` command.
    #[error("the command `git` was not found")]
    NoGit,
    /// The folder of the configuration is in no repository.
    #[error("{} is not in a git repository", .0.display())]
    NotARepository(PathBuf),
    /// A bare repository, or a folder inside `.git`.
    #[error("{} is not in the work tree of a git repository", .0.display())]
    NoWorkTree(PathBuf),
    /// git refuses to read what belongs to somebody else.
    #[error("git does not trust {}: it belongs to another user", .0.display())]
    Ownership(PathBuf),
    /// Nothing was ever committed or fetched.
    #[error("the repository has no commits yet, so there is no history")]
    Unborn,
    /// `provenance.branch` names a remote-tracking branch that is not there.
    #[error("the remote-tracking branch `{0}` does not exist here")]
    NoBranch(String),
    /// No remote's default branch is known.
    #[error(
        "the default branch of the remote is not known here: there is no refs/remotes/*/HEAD, main or master"
    )]
    NoDefault,
    /// A remote's default branch can be told from nothing that is here.
    #[error(
        "the default branch of the remote `{0}` is not known here, and both `main` and `master` exist"
    )]
    AmbiguousDefault(String),
    /// Several remotes, and none is called origin.
    #[error("there are several remotes and none is called `origin`: {}", .0.join(", "))]
    AmbiguousRemote(Vec<String>),
    /// An object that history refers to is not in this clone.
    #[error("git object {0} is missing in this clone")]
    Missing(ObjectId),
    /// A remote did not answer, or not as it should.
    #[error("the remote `{remote}` can't be asked by `git {command}`: {why}")]
    Remote {
        /// Its name.
        remote: String,
        /// The subcommand.
        command: &'static str,
        /// What git said; came from outside.
        why: String,
    },
    /// git reported an error of its own.
    #[error("`git {command}` failed: {message}")]
    Failed {
        /// The subcommand.
        command: &'static str,
        /// What git said; came from outside.
        message: String,
    },
    /// Another repository's side said that whoever asks may not do this.
    #[error("`git {command}` was refused: {message}")]
    Denied {
        /// The subcommand.
        command: &'static str,
        /// What git and the other side said; came from outside.
        message: String,
    },
    /// git printed something unexpected.
    #[error("`git {command}` printed something unexpected: {what}")]
    Malformed {
        /// The subcommand.
        command: &'static str,
        /// What was wrong with it.
        what: &'static str,
    },
    /// The command could not be run, or stopped talking.
    #[error("can't run `git {command}`: {error}")]
    Io {
        /// The subcommand.
        command: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl GitError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::NoGit => "install git, or put it on the PATH".into(),
            Self::NotARepository(_) => "history is read from git: run this in a clone of the repository".into(),
            Self::NoWorkTree(_) => "run this in a work tree: `git clone` without --bare, or `git worktree add`".into(),
            Self::Ownership(root) => format!(
                "if you trust it: git config --global --add safe.directory {} (or the folder above it that holds .git)",
                root.display()
            ),
            Self::Unborn => "commit and push first, or fetch: git fetch origin".into(),
            Self::NoBranch(branch) => match branch.split_once('/') {
                Some((remote, name)) => format!(
                    "fetch it: git fetch {remote} {name}:refs/remotes/{branch}, or correct `provenance.branch` in repin.yaml"
                ),
                None => format!("write `provenance.branch` as REMOTE/BRANCH, such as origin/{branch}"),
            },
            Self::NoDefault => {
                "run git remote set-head origin --auto after git fetch origin, or set `provenance.branch` \
                                in repin.yaml"
                    .into()
            }
            Self::AmbiguousDefault(remote) => {
                format!("run git remote set-head {remote} --auto, or set `provenance.branch` in repin.yaml")
            }
            Self::AmbiguousRemote(_) => "set `provenance.branch` in repin.yaml, such as upstream/main".into(),
            Self::Missing(_) => {
                "a partial clone lacks it: git fetch --refetch --no-filter; a damaged one: git fsck".into()
            }
            Self::Remote { remote, .. } => format!(
                "try `git ls-remote {remote}` by hand; in CI the checkout has to keep its credentials \
                 (actions/checkout: persist-credentials: true)"
            ),
            Self::Denied { .. } => "git needs credentials for that repository that are allowed to do this".into(),
            Self::Failed { .. } | Self::Malformed { .. } | Self::Io { .. } => {
                "git 2.31 or newer is needed; `git fsck` tells whether the repository is sound".into()
            }
        }
    }
}
