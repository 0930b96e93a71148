//! The causes of refusals by GitHub: an archived repository, a rule, a protection, or a concurrent
//! process. The caller checks whether the branch moved.

use super::is_workflow;
use crate::{
    base::error::{Class, Error},
    forge::{NewCommit, http::Reply, rights::ARCHIVED},
};

/// Messages about a reference that changed since it was read (REST API, "Create a reference" and
/// "Update a reference").
const RACES: [&str; 3] = [
    "reference already exists",
    "reference does not exist",
    "not a fast forward",
];

/// Messages about a missing permission, as opposed to a violated rule.
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

/// The error of a refused write if the repository is archived ("Repository was archived so is
/// read-only.").
pub(super) fn archived(error: &Error) -> Option<Error> {
    if !error.message.contains("was archived") {
        return None;
    }
    let error = Error {
        message: format!("{ARCHIVED}: {}", error.message),
        ..error.clone()
    };
    Some(error.class(Class::Denied).help("unarchive the repository"))
}

/// The error of a refused write; `hint`: the remedy for a token that lacks the permission.
pub(super) fn denied(reply: &Reply, hint: &str) -> Error {
    let error = reply.error();
    archived(&error).unwrap_or_else(|| error.help(hint))
}

/// The error of a refused update of a branch that has not moved.
pub(super) fn of_branch(error: Error, branch: &str) -> Error {
    if let Some(archived) = archived(&error) {
        return archived;
    }
    let message = error.message.to_lowercase();
    let is_rule = message.contains("rule violation");
    if !is_rule && DENIED.iter().any(|text| message.contains(text)) {
        let hint = format!(
            "allow the token's owner to push to {branch} in the branch protection, or give the branch another name (promote.branch, rollback.branch)"
        );
        return error.class(Class::Denied).help(hint);
    }
    let hint = format!(
        "check which rule set covers {branch}: let the token's owner bypass it, or give the branch another name (promote.branch, rollback.branch); a branch that is named like the beginning of {branch} refuses it, too"
    );
    error.class(Class::Refused).help(hint)
}

/// The error of a refused commit; GitHub responds 404 if a scope is missing.
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

/// The error of a refused write of contents.
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
            let hint = match &error.help {
                Some(hint) => format!("give the token `contents: write` ({hint})"),
                None => "give the token `contents: write`".to_owned(),
            };
            error.help(hint)
        }
        _ => error,
    }
}

pub(super) fn no_workflows(what: &str, evidence: &str) -> Error {
    let reason =
        format!("{evidence}; `workflows: write` is missing: the change touches .github/workflows");
    Error::about(Class::Denied, what, reason).help(
        "GITHUB_TOKEN cannot have `workflows: write`: use the token of an app or a person that has it \
         (a classic token: the scope `workflow`)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_classified_by_their_texts() {
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
            let error = of_branch(Error::about(Class::Refused, "x", text), "auto/x");
            let help = error.help.unwrap();
            assert!(
                error.class == expected && help.contains(hint),
                "{text}: {help}"
            );
        }
        assert!(is_race("HTTP 422 (Reference already exists)"));
        assert!(!is_race("HTTP 422 (Reference update failed)"));
    }
}
