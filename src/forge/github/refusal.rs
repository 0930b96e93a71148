//! What GitHub's refusals mean: an archived repository, a rule, a protection, or another process
//! that was faster. Whether a branch has really moved is for the caller to find out.

use super::is_workflow;
use crate::{
    error::{Class, Error},
    forge::{NewCommit, http::Reply, rights::ARCHIVED},
};

/// Texts by which GitHub reports that a reference has changed since it was read (REST API, "Create a
/// reference" and "Update a reference").
const RACES: [&str; 3] = [
    "reference already exists",
    "reference does not exist",
    "not a fast forward",
];

/// Texts by which a refused write is a matter of permission and not of a rule's content.
const DENIED: [&str; 4] = [
    "protected branch",
    "not authorized",
    "not accessible",
    "permission",
];

/// Whether another process created, moved or deleted the branch concurrently.
pub(super) fn is_race(text: &str) -> bool {
    let text = text.to_lowercase();
    RACES.iter().any(|race| text.contains(race))
}

/// "Repository was archived so is read-only."
fn is_archived(text: &str) -> bool {
    text.contains("was archived")
}

/// The error of a refused write, if the repository was archived; its own hint would mislead.
pub(super) fn archived(error: &Error) -> Option<Error> {
    let reason = format!("{ARCHIVED}: {}", error.message);
    is_archived(&error.message).then(|| {
        Error {
            message: reason,
            ..error.clone()
        }
        .class(Class::Denied)
        .help("unarchive the repository")
    })
}

/// What a refused write means; `hint` for a token that may not do it.
pub(super) fn denied(reply: &Reply, hint: &str) -> Error {
    let error = reply.error();
    archived(&error).unwrap_or_else(|| error.help(hint))
}

/// What the refusal of a branch means that has not moved.
pub(super) fn of_branch(error: Error, branch: &str) -> Error {
    if let Some(archived) = archived(&error) {
        return archived;
    }
    let message = error.message.to_lowercase();
    let rule = message.contains("rule violation");
    if !rule && DENIED.iter().any(|text| message.contains(text)) {
        let hint = format!(
            "allow the token's owner to push to {branch} in the branch protection, or give the branch another name (promote.branch, rollback.branch)"
        );
        return error.class(Class::Denied).help(hint);
    }
    error.class(Class::Refused)
    .help(format!(
        "check which rule set covers {branch}: let the token's owner bypass it, or give the branch another name (promote.branch, rollback.branch); a branch that is named like the beginning of {branch} refuses it, too"
    ))
}

/// What a refusal to write means; GitHub answers 404 where a scope is missing.
pub(super) fn of_commit(new: &NewCommit<'_>, reply: &Reply) -> Error {
    let error = reply.error();
    if let Some(archived) = archived(&error) {
        return archived;
    }
    if lacks_workflows(new, reply) {
        return no_workflows(error.subject.as_deref().unwrap_or_default(), &error.message);
    }
    unwritable(reply)
}

pub(super) fn lacks_workflows(new: &NewCommit<'_>, reply: &Reply) -> bool {
    let status = reply.status.as_u16();
    new.files.iter().any(|file| is_workflow(&file.path))
        && (matches!(status, 403 | 404) || status == 422 && reply.text().contains("workflow"))
}

/// What a refusal to write contents means.
pub(super) fn unwritable(reply: &Reply) -> Error {
    let error = reply.error();
    if let Some(archived) = archived(&error) {
        return archived;
    }
    match reply.status.as_u16() {
        404 => error
            .class(Class::Denied)
            .help("give the token `contents: write`"),
        403 => {
            let asks = error
                .help
                .as_ref()
                .map_or_else(String::new, |hint| format!(" ({hint})"));
            error.help(format!("give the token `contents: write`{asks}"))
        }
        _ => error,
    }
}

pub(super) fn no_workflows(what: &str, why: &str) -> Error {
    let why = format!("{why}; `workflows: write` is missing: the change touches .github/workflows");
    Error::about(Class::Denied, what, why).help(
        "GITHUB_TOKEN cannot have `workflows: write`: use the token of an app or a person that has it \
         (a classic token: the scope `workflow`)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_classified_by_their_texts() {
        let kind = |text: &str| {
            let error = of_branch(Error::about(Class::Refused, "x", text), "auto/x");
            (error.class, error.help.unwrap())
        };
        for (text, expected, hint) in [
            (
                "HTTP 422 (Reference update failed)",
                Class::Refused,
                "rule set",
            ),
            (
                "Repository rule violations found\n\nCannot update this protected branch.",
                Class::Refused,
                "rule set",
            ),
            (
                "HTTP 403 (You're not authorized to push to this branch)",
                Class::Denied,
                "branch protection",
            ),
            (
                "HTTP 403 (Repository was archived so is read-only.)",
                Class::Denied,
                "unarchive",
            ),
        ] {
            let (kind, help) = kind(text);
            assert!(kind == expected && help.contains(hint), "{text}: {help}");
        }
        assert!(is_race("HTTP 422 (Reference already exists)"));
        assert!(!is_race("HTTP 422 (Reference update failed)"));
    }
}
