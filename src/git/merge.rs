//! Syncs one long-lived branch into another by a push: a fast-forward, or a merge that does not touch
//! the work tree.
//!
//! The merge creates only objects. Of the references of this clone, git updates only the
//! remote-tracking branch of the pushed branch. The push changes that branch only if it has not moved
//! since it was read.

use super::{
    FETCH_HISTORY, Git, GitError, ObjectId, Output, Remote, is_denied, server_message,
    without_users,
};
use crate::{
    code::Code,
    error::{Class, Error},
};

/// The remote that is fetched from and pushed to.
const REMOTE: &str = "origin";

/// The maximum number of attempts while the branches move.
const ATTEMPTS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyncOutcome {
    /// The target contains the source.
    InSync(ObjectId),
    /// The target is at the head of the source, or would be.
    Forwarded(ObjectId),
    /// The target is at this merge of both branches, or would be (`None`).
    Merged(Option<ObjectId>),
    /// The files that both sides changed.
    Conflict(Vec<String>),
    NoBranch(String),
}

/// The heads of the two branches on the remote.
enum Tips {
    Both { from: ObjectId, to: ObjectId },
    Missing(String),
}

enum Merge {
    Created(ObjectId),
    Possible,
    Conflict(Vec<String>),
}

#[derive(PartialEq, Eq)]
enum Push {
    Done,
    BranchMoved,
}

/// Merges the branch `from` into the branch `to`; without `apply`, it only checks for conflicts.
pub(crate) fn sync(git: &Git, from: &str, to: &str, apply: bool) -> Result<SyncOutcome, Error> {
    if git.is_shallow() {
        let reason = "this clone is shallow, so the merge base of the branches is unknown";
        return Err(Error::unavailable("git", reason).help(FETCH_HISTORY));
    }
    for _ in 0..ATTEMPTS {
        let (source, target) = match tips(git, from, to)? {
            Tips::Both { from, to } => (from, to),
            Tips::Missing(branch) => return Ok(SyncOutcome::NoBranch(branch)),
        };
        git.fetch_objects(REMOTE, &[from, to])
            .map_err(|error| failed(&error))?;
        if is_ancestor(git, &source, &target)? {
            return Ok(SyncOutcome::InSync(target));
        }
        let (new, outcome) = if is_ancestor(git, &target, &source)? {
            (source, SyncOutcome::Forwarded(source))
        } else {
            let message = format!("Merge branch '{from}' into {to}");
            match merge(git, source, target, apply.then_some(&message))? {
                Merge::Created(commit) => (commit, SyncOutcome::Merged(Some(commit))),
                Merge::Possible => return Ok(SyncOutcome::Merged(None)),
                Merge::Conflict(files) => return Ok(SyncOutcome::Conflict(files)),
            }
        };
        if !apply || push(git, to, target, new)? == Push::Done {
            return Ok(outcome);
        }
    }
    let reason = format!("another process moved the branch {ATTEMPTS} times during the run");
    Err(Error::unavailable(format!("pushing {to}"), reason).help("run the command again"))
}

fn tips(git: &Git, from: &str, to: &str) -> Result<Tips, Error> {
    let tips = git.heads(REMOTE).map_err(|error| failed(&error))?.tips;
    Ok(match (tips.get(from), tips.get(to)) {
        (None, _) => Tips::Missing(from.to_owned()),
        (_, None) => Tips::Missing(to.to_owned()),
        (Some(from), Some(to)) => Tips::Both {
            from: *from,
            to: *to,
        },
    })
}

fn is_ancestor(git: &Git, older: &ObjectId, newer: &ObjectId) -> Result<bool, Error> {
    git.is_ancestor(older, newer)
        .map_err(|error| failed(&error))
}

/// Merges `source` into `target`; the commit is created only if it has a message.
fn merge(
    git: &Git,
    source: ObjectId,
    target: ObjectId,
    message: Option<&str>,
) -> Result<Merge, Error> {
    let (from, to) = (source.to_string(), target.to_string());
    let args = [
        "--write-tree",
        "-z",
        "--name-only",
        "--no-messages",
        &to,
        &from,
    ];
    let output = run(git, "merge-tree", &args)?;
    let mut parts = output
        .stdout
        .split(|b| *b == 0)
        .map(|part| String::from_utf8_lossy(part).into_owned());
    let tree = parts.next().unwrap_or_default();
    match output.code {
        Some(0) => {
            let Some(message) = message else {
                return Ok(Merge::Possible);
            };
            let args = [&tree, "-p", &to, "-p", &from, "-m", message].map(str::to_owned);
            let commit = commit(git, &args)?;
            ObjectId::parse(commit.trim_ascii())
                .map(Merge::Created)
                .ok_or_else(|| Error::unavailable("git commit-tree", "git printed no commit"))
        }
        Some(1) => Ok(Merge::Conflict(
            parts.filter(|path| !path.is_empty()).collect(),
        )),
        _ if output.stderr.contains("unrelated histories") => Err(Error::about(
            Class::Refused,
            "git merge-tree",
            "the histories of the two branches have no commit in common",
        )),
        _ => Err(
            Error::unavailable("git merge-tree", server_message(&output.stderr))
                .help("install git 2.38 or newer"),
        ),
    }
}

/// Creates a commit with the configured identity, or with that of repin if none is configured.
fn commit(git: &Git, args: &[String]) -> Result<Vec<u8>, Error> {
    let has_identity = run(git, "var", &["GIT_COMMITTER_IDENT"])?.code == Some(0)
        && run(git, "var", &["GIT_AUTHOR_IDENT"])?.code == Some(0);
    let git = if has_identity {
        git.clone()
    } else {
        git.clone().committing_as("repin", "repin@localhost")
    };
    git.run_checked("commit-tree", args, None)
        .map_err(|error| failed(&error))
}

/// Moves the branch from `old` to `new`, if it is still at `old`.
fn push(git: &Git, branch: &str, old: ObjectId, new: ObjectId) -> Result<Push, Error> {
    let lease = format!("--force-with-lease=refs/heads/{branch}:{old}");
    let refspec = format!("{new}:refs/heads/{branch}");
    let options = [
        "--porcelain",
        "--no-verify",
        "--no-follow-tags",
        "--no-signed",
        "--recurse-submodules=no",
    ];
    let args = [
        &options[..],
        &[&lease, "--end-of-options", REMOTE, &refspec],
    ]
    .concat();
    let output = run(git, "push", &args)?;
    if output.code == Some(0) {
        return Ok(Push::Done);
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some(refused) = lines.lines().find(|line| line.starts_with('!')) else {
        return Err(denied_or_failed(branch, &output));
    };
    let raced = [
        "stale info",
        "fetch first",
        "non-fast-forward",
        "incorrect old value",
    ];
    // A concurrent push at the last moment appears only in the message of the server.
    if raced.iter().any(|word| refused.contains(word)) || output.stderr.contains("cannot lock ref")
    {
        return Ok(Push::BranchMoved);
    }
    let reason = refused.rsplit('\t').next().unwrap_or_default();
    let reason = format!("{reason}; {}", server_message(&output.stderr));
    Err(Error::about(Class::Denied, format!("pushing {branch}"), reason).help(PERMISSION))
}

const PERMISSION: &str = "give git credentials for the remote `origin` with `contents: write` (Gitea: write:repository), and with `workflows: write` if workflows change; the branch protection must let them push";

fn denied_or_failed(branch: &str, output: &Output) -> Error {
    let error = GitError::refused("push", &output.stderr);
    let what = format!("pushing {branch}");
    match &error {
        GitError::Denied { message, .. } => {
            Error::about(Class::Denied, what, message).help(PERMISSION)
        }
        _ => Error::unavailable(what, server_message(&output.stderr)),
    }
}

fn run(git: &Git, command: &'static str, args: &[&str]) -> Result<Output, Error> {
    // `push` connects to the remote, and `merge-tree` may fetch missing contents of a partial
    // clone.
    let remote = matches!(command, "push" | "merge-tree").then(|| Remote::of_clone(REMOTE));
    git.run(command, args, remote.as_ref())
        .map_err(|error| failed(&error))
}

fn failed(error: &GitError) -> Error {
    let class = match error {
        GitError::Remote { reason, .. } if is_denied(reason) => Class::Denied,
        GitError::Denied { .. } => Class::Denied,
        _ => Class::Unavailable,
    };
    let hint = if class == Class::Denied {
        PERMISSION.to_owned()
    } else {
        error.hint()
    };
    Error::new(class, Code::GIT, without_users(&error.to_string())).help(hint)
}
