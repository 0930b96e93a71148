//! The project, the permissions of a token, and the version of the server.

use reqwest::Method;
use serde::Deserialize;

use super::{ANOTHER_TOKEN, Gitlab, named_project, unreadable_by_job};
use crate::{
    base::error::{Class, Error},
    forge::{
        MergeMethod, Permission, Push, Repo, RequiredRights, Right, Verdict,
        http::{Http, Paging, Reply, Request, renamed},
        shared::{self, ARCHIVED},
    },
};

/// The access level of the role Developer.
const DEVELOPER: u64 = 30;

/// The access level of the role Maintainer.
const MAINTAINER: u64 = 40;

/// The oldest supported version: since then, a registry deletes tags by the API of OCI.
const OLDEST: (u32, u32) = (16, 4);

/// The version in which `merge_when_pipeline_succeeds` was renamed to `auto_merge`.
const AUTO_MERGE: (u32, u32) = (17, 11);

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Project {
    pub(super) id: u64,
    path_with_namespace: String,
    default_branch: Option<String>,
    visibility: Option<String>,
    archived: Option<bool>,
    empty_repo: Option<bool>,
    /// Whether it is a copy that GitLab pulls from another server.
    mirror: Option<bool>,
    merge_requests_access_level: Option<String>,
    issues_access_level: Option<String>,
    permissions: Option<Permissions>,
    merge_method: Option<String>,
    squash_option: Option<String>,
    only_allow_merge_if_pipeline_succeeds: Option<bool>,
    allow_merge_on_skipped_pipeline: Option<bool>,
    merge_trains_enabled: Option<bool>,
    remove_source_branch_after_merge: Option<bool>,
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

#[derive(Deserialize)]
struct TokenRow {
    user_id: Option<u64>,
    #[serde(default)]
    scopes: Vec<String>,
}

#[derive(Deserialize)]
struct ProtectedRow {
    name: String,
    #[serde(default)]
    push_access_levels: Vec<LevelRow>,
    #[serde(default)]
    merge_access_levels: Vec<LevelRow>,
    /// Whether those who may push may also force-push.
    allow_force_push: Option<bool>,
}

/// Those who may push to a protected branch or merge into it: a role, a user, a deploy key, or a group, which repin does
/// not resolve. The row of a deploy key also has an access level
/// (<https://docs.gitlab.com/api/protected_branches/#list-protected-branches>).
#[derive(Deserialize)]
struct LevelRow {
    access_level: Option<u64>,
    user_id: Option<u64>,
    group_id: Option<u64>,
    deploy_key_id: Option<u64>,
}

#[derive(Deserialize)]
struct VersionRow {
    version: String,
}

impl Project {
    /// The level of the role of the token's owner, if GitLab reports it.
    fn role(&self) -> Option<u64> {
        let permissions = self.permissions.as_ref()?;
        let levels = [&permissions.project_access, &permissions.group_access];
        let levels = levels.into_iter().flatten();
        levels.map(|access| access.access_level).max()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.empty_repo == Some(true) || self.default_branch.is_none()
    }

    fn is_disabled(level: Option<&String>) -> bool {
        level.is_some_and(|level| level == "disabled")
    }

    /// The setting that prevents every promotion, and the remedy.
    pub(super) fn disabled(&self) -> Option<(String, &'static str)> {
        if Self::is_disabled(self.merge_requests_access_level.as_ref()) {
            return Some((
                "merge requests are disabled".to_owned(),
                "enable merge requests in the project's settings, or use --apply in a clone and push",
            ));
        }
        if self.mirror == Some(true) {
            return Some((
                "the project is a mirror: GitLab replaces its branches".to_owned(),
                "point forge.repository at the mirrored project",
            ));
        }
        None
    }

    /// The setting or the role that prevents every promotion, and the remedy.
    pub(super) fn unusable(&self) -> Option<(String, &'static str)> {
        if let Some(disabled) = self.disabled() {
            return Some(disabled);
        }
        let role = self.role().filter(|role| *role < DEVELOPER)?;
        let reason = format!("the role of the token is below Developer (access level {role})");
        Some((reason, ANOTHER_TOKEN))
    }

    pub(super) fn has_no_issues(&self) -> bool {
        Self::is_disabled(self.issues_access_level.as_ref())
    }

    pub(super) fn requires_pipelines(&self) -> bool {
        self.only_allow_merge_if_pipeline_succeeds == Some(true)
    }

    pub(super) fn passes_skipped_pipelines(&self) -> bool {
        self.allow_merge_on_skipped_pipeline == Some(true)
    }

    pub(super) fn has_merge_trains(&self) -> bool {
        self.merge_trains_enabled == Some(true)
    }

    pub(super) fn removes_source_branches(&self) -> bool {
        self.remove_source_branch_after_merge == Some(true)
    }

    /// Whether a branch must contain its target's head before it can be merged.
    pub(super) fn requires_up_to_date(&self) -> bool {
        matches!(self.merge_method.as_deref(), Some("ff" | "rebase_merge"))
    }

    /// The configured methods that its settings allow.
    pub(super) fn merge_methods(&self) -> Vec<&'static str> {
        let option = self.squash_option.as_deref().unwrap_or("default_off");
        let unsquashed = match self.merge_method.as_deref() {
            Some("ff" | "rebase_merge") => MergeMethod::Rebase,
            _ => MergeMethod::Merge,
        };
        let mut methods = Vec::new();
        if option != "always" {
            methods.push(unsquashed.as_str());
        }
        if option != "never" {
            methods.push(MergeMethod::Squash.as_str());
        }
        methods
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

/// The numbers of a version such as `17.11.0-ee`; `None` for a build without a number.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    }
}

impl Http {
    /// The version of a GitLab, requested once for all of its projects.
    pub(super) async fn gitlab_version(&self) -> Result<String, Error> {
        let read = async || {
            let request = Request::new(Method::GET, ["version"], "GitLab: reading its version");
            let row: VersionRow = self.send(&request).await?.expect(&[200])?;
            Ok(row.version)
        };
        let version = self.server.version.get_or_try_init(read).await;
        version.cloned()
    }

    /// The new name of a renamed project, whose number is in the redirect; `None` if it leads elsewhere.
    pub(super) async fn gitlab_new_name(&self, reply: &Reply) -> Result<Option<String>, Error> {
        let location = reply.header("location");
        let below = location.and_then(|url| self.below_base(url));
        let Some([top, number]) = below.as_deref() else {
            return Ok(None);
        };
        if top != "projects" || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(None);
        }
        let what = "GitLab: reading the new name";
        let request = Request::new(Method::GET, ["projects", number], what);
        let project: Project = self.send(&request).await?.expect(&[200])?;
        Ok(Some(project.path_with_namespace))
    }
}

impl Gitlab {
    /// GitLab does not tell its version to the token of a job.
    pub(crate) async fn check_version(&self) -> Result<(), Error> {
        if self.http.token().is_of_job() {
            return Ok(());
        }
        self.check_kind_for_api()?;
        let text = self.http.gitlab_version().await?;
        if parse_version(&text).is_none_or(|version| version >= OLDEST) {
            return Ok(());
        }
        let reason = format!(
            "version {} is not supported: repin needs GitLab {}.{} or newer",
            self.http.clean(&text),
            OLDEST.0,
            OLDEST.1
        );
        let what = format!("GitLab: the server at {}", self.http.base());
        Err(Error::about(Class::Input, what, reason)
            .help("upgrade the server, or promote with --apply in a clone and push"))
    }

    /// The name of the parameter that schedules a merge.
    pub(super) async fn auto_merge_parameter(
        &self,
        project: &Project,
    ) -> Result<&'static str, Error> {
        let version = parse_version(&self.http.gitlab_version().await?);
        let is_new = version.is_none_or(|version| version >= AUTO_MERGE);
        Ok(match (is_new, project.has_merge_trains()) {
            (true, _) => "auto_merge",
            (false, true) => "when_pipeline_succeeds",
            (false, false) => "merge_when_pipeline_succeeds",
        })
    }

    /// The project, which is read once.
    pub(super) async fn project(&self) -> Result<&Project, Error> {
        self.project.get_or_try_init(|| self.read_project()).await
    }

    fn check_kind_for_api(&self) -> Result<(), Error> {
        if !self.http.token().is_of_deployment() {
            return Ok(());
        }
        let reason = "a deploy token cannot use the API";
        Err(Error::about(Class::Denied, "GitLab: the token", reason).help(ANOTHER_TOKEN))
    }

    async fn read_project(&self) -> Result<Project, Error> {
        let full_name = self.full_name();
        let what = format!("GitLab: reading the project {full_name}");
        self.check_kind_for_api()?;
        let request = named_project(full_name.clone(), what);
        let reply = match self.http.repository(&request).await {
            Err(error) if error.status == Some(404) && self.http.token().is_of_job() => {
                return Err(unreadable_by_job(error));
            }
            reply => reply?,
        };
        if reply.is_redirect() {
            return Err(match self.http.gitlab_new_name(&reply).await? {
                Some(new) => renamed(reply.what(), &full_name, &new),
                None => self.http.redirected(&reply),
            });
        }
        let project: Project = reply.expect(&[200])?;
        shared::check_name(&reply, &full_name, &Repo::from(&project))?;
        if project.is_empty() {
            let reason = "the repository has no commit";
            return Err(Error::about(Class::Refused, reply.what(), reason)
                .help("push the first commit, or correct forge.repository"));
        }
        Ok(project)
    }

    pub(crate) async fn repository(&self) -> Result<Repo, Error> {
        Ok(Repo::from(self.project().await?))
    }

    /// Whether a merge request squashes its commits, by the configured method and the project's setting.
    pub(super) fn squashes(&self, project: &Project) -> bool {
        match self.method {
            MergeMethod::Squash => true,
            MergeMethod::Merge | MergeMethod::Rebase => false,
            MergeMethod::Auto => {
                let option = project.squash_option.as_deref();
                matches!(option, Some("always" | "default_on"))
            }
        }
    }

    pub(crate) async fn check_permissions(&self, repo: &Repo) -> Result<(), Error> {
        self.check_token_kind()?;
        self.check_version().await?;
        let what = format!("GitLab: the token's permissions on {}", repo.full_name);
        shared::check_writable(repo, &what)?;
        if let Some((reason, hint)) = self.project().await?.unusable() {
            return Err(Error::about(Class::Denied, what, reason).help(hint));
        }
        if let Some(token) = self.token_row().await?
            && let Some(reason) = lacks_api(&token.scopes)
        {
            return Err(Error::about(Class::Denied, what, reason).help(ANOTHER_TOKEN));
        }
        Ok(())
    }

    /// The token's own properties; `None` if GitLab does not show them.
    async fn token_row(&self) -> Result<Option<TokenRow>, Error> {
        let path = ["personal_access_tokens", "self"];
        let what = "GitLab: reading the scopes of the token";
        let mut request = Request::new(Method::GET, path, what);
        request.handles_unauthorized = true;
        self.http.find(&request, &[400, 401, 403, 404]).await
    }

    pub(crate) async fn rights(
        &self,
        repo: &Repo,
        required: &RequiredRights,
    ) -> Result<Vec<Right>, Error> {
        let project = self.project().await?;
        let lacks = |reason: String, hint: &str| Verdict::Lacks(reason, hint.to_owned());
        let (contents, pulls) = if let Err(error) = self.check_token_kind() {
            let contents = Verdict::Unknown("a job may push if the project allows it".to_owned());
            (contents, lacks(error.to_string(), ANOTHER_TOKEN))
        } else if repo.archived {
            let lacks = lacks(ARCHIVED.to_owned(), "unarchive the project");
            (lacks.clone(), lacks)
        } else if let Some((reason, hint)) = project.unusable() {
            let lacks = lacks(reason, hint);
            (lacks.clone(), lacks)
        } else {
            let token = self.token_row().await?;
            (
                self.contents_verdict(project, token.as_ref(), required)
                    .await?,
                self.pulls_verdict(project, token.as_ref(), required)
                    .await?,
            )
        };
        let mut rights = vec![
            Permission::Contents.with(contents),
            Permission::PullRequests.with(pulls),
        ];
        for (permission, reason) in [
            (Permission::Workflows, "GitLab has no such permission"),
            (
                Permission::Actions,
                "GitLab starts pipelines after a merge by itself",
            ),
            (
                Permission::Packages,
                "images are deleted with the credentials of the registry",
            ),
        ] {
            rights.push(permission.with(Verdict::Unknown(reason.to_owned())));
        }
        Ok(rights)
    }

    /// Whether the token may push the branches of promotions.
    async fn contents_verdict(
        &self,
        project: &Project,
        token: Option<&TokenRow>,
        required: &RequiredRights,
    ) -> Result<Verdict, Error> {
        let scopes = token.map_or(&[][..], |token| &token.scopes);
        if token.is_some() && !has_scope(scopes, &["api", "write_repository"]) {
            let reason = format!("its scopes are `{}`", scopes.join(", "));
            return Ok(Verdict::Lacks(reason, ANOTHER_TOKEN.to_owned()));
        }
        let Some(role) = project.role() else {
            return Ok(Verdict::Unknown(
                "GitLab does not report its role".to_owned(),
            ));
        };
        let Some(rows) = self.protected_rows().await? else {
            let reason = "GitLab does not show the protected branches to this token";
            return Ok(Verdict::Unknown(reason.to_owned()));
        };
        let user = token.and_then(|token| token.user_id);
        for branch in &required.branches {
            let covering = covering(&rows, branch);
            let Some(row) = covering.first() else {
                continue;
            };
            // The most permissive rule counts
            // (<https://docs.gitlab.com/user/project/repository/branches/protected/>).
            let admits = |row: &&ProtectedRow| admits(&row.push_access_levels, role, user);
            let covered = format!("the protected branch `{}` covers {branch}", row.name);
            if !covering.iter().any(admits) {
                let hint = "allow the token's role to push to it, or change promote.branch and rollback.branch";
                return Ok(Verdict::Lacks(self.http.clean(&covered), hint.to_owned()));
            }
            if covering
                .iter()
                .all(|row| row.allow_force_push == Some(false))
            {
                let reason =
                    format!("{covered} and refuses force pushes, by which repin rebuilds it");
                let hint = "allow force pushes to it, or change promote.branch and rollback.branch";
                return Ok(Verdict::Warns(self.http.clean(&reason), hint.to_owned()));
            }
        }
        Ok(Verdict::Has(format!(
            "its role has the access level {role}"
        )))
    }

    /// The protected branches; `None` if the role may not list them: older servers show them to maintainers only.
    async fn protected_rows(&self) -> Result<Option<Vec<ProtectedRow>>, Error> {
        let path = ["protected_branches"];
        let what = "reading the protected branches";
        let request = self.request(Method::GET, &path, what).await?;
        let rows = self.http.pages(&request, Paging::NextPage).await;
        match rows {
            Err(error) if matches!(error.status, Some(403 | 404)) => Ok(None),
            rows => Ok(Some(rows?)),
        }
    }

    /// Whether the token may open and, if merges are scheduled, merge merge requests.
    async fn pulls_verdict(
        &self,
        project: &Project,
        token: Option<&TokenRow>,
        required: &RequiredRights,
    ) -> Result<Verdict, Error> {
        let Some(token) = token else {
            let reason = "GitLab does not report the scopes of this token".to_owned();
            return Ok(Verdict::Unknown(reason));
        };
        if let Some(reason) = lacks_api(&token.scopes) {
            return Ok(Verdict::Lacks(reason, ANOTHER_TOKEN.to_owned()));
        }
        let has = Verdict::Has(format!("its scopes are `{}`", token.scopes.join(", ")));
        let Some(base) = required.merges_into.as_deref() else {
            return Ok(has);
        };
        if let Err(error) = self.check_merge_method().await {
            let hint = error.help.clone().unwrap_or_default();
            return Ok(Verdict::Lacks(error.to_string(), hint));
        }
        let base = match base {
            "" => project.default_branch.as_deref().unwrap_or_default(),
            base => base,
        };
        let branch = self.branch_row(base).await?;
        if branch.is_some_and(|branch| branch.protected && !branch.developers_can_merge)
            && project.role().is_some_and(|role| role < MAINTAINER)
        {
            let rows = self.protected_rows().await?;
            let levels = rows.iter().flat_map(|rows| covering(rows, base));
            let mut levels = levels.flat_map(|row| &row.merge_access_levels);
            if rows.is_none() || levels.any(LevelRow::is_named) {
                let reason = format!(
                    "users or groups that repin does not resolve may merge into {base}; the token may be one of them"
                );
                return Ok(Verdict::Unknown(reason));
            }
            let reason = format!("only maintainers may merge into {base}");
            let hint = "give the token the role Maintainer, or let developers merge";
            return Ok(Verdict::Lacks(reason, hint.to_owned()));
        }
        if !project.requires_pipelines() {
            let reason = "auto_merge is set, and the project does not require pipelines to succeed";
            let hint =
                "turn on `Pipelines must succeed` in the project's settings for merge requests";
            return Ok(Verdict::Warns(reason.to_owned(), hint.to_owned()));
        }
        Ok(has)
    }
}

impl LevelRow {
    /// Whether it is that of a user or a group, not of a role.
    fn is_named(&self) -> bool {
        self.user_id.is_some() || self.group_id.is_some()
    }
}

/// Whether the levels admit a user with this role. A group may contain the user.
fn admits(levels: &[LevelRow], role: u64, user: Option<u64>) -> bool {
    levels.iter().any(|level| {
        let by_role = level.user_id.or(level.deploy_key_id).is_none()
            && level
                .access_level
                .is_some_and(|level| level > 0 && level <= role);
        let by_user = level.user_id.is_some() && (user.is_none() || level.user_id == user);
        by_role || by_user || level.group_id.is_some()
    })
}

/// The rules that protect a branch.
fn covering<'r>(rows: &'r [ProtectedRow], branch: &str) -> Vec<&'r ProtectedRow> {
    rows.iter()
        .filter(|row| matches_wildcard(&row.name, branch))
        .collect()
}

fn has_scope(scopes: &[String], sufficient: &[&str]) -> bool {
    scopes
        .iter()
        .any(|scope| sufficient.contains(&scope.as_str()))
}

/// The reason why scopes do not suffice for merge requests.
fn lacks_api(scopes: &[String]) -> Option<String> {
    (!has_scope(scopes, &["api"])).then(|| {
        format!(
            "its scopes are `{}`, and merge requests need `api`",
            scopes.join(", ")
        )
    })
}

/// Whether the name of a protected branch, in which `*` stands for any text, is that of a branch.
fn matches_wildcard(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some((_, after)) = name.split_once(part) else {
            return false;
        };
        name = after;
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_and_compared() {
        for (text, version) in [
            ("17.11.0-ee", Some((17, 11))),
            ("16.4.0-pre", Some((16, 4))),
            ("16.3.9", Some((16, 3))),
            ("18", None),
            ("", None),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
        }
    }

    #[test]
    fn wildcards_of_protected_branches_match_slashes() {
        for (pattern, name, expected) in [
            ("main", "main", true),
            ("main", "main2", false),
            ("auto/*", "auto/promote/x", true),
            ("*-stable", "a-stable", true),
            ("*-stable", "a-stable-2", false),
            ("*", "x", true),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--c", false),
        ] {
            assert_eq!(matches_wildcard(pattern, name), expected, "{pattern}");
        }
    }

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
