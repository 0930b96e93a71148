//! What refusals of Gitea and Forgejo mean: an archived repository, a protection, or a hook.

use crate::{
    error::{Class, Error},
    forge::http::{Failure, Reply},
};

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
