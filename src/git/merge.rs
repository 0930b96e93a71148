//! Syncs one long-lived branch into another by a push: a fast-forward, or a merge that does not touch
//! the work tree.
//!
//! The merge creates only objects. Of the references of this clone, git updates only the
//! remote-tracking branch of the pushed branch. The push changes that branch only if it has not moved
//! since it was read.

use super::{
    FETCH_HISTORY, Git, GitError, ObjectId, Output, Pushed, RefUpdate, Remote, is_denied,
    push::REPIN, server_message, without_users,
};
use crate::base::error::{Class, Code, Error};

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

/// Merges the branch `from` into the branch `to`; without `apply`, it only checks for conflicts and whether git may push.
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
            if !apply {
                test_push(git, to, target, target)?;
            }
            return Ok(SyncOutcome::InSync(target));
        }
        let (new, outcome) = if is_ancestor(git, &target, &source)? {
            (source, SyncOutcome::Forwarded(source))
        } else {
            let message = format!("Merge branch '{from}' into {to}");
            match merge(git, source, target, apply.then_some(&message))? {
                Merge::Created(commit) => (commit, SyncOutcome::Merged(Some(commit))),
                Merge::Possible => (source, SyncOutcome::Merged(None)),
                Merge::Conflict(files) => return Ok(SyncOutcome::Conflict(files)),
            }
        };
        let pushed = if apply {
            push(git, to, target, new)?
        } else {
            test_push(git, to, target, new)?
        };
        if pushed == Push::Done {
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
        // Some errors have the exit code of conflicts, but no tree.
        Some(1) if !tree.is_empty() => Ok(Merge::Conflict(
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
    let [name, address] = REPIN;
    let git = match git.identities() {
        Some(_) => git.clone(),
        None => git.clone().committing_as(name, address),
    };
    git.run_checked("commit-tree", args, None)
        .map_err(|error| failed(&error))
}

/// Moves the branch from `old` to `new`, if it is still at `old`.
fn push(git: &Git, branch: &str, old: ObjectId, new: ObjectId) -> Result<Push, Error> {
    let updates = [update(branch, old, new)];
    let pushed = git.push(REMOTE, &Remote::of_clone(REMOTE), &updates);
    settled(format!("pushing {branch}"), pushed)
}

/// Checks, without a change, that the server lets git push.
fn test_push(git: &Git, branch: &str, old: ObjectId, new: ObjectId) -> Result<Push, Error> {
    let updates = [update(branch, old, new)];
    let pushed = git.test_push(REMOTE, &Remote::of_clone(REMOTE), &updates);
    settled(format!("testing a push to {branch}"), pushed)
}

/// The branches that git may push to, and those that are missing on the remote. No branch is changed.
pub(crate) fn pushable<'b>(
    git: &Git,
    branches: &'b [String],
) -> Result<(Vec<&'b str>, Vec<&'b str>), Error> {
    let tips = git.heads(REMOTE).map_err(|error| failed(&error))?.tips;
    let head = git.head().map_err(|error| failed(&error))?.tip;
    let (present, missing): (Vec<_>, _) = branches
        .iter()
        .map(String::as_str)
        .partition(|branch| tips.contains_key(*branch));
    for branch in &present {
        // Which commit would be pushed does not matter.
        test_push(git, branch, tips[*branch], head)?;
    }
    Ok((present, missing))
}

fn update(branch: &str, old: ObjectId, new: ObjectId) -> RefUpdate {
    RefUpdate {
        branch: branch.to_owned(),
        old: Some(old),
        new: Some(new),
    }
}

fn settled(what: String, pushed: Result<Pushed, GitError>) -> Result<Push, Error> {
    match pushed {
        Ok(Pushed::Done) => Ok(Push::Done),
        Ok(Pushed::Raced(_) | Pushed::BaseMoved) => Ok(Push::BranchMoved),
        Ok(Pushed::Refused(reason)) => {
            Err(Error::about(Class::Denied, what, reason).help(PERMISSION))
        }
        Ok(Pushed::Unsure(message)) => Err(Error::unavailable(what, message)),
        Err(GitError::Denied { message, .. }) => {
            Err(Error::about(Class::Denied, what, message).help(PERMISSION))
        }
        Err(error) => Err(failed(&error)),
    }
}

const PERMISSION: &str = "give git credentials for the remote `origin` with `contents: write` (Gitea: write:repository; GitLab: write_repository), and with `workflows: write` if workflows change; the branch protection must let them push";

/// Runs a command that connects to the remote: `push`, or `merge-tree`, which may fetch missing contents of a
/// partial clone.
fn run(git: &Git, command: &'static str, args: &[&str]) -> Result<Output, Error> {
    git.run(command, args, Some(&Remote::of_clone(REMOTE)))
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::git::tests::{git, id};

    /// A repository without a default identity, with the branches `main` and `x` that have a commit each
    /// after a common one, which change these files.
    fn diverged(ours: &[&str], theirs: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q", "-b", "main"]);
        for (key, value) in [("useConfigOnly", "true"), ("name", ""), ("email", "")] {
            git(root, &["config", &format!("user.{key}"), value]);
        }
        let commit = |content: &str, files: &[&str]| {
            for file in files {
                fs::write(root.join(file), content).unwrap();
            }
            git(root, &["add", "."]);
            git(root, &["commit", "-q", "--allow-empty", "-m", content]);
        };
        commit("first", &["a", "b", "c"]);
        git(root, &["switch", "-q", "-c", "x"]);
        commit("theirs", theirs);
        git(root, &["switch", "-q", "main"]);
        commit("ours", ours);
        git(root, &["remote", "add", "origin", "."]);
        directory
    }

    fn merged(root: &Path, source: ObjectId, message: Option<&str>) -> Result<Merge, Error> {
        let git = Git::open(root).unwrap();
        merge(&git, source, id(root, "main"), message)
    }

    #[test]
    fn conflict_lists_the_files() {
        let directory = diverged(&["a", "b"], &["a", "b", "c"]);
        let found = merged(directory.path(), id(directory.path(), "x"), None).unwrap();
        let Merge::Conflict(files) = found else {
            panic!("no conflict")
        };
        assert_eq!(files, ["a", "b"]);
    }

    #[test]
    fn only_unrelated_histories_are_refused() {
        let directory = diverged(&[], &[]);
        let root = directory.path();
        git(root, &["switch", "-q", "--orphan", "other"]);
        git(root, &["commit", "-q", "--allow-empty", "-m", "other"]);
        let class = |source| merged(root, source, None).err().map(|error| error.class);
        assert_eq!(class(id(root, "other")), Some(Class::Refused));
        let missing = ObjectId::parse("1".repeat(40).as_bytes()).unwrap();
        assert_eq!(class(missing), Some(Class::Unavailable));
    }

    #[test]
    fn merge_has_the_configured_identity_or_that_of_repin() {
        let cases: [(&[&str], &str); 4] = [
            (&[], "repin,repin"),
            (&["author"], "author,repin"),
            (&["committer"], "repin,committer"),
            (&["user"], "user,user"),
        ];
        for (configured, expected) in cases {
            let directory = diverged(&["a"], &["b"]);
            let root = directory.path();
            for role in configured {
                git(root, &["config", &format!("{role}.name"), role]);
                git(root, &["config", &format!("{role}.email"), "a@b"]);
            }
            let created = merged(root, id(root, "x"), Some("Merge"));
            let Ok(Merge::Created(commit)) = created else {
                panic!("{configured:?} {:?}", created.err())
            };
            let names = git(
                root,
                &["log", "-1", "--format=%an,%cn", &commit.to_string()],
            );
            assert_eq!(
                String::from_utf8_lossy(names.trim_ascii()),
                expected,
                "{configured:?}"
            );
        }
    }

    #[test]
    fn push_without_a_response_has_the_class_of_its_cause() {
        for (message, class) in [
            (
                "git@git.invalid: Permission denied (publickey).",
                Class::Denied,
            ),
            ("ssh: connect to host git.invalid", Class::Unavailable),
        ] {
            let directory = diverged(&["a"], &["b"]);
            let root = directory.path();
            git(
                root,
                &["remote", "set-url", "origin", "ssh://git.invalid/x"],
            );
            let ssh = format!("echo '{message}' >&2; exit 255; #");
            git(root, &["config", "core.sshCommand", &ssh]);
            let opened = Git::open(root).unwrap();
            let pushed = push(&opened, "main", id(root, "main"), id(root, "x"));
            assert_eq!(pushed.err().map(|error| error.class), Some(class));
        }
    }

    #[test]
    fn only_denials_need_other_credentials() {
        let unreachable = |reason: &str| GitError::Remote {
            remote: "origin".to_owned(),
            command: "push",
            reason: reason.to_owned(),
        };
        let denied = [
            unreachable("remote: Permission to acme/flows denied to bot"),
            GitError::refused("push", "fatal: Authentication failed for 'https://x'"),
        ];
        for error in denied {
            let error = failed(&error);
            assert_eq!(
                (error.class, error.help.as_deref()),
                (Class::Denied, Some(PERMISSION))
            );
        }
        for error in [
            unreachable("Could not resolve host"),
            GitError::refused("push", "fatal: x"),
        ] {
            let error = failed(&error);
            assert_eq!(error.class, Class::Unavailable);
            assert_ne!(error.help.as_deref(), Some(PERMISSION));
        }
    }
}
