//! The causes of refusals by Gitea and Forgejo: an archived repository, a protection, a hook, or a
//! concurrent process.

use crate::{
    base::error::{Class, Error},
    forge::http::{Failure, Reply},
};

/// Messages of git about a push that lost a race (`refs/files-backend.c`, `refs/reftable-backend.c`).
const RACES: [&str; 3] = [
    "cannot lock ref",
    "reference already exists",
    "incorrect old value provided",
];

/// The message of git about a branch below or above an existing branch, which is not a race.
const NESTED: &str = "; cannot create";

/// Whether a push was refused because another process created, moved or deleted the branch
/// concurrently. Gitea 1.25 and Forgejo 11 respond 500 `PushRejected`, Gitea 1.26 responds 403, both
/// with the message of git.
pub(super) fn is_race(text: &str) -> bool {
    !text.contains(NESTED) && RACES.iter().any(|race| text.contains(race))
}

/// Whether a protection or a hook refused a push: the server responds 500, which is not an outage
/// here.
pub(super) fn is_rejected(failure: &Failure) -> bool {
    failure.error.message.contains("PushRejected")
}

/// The error of a push that a protection or a hook may have refused.
pub(super) fn rejected(failure: Failure, branch: &str) -> Error {
    if !is_rejected(&failure) {
        return Error {
            begun: failure.unsure,
            ..failure.error
        };
    }
    let error = failure.error;
    if error.message.contains("protected branch") {
        let hint = format!(
            "allow the token's owner to push to {branch} in the branch protection, or give the branch another name"
        );
        return error.class(Class::Denied).help(hint);
    }
    if error.message.contains(NESTED) {
        let hint = format!(
            "delete the existing branch that the message contains, or give {branch} another name"
        );
        return error.class(Class::Refused).help(hint);
    }
    let hint = format!("ask the server's administrator: a hook refuses pushes to {branch}");
    error.class(Class::Refused).help(hint)
}

/// The error of a refused write.
pub(super) fn refused(reply: &Reply) -> Error {
    let error = reply.error();
    match reply.status.as_u16() {
        423 => error.class(Class::Denied).help("unarchive the repository"),
        403 => error.help("check that the token has the scope write:repository, and that the branch is not protected"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn race_differs_from_nested_branch_and_hook() {
        for race in [
            "PushRejected Error: - remote: error: cannot lock ref 'refs/heads/a': reference already exists",
            "! [remote rejected] a (cannot lock ref 'refs/heads/a': is at 1 but expected 2)",
            "! [remote rejected] a (reference already exists)",
            "! [remote rejected] a (incorrect old value provided)",
        ] {
            assert!(is_race(race), "{race}");
        }
        for other in [
            "PushRejected: cannot lock ref 'refs/heads/a/b': 'refs/heads/a' exists; cannot create 'refs/heads/a/b'",
            "PushRejected: (pre-receive hook declined)",
            "token does not have at least one of required scope(s)",
        ] {
            assert!(!is_race(other), "{other}");
        }
    }
}
