//! The errors of running git.

use std::{io, path::PathBuf};

use super::ObjectId;
use crate::base::{
    error::{Class, Code, Error},
    untrusted::shell,
};

/// A failure of git; [`GitError::hint`] is the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    #[error("the command `git` was not found")]
    NoGit,
    /// The directory of the configuration is in no repository.
    #[error("{} is not in a git repository", .0.display())]
    NotARepository(PathBuf),
    /// An entry `.git` that git does not accept; git would continue in the directory above.
    #[error("{} exists, but git does not accept it as a repository", .0.display())]
    Rejected(PathBuf),
    /// A bare repository, or a directory inside `.git`.
    #[error("{} is not in the work tree of a git repository", .0.display())]
    NoWorkTree(PathBuf),
    /// The directory of the configuration looks like a bare repository.
    #[error("{} is itself a bare git repository: it contains HEAD, objects and refs", .0.display())]
    BareRoot(PathBuf),
    /// The directory of the configuration or a file of the repository cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// git does not support required options; the text is its version.
    #[error("{0} is too old: repin requires git 2.31 or newer")]
    TooOld(String),
    /// git refuses to read a repository of another user.
    #[error("git does not trust {}: it belongs to another user", .0.display())]
    Ownership(PathBuf),
    #[error("the repository has no commits yet, so there is no history")]
    Unborn,
    #[error("the remote-tracking branch `{0}` is missing from this clone")]
    NoBranch(String),
    #[error("the repository has no remote, and only commits that were pushed count as promoted")]
    NoRemote,
    /// The default branch of the remote is unknown.
    #[error(
        "cannot determine the default branch of the remote `{remote}`: refs/remotes/{remote}/HEAD is missing, and {reason}"
    )]
    NoDefault {
        remote: String,
        /// The result of querying the remote; untrusted text.
        reason: String,
    },
    /// A branch cannot be fetched from the forge.
    #[error("cannot fetch {branch} from {url}: {reason}")]
    NotFetched {
        branch: String,
        url: String,
        /// The message of git; untrusted text.
        reason: String,
        /// Whether the token was refused.
        is_denied: bool,
    },
    /// History needs objects that are missing in this partial clone.
    #[error("this partial clone lacks objects that history is read from: {0}")]
    Partial(String),
    /// The branch of another remote has commits that the selected one lacks.
    #[error(
        "{selected} does not contain all commits of {other}, so one of them may be of a fork: cannot determine which branch is the repository's"
    )]
    OtherHistory { selected: String, other: String },
    #[error("there are several remotes and none is called `origin`: {}", .0.join(", "))]
    AmbiguousRemote(Vec<String>),
    /// An object that history refers to is not in this clone.
    #[error("git object {0} is missing in this clone")]
    Missing(ObjectId),
    #[error("the remote `{remote}` is unreachable (`git {command}`): {reason}")]
    Remote {
        remote: String,
        command: &'static str,
        /// The message of git; untrusted text.
        reason: String,
    },
    /// git reported an error of its own.
    #[error("`git {command}` failed: {message}")]
    Failed {
        command: &'static str,
        /// The message of git; untrusted text.
        message: String,
    },
    /// git was stopped because it took too long.
    #[error("`git {command}` was not finished within {seconds} s")]
    Late { command: &'static str, seconds: u64 },
    /// Another process holds a lock of the repository, or moved the branch at the same time.
    #[error("`git {command}` failed: {message}")]
    Locked {
        command: &'static str,
        /// The message of git; untrusted text.
        message: String,
    },
    /// The remote denied the request.
    #[error("`git {command}` was refused: {message}")]
    Denied {
        command: &'static str,
        /// The message of git and the remote; untrusted text.
        message: String,
    },
    /// git printed something unexpected.
    #[error("`git {command}` returned unexpected output: {what}")]
    Malformed {
        command: &'static str,
        what: &'static str,
    },
    #[error("cannot run `git {command}`: {error}")]
    Io {
        command: &'static str,
        #[source]
        error: io::Error,
    },
}

/// A part of git's message about a branch that the remote does not have.
pub(super) const NO_REFERENCE: &str = "couldn't find remote ref";

/// Parts of the messages of git and libcurl about a connection that may succeed later.
const TRANSIENT: [&str; 16] = [
    "returned error: 429",
    "returned error: 5",
    "http 5",
    "could not resolve",
    "couldn't connect",
    "failed to connect",
    "timed out",
    "operation too slow",
    "connection reset",
    "empty reply",
    "recv failure",
    "early eof",
    "unexpected disconnect",
    "hung up",
    "rpc failed",
    "tls connection was",
];

impl GitError {
    /// Whether the connection may succeed if it is repeated.
    pub(crate) fn is_transient(&self) -> bool {
        let (Self::Failed { message, .. }
        | Self::Remote {
            reason: message, ..
        }) = self
        else {
            return false;
        };
        let text = message.to_lowercase();
        TRANSIENT.iter().any(|part| text.contains(part))
    }

    /// The remedy.
    pub fn hint(&self) -> String {
        match self {
            Self::NoGit => "install git, or add it to PATH".into(),
            Self::NotARepository(_) => "run the command in a clone of the repository".into(),
            Self::Rejected(_) => "repair or remove this `.git`".into(),
            Self::NoWorkTree(_) => "run the command in a work tree: `git clone` without --bare, or `git worktree add`".into(),
            Self::BareRoot(_) => "run the command in a work tree: `git clone` without --bare, or `git worktree add`; in a directory of a work tree, a commit added these files, so that git runs the commands in their `config`: revert that commit".into(),
            Self::Unreadable { .. } => "check the path and its permissions".into(),
            Self::TooOld(_) => "install a newer git, or set PATH so that it is found first".into(),
            Self::Ownership(root) => format!(
                "if you trust it: git config --global --add safe.directory {} (or the directory above it that holds .git)",
                root.display()
            ),
            Self::Unborn => "commit and push first, or fetch: git fetch origin".into(),
            Self::NoBranch(branch) => match branch.split_once('/') {
                Some((remote, name)) => format!(
                    "fetch it: git fetch {0} {1} (actions/checkout: fetch-depth: 0); if the default branch was renamed: git remote set-head {0} --auto; if another branch counts, set `provenance.branch` in the configuration",
                    shell(remote),
                    shell(&format!("{name}:refs/remotes/{branch}"))
                ),
                None => format!("write `provenance.branch` as REMOTE/BRANCH, such as origin/{branch}"),
            },
            Self::NoRemote => {
                "add the remote and push to it: git remote add origin URL, git push -u origin BRANCH".into()
            }
            Self::NoDefault { remote, .. } => format!(
                "run `git fetch {0}` and `git remote set-head {0} --auto`, or set `provenance.branch` in the configuration",
                shell(remote)
            ),
            Self::NotFetched { is_denied: true, .. } => {
                "give the token of the forge read access to the content of the repository (`contents: read`; Gitea: \
                 read:repository)"
                    .into()
            }
            Self::NotFetched { url, .. } => {
                format!("check that git reaches it: git ls-remote {}", shell(url))
            }
            Self::OtherHistory { selected, other } => other_history_hint(selected, other),
            Self::AmbiguousRemote(_) => "set `provenance.branch` in the configuration, such as upstream/main".into(),
            Self::Partial(_) => "fetch the rest: git fetch --refetch --no-filter".into(),
            Self::Missing(_) => {
                "a partial clone lacks it: git fetch --refetch --no-filter; a damaged one: git fsck".into()
            }
            Self::Remote { remote, reason, .. } if reason.contains(NO_REFERENCE) => format!(
                "the remote has no such branch; if its default branch was renamed: git fetch {0}, git remote set-head {0} --auto",
                shell(remote)
            ),
            Self::Remote { remote, .. } => format!(
                "run `git ls-remote {remote}` by hand; in CI the checkout must keep its credentials \
                 (actions/checkout: persist-credentials: true)"
            ),
            Self::Denied { .. } => "give git credentials that are allowed to do this in the repository".into(),
            Self::Late { .. } => {
                "run the command again when the server responds, or with more time (`REPIN_DEADLINE`)".into()
            }
            Self::Locked { .. } => "wait for the other process, or remove the lock of a process that was killed".into(),
            Self::Failed { .. } | Self::Malformed { .. } | Self::Io { .. } => {
                "check the repository with `git fsck`".into()
            }
        }
    }
}

/// The remedy if two remotes have different histories. The remote of the repository may be either.
fn other_history_hint(selected: &str, other: &str) -> String {
    let short = |name: &str| {
        name.split_once('/')
            .map(|(remote, branch)| [remote, branch].map(shell))
    };
    let Some([remote, branch]) = short(other) else {
        return "fetch both remotes".to_owned();
    };
    format!(
        "if {other} is the branch of the repository: git config branch.{branch}.remote {remote}; if {selected} is: \
         fetch it, or set `provenance.branch: {selected}`, or remove the other: git branch -dr {other}"
    )
}

impl From<&GitError> for Error {
    fn from(error: &GitError) -> Self {
        let message = error.to_string();
        match error {
            GitError::BareRoot(_) | GitError::TooOld(_) => Self::input(Code::GIT, message),
            GitError::NotFetched {
                is_denied: true, ..
            } => Self::new(Class::Denied, Code::DENIED, message),
            _ => Self::unavailable("git history", message),
        }
        .help(error.hint())
    }
}

impl From<GitError> for Error {
    fn from(error: GitError) -> Self {
        (&error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_quote_names_that_a_shell_would_run() {
        let hint = GitError::NoBranch("origin/x;rm -rf '~'".into()).hint();
        assert!(
            hint.starts_with(
                r"fetch it: git fetch origin 'x;rm -rf '\''~'\'':refs/remotes/origin/x;rm -rf '\''~'\''' "
            ),
            "{hint}"
        );
        let hint = GitError::NoBranch("origin/release/1.x".into()).hint();
        assert!(
            hint.contains("git fetch origin release/1.x:refs/remotes/origin/release/1.x "),
            "{hint}"
        );
    }

    #[test]
    fn hints_for_a_missing_branch_name_a_renamed_default() {
        let missing = GitError::NoBranch("origin/master".into());
        let gone = GitError::Remote {
            remote: "origin".into(),
            command: "fetch",
            reason: "fatal: couldn't find remote ref refs/heads/master".into(),
        };
        for error in [missing, gone] {
            let hint = error.hint();
            assert!(hint.contains("git remote set-head origin --auto"), "{hint}");
        }
    }
}
