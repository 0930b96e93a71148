//! The files of workflows, which GitHub lets only some tokens change.

use crate::base::error::{Class, Error};

/// The remedy for a token without the permission.
pub(super) const PERMISSION: &str = "GITHUB_TOKEN cannot have `workflows: write`: use the token of an app or a person that has it \
     (a classic token: the scope `workflow`)";

/// Whether the file at `path` may be a workflow.
pub(crate) fn is_workflow(path: &str) -> bool {
    path.starts_with(".github/workflows/")
}

/// The error of a token that may not change workflows.
pub(super) fn missing_permission(what: &str, evidence: &str) -> Error {
    let reason =
        format!("{evidence}; `workflows: write` is missing: the change touches .github/workflows");
    Error::about(Class::Denied, what, reason).help(PERMISSION)
}
