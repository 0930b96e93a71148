//! The names that a set has on a forge: branches and titles, with those of former paths and versions.

use super::{Config, Operation, SetPath, template::Template};
use crate::oci::Revision;

/// The names of one kind of change.
#[derive(Debug, Clone, Copy)]
pub struct ChangeNames<'c> {
    pub branch: &'c Template,
    /// The title of the commit and of the pull request.
    pub title: &'c Template,
}

/// The names that pull requests of the set had under a former path of its configuration, or by the
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

impl Config {
    /// The names of the branch and the commit of an operation.
    pub fn names(&self, operation: Operation) -> ChangeNames<'_> {
        let (branch, title) = match operation {
            Operation::Promotion => (&self.promote.branch, &self.promote.title),
            Operation::Rollback => (&self.rollback.branch, &self.rollback.title),
        };
        ChangeNames { branch, title }
    }

    /// The branch of a pull request that moves the pins of this set to a revision.
    pub fn branch(&self, operation: Operation, revision: &Revision) -> String {
        self.names(operation).branch.render(revision, &self.name)
    }

    /// The branches of the set `set_path` for a revision: the present one if it is this set, and those
    /// of its former names.
    pub fn branches_of(
        &self,
        set_path: &SetPath,
        operation: Operation,
        revision: &Revision,
    ) -> Vec<String> {
        let present = (*set_path == self.set_path).then(|| self.branch(operation, revision));
        let former = self
            .former
            .iter()
            .filter(|names| names.set_path == *set_path);
        let former = former.map(|names| match operation {
            Operation::Promotion => names.promote.render(revision, &names.name),
            Operation::Rollback => names.rollback.render(revision, &names.name),
        });
        present.into_iter().chain(former).collect()
    }

    /// Whether the configuration gives this branch to one of its sets.
    pub fn has_branch(&self, branch: &str) -> bool {
        let present =
            [&self.promote.branch, &self.rollback.branch].map(|branch| (branch, &self.name));
        let former = self.former.iter();
        let former = former.flat_map(|names| {
            [
                (&names.promote, &names.name),
                (&names.rollback, &names.name),
            ]
        });
        present.into_iter().chain(former).any(|(template, name)| {
            let revision = template.revision_in(branch, name);
            revision.is_some_and(|text| self.revision.pattern.revision(text).is_ok())
        })
    }
}
