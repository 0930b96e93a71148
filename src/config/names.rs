//! The branches and titles of a set on a forge, including those of former paths and versions.

use super::{set_path::SetPath, template::Template};

/// The templates of one kind of change.
#[derive(Debug, Clone, Copy)]
pub struct ChangeNames<'c> {
    pub branch: &'c Template,
    /// The title of the commit and of the pull request.
    pub title: &'c Template,
}

/// The templates for pull requests of the set with a former path of its configuration, or with the
/// defaults of an earlier version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerNames {
    pub set_path: SetPath,
    pub name: String,
    pub promote: Template,
    pub rollback: Template,
}

impl FormerNames {
    /// The defaults of versions that did not distinguish sets.
    pub(super) fn defaults(set: &SetPath) -> Vec<Self> {
        if !set.is_top() {
            return Vec::new();
        }
        let promote = Template::branch("auto/runtime-promote-{revision}", "");
        let rollback = Template::branch("auto/runtime-rollback-{revision}", "");
        let (Ok(promote), Ok(rollback)) = (promote, rollback) else {
            return Vec::new();
        };
        vec![Self {
            set_path: set.clone(),
            name: String::new(),
            promote,
            rollback,
        }]
    }
}
