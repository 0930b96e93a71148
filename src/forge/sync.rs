//! Bringing one long-lived branch into another by a push: a fast-forward, or a merge that is made
//! without touching the work tree.
//!
//! Everything happens in objects: nothing is checked out, and of this clone's references git itself
//! updates one, the remote-tracking one of the branch that was pushed. What the push changes is
//! that branch, and only if it still is where it was looked at.

use crate::{
    error::{Class, Error},
    git::{Git, GitError, ObjectId, Ran, is_denied, told, without_users},
    pull_request::branches::Between,
};

/// The remote that is fetched from and pushed to.
const REMOTE: &str = "origin";

/// How often it is done anew when the branches keep moving.
const ROUNDS: usize = 3;

/// What becomes of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Synced {
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

/// Brings `from` into `to`; without `apply` it is only found out what would be done.
pub fn sync(git: &Git, between: Between<'_>, apply: bool) -> Result<Synced, Error> {
    if git.is_shallow() {
        let why = "this clone is shallow, so what the branches have in common is not known";
        return Err(Error::unavailable("git", why).help("fetch the rest: git fetch --unshallow"));
    }
    for _ in 0..ROUNDS {
        let (from, to) = match heads(git, between)? {
            Ok(heads) => heads,
            Err(missing) => return Ok(Synced::NoBranch(missing)),
        };
        git.fetch_objects(REMOTE, &[between.from, between.to])
            .map_err(|error| failed(&error))?;
        if is_ancestor(git, &from, &to)? {
            return Ok(Synced::InSync(to));
        }
        let (new, done) = if is_ancestor(git, &to, &from)? {
            (Some(from), Synced::Forwarded(from))
        } else {
            match merge(git, between, (&from, &to), apply)? {
                Ok(commit) => (commit, Synced::Merged(commit)),
                Err(files) => return Ok(Synced::Conflict(files)),
            }
        };
        let Some(new) = new.filter(|_| apply) else {
            return Ok(done);
        };
        if push(git, between.to, (&to, &new))? {
            return Ok(done);
        }
    }
    let why = format!("it was moved by somebody else meanwhile, {ROUNDS} times");
    Err(Error::unavailable(format!("pushing {}", between.to), why).help("run it again"))
}

/// Where both branches are on the remote; inside, the name of one that is not there.
fn heads(git: &Git, between: Between<'_>) -> Result<Result<(ObjectId, ObjectId), String>, Error> {
    let tips = git.heads(REMOTE).map_err(|error| failed(&error))?.tips;
    let Some(from) = tips.get(between.from) else {
        return Ok(Err(between.from.to_owned()));
    };
    let Some(to) = tips.get(between.to) else {
        return Ok(Err(between.to.to_owned()));
    };
    Ok(Ok((*from, *to)))
}

fn is_ancestor(git: &Git, older: &ObjectId, newer: &ObjectId) -> Result<bool, Error> {
    git.is_ancestor(older, newer)
        .map_err(|error| failed(&error))
}

/// The commit that has both; `None` if it is not asked for. Inside, the files that were changed on
/// both sides.
fn merge(
    git: &Git,
    between: Between<'_>,
    (from, to): (&ObjectId, &ObjectId),
    apply: bool,
) -> Result<Result<Option<ObjectId>, Vec<String>>, Error> {
    let (from, to) = (from.to_string(), to.to_string());
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
        Some(0) if apply => {
            let message = format!("Merge branch '{}' into {}", between.from, between.to);
            let args = [&tree, "-p", &to, "-p", &from, "-m", &message].map(str::to_owned);
            let made = reached_as(git, "commit-tree", &args)?;
            let id = ObjectId::parse(made.trim_ascii());
            id.map(|id| Ok(Some(id)))
                .ok_or_else(|| Error::unavailable("git commit-tree", "it printed no commit"))
        }
        Some(0) => Ok(Ok(None)),
        Some(1) => Ok(Err(parts.filter(|path| !path.is_empty()).collect())),
        _ if ran.stderr.contains("unrelated histories") => {
            let what = format!("merging {} into {}", between.from, between.to);
            Err(Error::about(
                Class::Refused,
                what,
                "their histories have nothing in common",
            ))
        }
        _ => Err(Error::unavailable("git merge-tree", told(&ran.stderr))
            .help("git 2.38 or newer is needed")),
    }
}

/// With whoever commits here; where git does not know who that is, as repin.
fn reached_as(git: &Git, command: &'static str, args: &[String]) -> Result<Vec<u8>, Error> {
    let known = run(git, "var", &["GIT_COMMITTER_IDENT"])?.code == Some(0)
        && run(git, "var", &["GIT_AUTHOR_IDENT"])?.code == Some(0);
    let git = if known {
        git.clone()
    } else {
        git.clone().committing_as("repin", "repin@localhost")
    };
    git.reached(command, args, None)
        .map_err(|error| failed(&error))
}

/// Puts the branch at `new` if it still is at `old`; `false`: it is not.
fn push(git: &Git, branch: &str, (old, new): (&ObjectId, &ObjectId)) -> Result<bool, Error> {
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
        return Ok(true);
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
        return Ok(false);
    }
    let reason = refused.rsplit('\t').next().unwrap_or_default();
    let said = told(&ran.stderr);
    Err(Error::about(
        Class::Denied,
        format!("pushing {branch}"),
        format!("{reason}; {said}"),
    )
    .help(PERMISSION))
}

const PERMISSION: &str = "the credentials that git has for the remote `origin` need `contents: write` (Gitea: \
     write:repository), where workflows change `workflows: write` too, and the branch's protection has to let them push";

fn denied_or_failed(branch: &str, ran: &Ran) -> Error {
    let error = GitError::refused("push", &ran.stderr);
    let what = format!("pushing {branch}");
    match &error {
        GitError::Denied { message, .. } => {
            Error::about(Class::Denied, what, message).help(PERMISSION)
        }
        _ => Error::unavailable(what, told(&ran.stderr)),
    }
}

fn run(git: &Git, command: &'static str, args: &[&str]) -> Result<Ran, Error> {
    git.reach(command, args, None)
        .map_err(|error| failed(&error))
}

fn failed(error: &GitError) -> Error {
    let kind = match error {
        GitError::Remote { why, .. } if is_denied(why) => Class::Denied,
        GitError::Denied { .. } => Class::Denied,
        _ => Class::Unavailable,
    };
    let hint = if kind == Class::Denied {
        PERMISSION.to_owned()
    } else {
        error.hint()
    };
    Error::new(kind, "git", without_users(&error.to_string())).help(hint)
}
