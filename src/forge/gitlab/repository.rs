//! The permissions of a token, and the version of the server.

use regex::Regex;
use reqwest::Method;
use serde::Deserialize;

use super::{
    ANOTHER_TOKEN, Gitlab, OF_JOB,
    project::{Project, TokenRow},
};
use crate::{
    base::error::{Class, Error},
    forge::{
        Kind, MergeMethod, Push, Repo, RequiredRights, Right, Verdict,
        http::{Http, Paging, Reply, Request, renamed},
        shared::{self, ARCHIVED, by_scopes, version_numbers},
    },
};

/// The access level of the role Maintainer.
const MAINTAINER: u64 = 40;

/// The oldest supported version: since then, a registry deletes tags by the API of OCI.
const OLDEST: (u32, u32) = (16, 4);

/// The version in which `merge_when_pipeline_succeeds` was renamed to `auto_merge`.
const AUTO_MERGE: (u32, u32) = (17, 11);

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

/// The answer about a project by its name.
pub(super) enum Lookup {
    Present(Box<Project>),
    /// The new name if GitLab reports it.
    Moved(Option<String>, Error),
    Missing(Error),
}

/// The numbers of a version such as `17.11.0-ee`; `None` for a build without a number.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let [major, minor] = version_numbers(text);
    Some((major?, minor?))
}

impl Http {
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
        // The new project may not be visible to this token.
        let project: Option<Project> = self.find(&request, &[404]).await?;
        Ok(project.map(|project| project.path_with_namespace))
    }
}

impl Gitlab {
    /// GitLab does not tell its version to the token of a job.
    pub(crate) async fn check_version(&self) -> Result<(), Error> {
        if self.http.token().is_of_job() {
            return Ok(());
        }
        self.check_kind_for_api()?;
        let text = self.http.version(Kind::Gitlab).await?;
        if parse_version(&text).is_none_or(|version| version >= OLDEST) {
            return Ok(());
        }
        let oldest = format!("GitLab {}.{} or newer", OLDEST.0, OLDEST.1);
        Err(self.http.unsupported(Kind::Gitlab, &text, &oldest))
    }

    /// The name of the parameter that schedules a merge.
    pub(super) async fn auto_merge_parameter(&self) -> Result<&'static str, Error> {
        let version = parse_version(&self.http.version(Kind::Gitlab).await?);
        let is_new = version.is_none_or(|version| version >= AUTO_MERGE);
        let has_trains = self.project().await?.merge_trains_enabled == Some(true);
        Ok(match (is_new, has_trains) {
            (true, _) => "auto_merge",
            (false, true) => "when_pipeline_succeeds",
            (false, false) => "merge_when_pipeline_succeeds",
        })
    }

    /// The project, which is read once.
    pub(super) async fn project(&self) -> Result<&Project, Error> {
        let read = async || match self.look_up().await? {
            Lookup::Present(project) if project.is_empty() => {
                let what = format!("GitLab: {}", self.full_name);
                let reason = "the repository has no commit";
                Err(Error::about(Class::Refused, what, reason)
                    .help("push the first commit, or correct forge.repository"))
            }
            Lookup::Present(project) => Ok(*project),
            Lookup::Moved(_, error) | Lookup::Missing(error) => Err(error),
        };
        self.project.get_or_try_init(read).await
    }

    fn check_kind_for_api(&self) -> Result<(), Error> {
        if !self.http.token().is_of_deployment() {
            return Ok(());
        }
        let reason = "a deploy token cannot use the API";
        Err(Error::about(Class::Denied, "GitLab: the token", reason).help(ANOTHER_TOKEN))
    }

    /// Requests the project by its name. For the token of a job, a project that is not public is missing: GitLab counts
    /// such a token as none here (<https://docs.gitlab.com/ci/jobs/ci_job_token/#job-token-access>).
    pub(super) async fn look_up(&self) -> Result<Lookup, Error> {
        self.check_kind_for_api()?;
        let full_name = &self.full_name;
        let what = format!("GitLab: reading the project {full_name}");
        let mut request = Request::new(Method::GET, ["projects"], what);
        request.path.push(full_name.clone());
        request.handles_redirect = true;
        let reply = match self.http.repository(&request).await {
            Err(error) if error.status == Some(404) && self.http.token().is_of_job() => {
                let message = format!(
                    "{}: {OF_JOB}, and shows only public projects",
                    error.message
                );
                return Err(Error { message, ..error }.help(ANOTHER_TOKEN));
            }
            Err(error) if error.status == Some(404) => return Ok(Lookup::Missing(error)),
            reply => reply?,
        };
        if reply.is_redirect() {
            let new = self.http.gitlab_new_name(&reply).await?;
            let error = match &new {
                Some(new) => renamed(reply.what(), full_name, new),
                None => self.http.redirected(&reply),
            };
            return Ok(Lookup::Moved(new, error));
        }
        let project: Project = reply.expect(&[200])?;
        // The format shows that the server is supported.
        if project.repository_object_format.is_none() {
            self.check_version().await?;
        }
        Ok(
            match shared::check_name(&reply, full_name, &Repo::from(&project)) {
                Ok(()) => Lookup::Present(Box::new(project)),
                Err(error) => Lookup::Moved(Some(project.path_with_namespace), error),
            },
        )
    }

    /// Stores a project that was read.
    pub(super) fn know(&self, project: &Project) {
        let _ = self.project.set(project.clone());
    }

    pub(crate) async fn repository(&self) -> Result<Repo, Error> {
        Ok(Repo::from(self.project().await?))
    }

    /// Whether a merge request squashes its commits, by the configured method and the project's setting.
    pub(super) fn squashes(&self, project: &Project) -> bool {
        match self.method {
            MergeMethod::Squash => true,
            MergeMethod::Merge | MergeMethod::Rebase => false,
            MergeMethod::Auto => project.squashes(),
        }
    }

    pub(crate) async fn check_permissions(&self, repo: &Repo) -> Result<(), Error> {
        self.check_token_kind()?;
        let what = format!("GitLab: the token's permissions on {}", repo.full_name);
        shared::check_writable(repo, &what)?;
        let project = self.project().await?;
        let denied = || project.refusal("the token's owner may not push", ANOTHER_TOKEN);
        let denied = (repo.push == Push::Denied).then(denied);
        if let Some(error) = project.unusable().or(denied) {
            return Err(error);
        }
        if let Some(token) = self.token_row().await?
            && let Verdict::Lacks(reason, hint) = by_scopes(&token.scopes, &["api"])
        {
            return Err(Error::about(Class::Denied, what, reason).help(hint));
        }
        Ok(())
    }

    /// The token's own properties; `None` if GitLab does not show them.
    async fn token_row(&self) -> Result<Option<&TokenRow>, Error> {
        let path = ["personal_access_tokens", "self"];
        let what = "GitLab: reading the scopes of the token";
        let mut request = Request::new(Method::GET, path, what);
        request.handles_unauthorized = true;
        let read = self.http.find(&request, &[400, 401, 403, 404]);
        let token = self.http.server.gitlab.token.get_or_try_init(|| read);
        Ok(token.await?.as_ref())
    }

    pub(crate) async fn rights(
        &self,
        repo: &Repo,
        required: &RequiredRights,
    ) -> Result<Vec<Right>, Error> {
        let project = self.project().await?;
        let archived = || project.refusal(ARCHIVED, "unarchive the project");
        let archived = repo.archived.then(archived);
        let (contents, pulls) = if let Err(error) = self.check_token_kind() {
            let contents = Verdict::unknown("a job may push if the project allows it");
            (contents, Verdict::from_refusal(&error))
        } else if let Some(error) = archived.or(project.unusable()) {
            let lacks = Verdict::from_refusal(&error);
            (lacks.clone(), lacks)
        } else {
            let contents = self.contents_verdict(required).await?;
            (contents, self.pulls_verdict(required).await?)
        };
        let others = [
            "GitLab has no such permission",
            "GitLab starts pipelines after a merge by itself",
            "images are deleted with the credentials of the registry",
        ];
        let others = others.map(str::to_owned);
        Ok(shared::rights(contents, pulls, others, None))
    }

    /// Whether the token may push the branches of promotions.
    async fn contents_verdict(&self, required: &RequiredRights) -> Result<Verdict, Error> {
        let token = self.token_row().await?;
        let scopes = token.map(|token| by_scopes(&token.scopes, &["api", "write_repository"]));
        if let Some(lacks @ Verdict::Lacks(..)) = scopes {
            return Ok(lacks);
        }
        let Some(role) = self.project().await?.role() else {
            return Ok(Verdict::unknown("GitLab does not report its role"));
        };
        let Some(rows) = self.protected_rows().await? else {
            let reason = "GitLab does not show the protected branches to this token";
            return Ok(Verdict::unknown(reason));
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
                return Ok(Verdict::lacks(self.http.clean(&covered), hint));
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
        let evidence = format!("its role has the access level {role}");
        Ok(Verdict::Has(evidence))
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
    async fn pulls_verdict(&self, required: &RequiredRights) -> Result<Verdict, Error> {
        let project = self.project().await?;
        let Some(token) = self.token_row().await? else {
            let reason = "GitLab does not report the scopes of this token";
            return Ok(Verdict::unknown(reason));
        };
        let scopes = by_scopes(&token.scopes, &["api"]);
        let (Some(base), Verdict::Has(_)) = (required.merges_into.as_deref(), &scopes) else {
            return Ok(scopes);
        };
        if let Err(error) = self.check_merge_method().await {
            return Ok(Verdict::from_refusal(&error));
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
            let is_named = |level: &LevelRow| level.user_id.or(level.group_id).is_some();
            if rows.is_none() || levels.any(is_named) {
                let reason = format!(
                    "users or groups that repin does not resolve may merge into {base}; the token may be one of them"
                );
                return Ok(Verdict::unknown(reason));
            }
            let reason = format!("only maintainers may merge into {base}");
            let hint = "give the token the role Maintainer, or let developers merge";
            return Ok(Verdict::lacks(reason, hint));
        }
        if project.only_allow_merge_if_pipeline_succeeds != Some(true) {
            let reason = "auto_merge is set, and the project does not require pipelines to succeed";
            let hint =
                "turn on `Pipelines must succeed` in the project's settings for merge requests";
            return Ok(Verdict::Warns(reason.to_owned(), hint.to_owned()));
        }
        Ok(scopes)
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

/// Whether the name of a protected branch, in which `*` stands for any text, is that of a branch.
fn matches_wildcard(pattern: &str, name: &str) -> bool {
    let pattern = format!("(?s)^{}$", regex::escape(pattern).replace(r"\*", ".*"));
    Regex::new(&pattern).is_ok_and(|pattern| pattern.is_match(name))
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
}
