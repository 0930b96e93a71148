//! The templates of a set's pull requests, including those at former paths of its configuration and of
//! earlier versions.

use super::{set_path::SetPath, template::Template};

/// The templates of a promotion or of a rollback.
#[derive(Debug, Clone, Copy)]
pub struct ChangeTemplates<'c> {
    pub branch: &'c Template,
    /// The title of the commit and of the pull request.
    pub title: &'c Template,
}

/// The branch templates of the set at a former path of its configuration, or by the defaults of an
/// earlier version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerSet {
    pub set_path: SetPath,
    pub name: String,
    pub promotion_branch: Template,
    pub rollback_branch: Template,
}

impl FormerSet {
    /// The defaults of versions that did not distinguish sets.
    pub(super) fn defaults(set: &SetPath) -> Vec<Self> {
        if !set.is_top() {
            return Vec::new();
        }
        vec![Self {
            set_path: set.clone(),
            name: String::new(),
            promotion_branch: constant_branch("auto/runtime-promote-{revision}"),
            rollback_branch: constant_branch("auto/runtime-rollback-{revision}"),
        }]
    }
}

fn constant_branch(text: &str) -> Template {
    Template::branch(text, "").expect("a constant branch template is valid")
}
