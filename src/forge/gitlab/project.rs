//! The project and its settings, and the facts about a server that a run reads once.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use serde::Deserialize;
use tokio::sync::OnceCell;

use super::ANOTHER_TOKEN;
use crate::{
    base::error::{Class, Error},
    forge::{MergeMethod, Push, Repo},
};

/// The access level of the role Developer.
const DEVELOPER: u64 = 30;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Project {
    pub(super) id: u64,
    pub(super) path_with_namespace: String,
    pub(super) default_branch: Option<String>,
    visibility: Option<String>,
    pub(super) archived: Option<bool>,
    empty_repo: Option<bool>,
    /// Whether it is a copy that GitLab pulls from another server.
    mirror: Option<bool>,
    merge_requests_access_level: Option<String>,
    issues_access_level: Option<String>,
    permissions: Option<Permissions>,
    merge_method: Option<String>,
    squash_option: Option<String>,
    pub(super) only_allow_merge_if_pipeline_succeeds: Option<bool>,
    pub(super) allow_merge_on_skipped_pipeline: Option<bool>,
    pub(super) merge_trains_enabled: Option<bool>,
    pub(super) remove_source_branch_after_merge: Option<bool>,
    /// Reported since GitLab 16.9 (<https://docs.gitlab.com/api/projects/#get-a-single-project>).
    pub(super) repository_object_format: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Permissions {
    project_access: Option<Access>,
    group_access: Option<Access>,
}

#[derive(Debug, Clone, Deserialize)]
struct Access {
    access_level: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct TokenRow {
    pub(super) user_id: Option<u64>,
    pub(super) scopes: Vec<String>,
}

/// The facts about a server that a run reads once.
#[derive(Debug, Default)]
pub(in crate::forge) struct GitlabFacts {
    /// The properties of the run's token; `None` if GitLab does not show them.
    pub(super) token: OnceCell<Option<TokenRow>>,
    /// The projects that were read, by their full names.
    projects: RefCell<HashMap<String, Rc<OnceCell<Project>>>>,
}

impl GitlabFacts {
    pub(super) fn project(&self, full_name: &str) -> Rc<OnceCell<Project>> {
        let mut projects = self.projects.borrow_mut();
        Rc::clone(projects.entry(full_name.to_owned()).or_default())
    }

    /// Has the next client of a project read it again.
    pub(super) fn forget(&self, full_name: &str) {
        self.projects.borrow_mut().remove(full_name);
    }
}

impl Project {
    /// The level of the role of the token's owner, if GitLab reports it.
    pub(super) fn role(&self) -> Option<u64> {
        let permissions = self.permissions.as_ref()?;
        let levels = [&permissions.project_access, &permissions.group_access];
        let levels = levels.into_iter().flatten();
        levels.map(|access| access.access_level).max()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.empty_repo == Some(true) || self.default_branch.is_none()
    }

    pub(super) fn refusal(&self, reason: &str, hint: &str) -> Error {
        let what = format!("GitLab: {}", self.path_with_namespace);
        Error::about(Class::Denied, what, reason).help(hint)
    }

    /// The error of a setting that prevents every promotion.
    pub(super) fn disabled(&self) -> Option<Error> {
        if self.merge_requests_access_level.as_deref() == Some("disabled") {
            let hint = "enable merge requests in the project's settings, or use --apply in a clone and push";
            return Some(self.refusal("merge requests are disabled", hint));
        }
        let reason = "the project is a mirror: GitLab replaces its branches";
        let mirror = || self.refusal(reason, "point forge.repository at the mirrored project");
        (self.mirror == Some(true)).then(mirror)
    }

    /// The error of a setting or a role that prevents every promotion.
    pub(super) fn unusable(&self) -> Option<Error> {
        let role = self.role().filter(|role| *role < DEVELOPER).map(|role| {
            let reason = format!("the role of the token is below Developer (access level {role})");
            self.refusal(&reason, ANOTHER_TOKEN)
        });
        self.disabled().or(role)
    }

    pub(super) fn has_no_issues(&self) -> bool {
        self.issues_access_level.as_deref() == Some("disabled")
    }

    /// Whether a branch must contain its target's head before it can be merged.
    pub(super) fn requires_up_to_date(&self) -> bool {
        matches!(self.merge_method.as_deref(), Some("ff" | "rebase_merge"))
    }

    /// Whether it squashes the commits of a merge request, unless a user decides otherwise.
    pub(super) fn squashes(&self) -> bool {
        let option = self.squash_option.as_deref();
        matches!(option, Some("always" | "default_on"))
    }

    /// The configured methods that its settings allow.
    pub(super) fn merge_methods(&self) -> Vec<&'static str> {
        let option = self.squash_option.as_deref().unwrap_or("default_off");
        let (mut unsquashed, squashed) = (MergeMethod::Merge, MergeMethod::Squash);
        if self.requires_up_to_date() {
            unsquashed = MergeMethod::Rebase;
        }
        let methods = [
            (unsquashed, option != "always"),
            (squashed, option != "never"),
        ];
        let allowed = methods.into_iter().filter(|(_, is_allowed)| *is_allowed);
        allowed.map(|(method, _)| method.as_str()).collect()
    }
}

impl From<&Project> for Repo {
    fn from(project: &Project) -> Self {
        let role = project.role();
        Self {
            full_name: project.path_with_namespace.clone(),
            default_branch: project.default_branch.clone().unwrap_or_default(),
            push: Push::reported(role.map(|role| role >= DEVELOPER)),
            scopes: None,
            public: project.visibility.as_deref() == Some("public"),
            archived: project.archived == Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_follow_the_settings() {
        let project = |method: &str, squash: &str| -> Project {
            let row = serde_json::json!({
                "id": 1, "path_with_namespace": "a/b", "merge_method": method,
                "squash_option": squash,
            });
            serde_json::from_value(row).unwrap()
        };
        for (method, squash, expected) in [
            ("merge", "never", vec!["merge"]),
            ("merge", "default_off", vec!["merge", "squash"]),
            ("merge", "always", vec!["squash"]),
            ("ff", "never", vec!["rebase"]),
            ("rebase_merge", "default_on", vec!["rebase", "squash"]),
            ("ff", "always", vec!["squash"]),
        ] {
            assert_eq!(project(method, squash).merge_methods(), expected);
        }
    }
}
