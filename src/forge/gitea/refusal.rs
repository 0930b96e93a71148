//! The meaning of refusals of Gitea and Forgejo: an archived repository, a protection, a hook, or
//! another process that was faster.

use crate::{
    error::{Class, Error},
    forge::http::{Failure, Reply},
};

/// Texts with which git refuses a push because another push to the branch was faster
/// (`refs/files-backend.c`, `refs/reftable-backend.c`).
const RACES: [&str; 3] = [
    "cannot lock ref",
    "reference already exists",
    "incorrect old value provided",
];

/// The text with which git refuses a branch below or above an existing one, which is no race.
const NESTED: &str = "; cannot create";

/// Whether a push was refused because another process created, moved or deleted the branch
/// concurrently. Gitea 1.25 and Forgejo 11 answer 500 `PushRejected`, Gitea 1.26 answers 403, with
/// git's text.
pub(super) fn is_race(text: &str) -> bool {
    !text.contains(NESTED) && RACES.iter().any(|race| text.contains(race))
}

/// Whether a protection or a hook refused a push: the server answers 500, which is no outage.
pub(super) fn is_rejected(failure: &Failure) -> bool {
    failure.error.message.contains("PushRejected")
}

/// What a push that may have been refused by a protection or a hook means.
pub(super) fn rejected(failure: Failure, branch: &str) -> Error {
    if !is_rejected(&failure) {
        let unsure = failure.unsure;
        return Error {
            begun: unsure,
            ..failure.error
        };
    }
    let error = failure.error;
    if error.message.contains("protected branch") {
        return error.class(Class::Denied)
        .help(format!(
            "allow the token's owner to push to {branch} in the branch protection, or give the branch another name"
        ));
    }
    if error.message.contains(NESTED) {
        return error.class(Class::Refused).help(format!(
            "delete the existing branch that the message contains, or give {branch} another name"
        ));
    }
    error.class(Class::Refused).help(format!(
        "ask the server's administrator: a hook refuses pushes to {branch}"
    ))
}

/// What a refused write means.
pub(super) fn refused(reply: &Reply) -> Error {
    let error = reply.error();
    match reply.status.as_u16() {
        423 => error
            .class(Class::Denied)
            .help("unarchive the repository"),
        403 => error.help("check that the token has the scope write:repository, and that the branch is not protected"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn race_is_told_from_nested_branch_and_hook() {
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
