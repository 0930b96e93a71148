//! The branches of a set's pull requests, current and former.

use std::fmt::Display;

use super::{
    report::FormerSet, set_path::SetPath, stage::Operation, template::Template, top_level::Config,
};
use crate::oci::Revision;

impl Config {
    /// The branch of a pull request that moves the pins of this set to a revision.
    pub fn branch(&self, operation: Operation, revision: impl Display) -> String {
        self.templates(operation)
            .branch
            .render(revision, &self.name)
    }

    /// The branches of the set `set_path` for a revision: the current one if it is this set, and
    /// the former ones.
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
            .filter(|former| former.set_path == *set_path)
            .map(|former| {
                let template = match operation {
                    Operation::Promotion => &former.promotion_branch,
                    Operation::Rollback => &former.rollback_branch,
                };
                template.render(revision, &former.name)
            });
        present.into_iter().chain(former).collect()
    }

    /// Whether this is the path of the set, or a former one.
    pub fn has_set(&self, set_path: &SetPath) -> bool {
        let mut former = self.former.iter();
        *set_path == self.set_path || former.any(|former| former.set_path == *set_path)
    }

    /// Whether the configuration gives this branch to one of its sets.
    pub fn has_branch(&self, branch: &str) -> bool {
        let present =
            [&self.promote.branch, &self.rollback.branch].map(|branch| (branch, &self.name));
        let former = self.former.iter().flat_map(|former| {
            [
                (&former.promotion_branch, &former.name),
                (&former.rollback_branch, &former.name),
            ]
        });
        present.into_iter().chain(former).any(|(template, name)| {
            let revision = template.revision_in(branch, name);
            revision.is_some_and(|text| self.revision.pattern.revision(text).is_ok())
        })
    }

    /// The templates of branches that may contain pins of this set. Earlier versions did not distinguish
    /// sets, so their defaults apply to every set.
    pub fn branch_templates(&self) -> Vec<Template> {
        let mut templates = vec![self.promote.branch.clone(), self.rollback.branch.clone()];
        let defaults = FormerSet::defaults(&SetPath::top());
        for former in defaults.iter().chain(&self.former) {
            templates.push(former.promotion_branch.clone());
            templates.push(former.rollback_branch.clone());
        }
        templates
    }
}
