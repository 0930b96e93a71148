//! Bringing one long-lived branch into another by a push: a fast-forward, or a merge that is made
//! without touching the work tree.
//!
//! Everything happens in objects: nothing is checked out, and of this clone's references git itself
//! updates one, the remote-tracking one of the branch that was pushed. What the push changes is
//! that branch, and only if it still is where it was looked at.

use super::{Git, GitError, ObjectId, Ran, Remote, is_denied, server_message, without_users};
use crate::{
    code::Code,
    error::{Class, Error},
};

/// The remote that is fetched from and pushed to.
const REMOTE: &str = "origin";

/// How often a sync is retried when the branches keep moving.
const ROUNDS: usize = 3;

/// What becomes of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncOutcome {
    /// The target has everything.
    InSync(ObjectId),
    /// The target is at the source's head, or would be.
    Forwarded(ObjectId),
    /// The target has a merge of both; `None`: it would have.
    Merged(Option<ObjectId>),
    /// These files were changed on both sides.
    Conflict(Vec<String>),
    /// There is no such branch.
    NoBranch(String),
}

/// Where the two branches are on the remote.
enum Tips {
    Both { from: ObjectId, to: ObjectId },
    Missing(String),
}

/// What becomes of a merge.
enum Merge {
    Made(ObjectId),
    Possible,
    Conflict(Vec<String>),
}

/// What becomes of a push.
#[derive(PartialEq, Eq)]
enum Push {
    Done,
    BranchMoved,
}

/// Brings the branch `from` into the branch `to`; without `apply` nothing is merged or pushed.
pub fn sync(git: &Git, from: &str, to: &str, apply: bool) -> Result<SyncOutcome, Error> {
    if git.is_shallow() {
        let reason = "this clone is shallow, so the merge base of the branches is unknown";
        return Err(Error::unavailable("git", reason).help("fetch the rest: git fetch --unshallow"));
    }
    for _ in 0..ROUNDS {
        let (source, target) = match tips(git, from, to)? {
            Tips::Both { from, to } => (from, to),
            Tips::Missing(branch) => return Ok(SyncOutcome::NoBranch(branch)),
        };
        git.fetch_objects(REMOTE, &[from, to])
            .map_err(|error| failed(&error))?;
        if is_ancestor(git, &source, &target)? {
            return Ok(SyncOutcome::InSync(target));
        }
        let (new, done) = if is_ancestor(git, &target, &source)? {
            (source, SyncOutcome::Forwarded(source))
        } else {
            let message = format!("Merge branch '{from}' into {to}");
            match merge(git, source, target, apply.then_some(&message))? {
                Merge::Made(commit) => (commit, SyncOutcome::Merged(Some(commit))),
                Merge::Possible => return Ok(SyncOutcome::Merged(None)),
                Merge::Conflict(files) => return Ok(SyncOutcome::Conflict(files)),
            }
        };
        if !apply || push(git, to, target, new)? == Push::Done {
            return Ok(done);
        }
    }
    let reason = format!("another process moved the branch {ROUNDS} times during the run");
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

/// Merges `source` into `target`; the commit is only made where there is a message for it.
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
    let ran = run(git, "merge-tree", &args)?;
    let mut parts = ran
        .stdout
        .split(|b| *b == 0)
        .map(|part| String::from_utf8_lossy(part).into_owned());
    let tree = parts.next().unwrap_or_default();
    match ran.code {
        Some(0) => {
            let Some(message) = message else {
                return Ok(Merge::Possible);
            };
            let args = [&tree, "-p", &to, "-p", &from, "-m", message].map(str::to_owned);
            let made = commit(git, &args)?;
            ObjectId::parse(made.trim_ascii())
                .map(Merge::Made)
                .ok_or_else(|| Error::unavailable("git commit-tree", "git printed no commit"))
        }
        Some(1) => Ok(Merge::Conflict(
            parts.filter(|path| !path.is_empty()).collect(),
        )),
        _ if ran.stderr.contains("unrelated histories") => Err(Error::about(
            Class::Refused,
            "git merge-tree",
            "the histories of the two branches have no commit in common",
        )),
        _ => Err(
            Error::unavailable("git merge-tree", server_message(&ran.stderr))
                .help("install git 2.38 or newer"),
        ),
    }
}

/// Makes a commit by the user that git knows here, or by repin where git knows none.
fn commit(git: &Git, args: &[String]) -> Result<Vec<u8>, Error> {
    let known = run(git, "var", &["GIT_COMMITTER_IDENT"])?.code == Some(0)
        && run(git, "var", &["GIT_AUTHOR_IDENT"])?.code == Some(0);
    let git = if known {
        git.clone()
    } else {
        git.clone().committing_as("repin", "repin@localhost")
    };
    git.reached("commit-tree", args, None)
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
    let ran = run(git, "push", &args)?;
    if ran.code == Some(0) {
        return Ok(Push::Done);
    }
    let lines = String::from_utf8_lossy(&ran.stdout).into_owned();
    let Some(refused) = lines.lines().find(|line| line.starts_with('!')) else {
        return Err(denied_or_failed(branch, &ran));
    };
    let raced = [
        "stale info",
        "fetch first",
        "non-fast-forward",
        "incorrect old value",
    ];
    // The last moment shows on the other side only.
    if raced.iter().any(|word| refused.contains(word)) || ran.stderr.contains("cannot lock ref") {
        return Ok(Push::BranchMoved);
    }
    let reason = refused.rsplit('\t').next().unwrap_or_default();
    let said = server_message(&ran.stderr);
    Err(Error::about(
        Class::Denied,
        format!("pushing {branch}"),
        format!("{reason}; {said}"),
    )
    .help(PERMISSION))
}

const PERMISSION: &str = "give git credentials for the remote `origin` with `contents: write` (Gitea: write:repository), and with `workflows: write` if workflows change; the branch protection must let them push";

fn denied_or_failed(branch: &str, ran: &Ran) -> Error {
    let error = GitError::refused("push", &ran.stderr);
    let what = format!("pushing {branch}");
    match &error {
        GitError::Denied { message, .. } => {
            Error::about(Class::Denied, what, message).help(PERMISSION)
        }
        _ => Error::unavailable(what, server_message(&ran.stderr)),
    }
}

fn run(git: &Git, command: &'static str, args: &[&str]) -> Result<Ran, Error> {
    // `push` connects, and `merge-tree` may fetch the content that a partial clone lacks.
    let remote = matches!(command, "push" | "merge-tree").then(|| Remote::of_clone(REMOTE));
    git.reach(command, args, remote.as_ref())
        .map_err(|error| failed(&error))
}

fn failed(error: &GitError) -> Error {
    let kind = match error {
        GitError::Remote { reason, .. } if is_denied(reason) => Class::Denied,
        GitError::Denied { .. } => Class::Denied,
        _ => Class::Unavailable,
    };
    let hint = if kind == Class::Denied {
        PERMISSION.to_owned()
    } else {
        error.hint()
    };
    Error::new(kind, Code::GIT, without_users(&error.to_string())).help(hint)
}
