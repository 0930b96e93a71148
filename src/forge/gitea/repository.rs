//! The repository, and what Gitea and Forgejo report about a token: whether its owner may push. Only
//! a refusal reports its scopes.

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Gitea, nullable,
    version::{OLDEST_FORGEJO, OLDEST_GITEA, Version},
};
use crate::{
    error::{Class, Error},
    forge::{
        FileMode, Permission, PlannedWrites, Push, Repo, Repository, RequiredRights, Right,
        Signing, Verdict, rights::ARCHIVED, shared,
    },
    http::ServerTime,
};

#[derive(Deserialize)]
pub(super) struct RepositoryRow {
    pub(super) full_name: String,
    default_branch: String,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    pub(super) archived: bool,
    #[serde(default)]
    pub(super) empty: bool,
    #[serde(default, deserialize_with = "nullable::reported_list")]
    pub(super) topics: Option<Vec<String>>,
    /// Whether pull requests are enabled; older servers may leave it out.
    pub(super) has_pull_requests: Option<bool>,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

/// The field that reports whether pull requests are enabled.
const HAS_PULL_REQUESTS: &str = "has_pull_requests";
const NO_PULL_REQUESTS: &str = "pull requests are disabled";
const ENABLE_PULL_REQUESTS: &str =
    "enable pull requests in the repository's settings, or use --apply in a clone and push";

/// The error of a repository whose pull requests are disabled.
pub(super) fn no_pull_requests(repository: &str) -> Error {
    Error::about(
        Class::Denied,
        format!("Gitea: {repository}"),
        NO_PULL_REQUESTS,
    )
    .help(ENABLE_PULL_REQUESTS)
}

impl From<RepositoryRow> for Repo {
    fn from(row: RepositoryRow) -> Self {
        Self {
            full_name: row.full_name,
            default_branch: row.default_branch,
            node: String::new(),
            push: Push::reported(row.permissions.map(|permissions| permissions.push)),
            scopes: None,
            public: !row.private,
            archived: row.archived,
        }
    }
}

#[async_trait(?Send)]
impl Repository for Gitea {
    fn name(&self) -> &'static str {
        "Gitea"
    }

    async fn supported(&self) -> Result<(), Error> {
        let text = self.version_text().await?;
        if Version::parse(&text).is_supported() {
            return Ok(());
        }
        let reason = format!(
            "version {} is not supported: repin needs Gitea {}.{} or Forgejo {OLDEST_FORGEJO}, or newer",
            self.http.clean(&text),
            OLDEST_GITEA.0,
            OLDEST_GITEA.1
        );
        let what = format!("Gitea: the server at {}", self.http.base());
        Err(Error::about(Class::Input, what, reason)
            .help("upgrade the server, or promote with --apply in a clone and push"))
    }

    async fn repository(&self) -> Result<Repo, Error> {
        let what = format!("reading the repository {}", self.full_name());
        let reply = self
            .http
            .repository(&self.request(Method::GET, "", what))
            .await?;
        let repo = reply.expect::<RepositoryRow>(&[200]).map(Repo::from)?;
        shared::same_repository(&reply, &self.full_name(), &repo)?;
        Ok(repo)
    }

    async fn permit(&self, repo: &Repo, _: PlannedWrites) -> Result<(), Error> {
        self.supported().await?;
        let what = format!("Gitea: the token's permissions on {}", repo.full_name);
        shared::writable(repo, &what)?;
        if repo.push != Push::Denied {
            return Ok(());
        }
        let hint = "use the token of an account that may push, with the scopes write:repository and write:issue";
        Err(Error::about(Class::Denied, what, "the token's owner may not push").help(hint))
    }

    async fn rights(&self, repo: &Repo, wanted: &RequiredRights) -> Result<Vec<Right>, Error> {
        let hint = "use the token of an account that may push, with the scopes write:repository and write:issue";
        let owner = match repo {
            Repo { archived: true, .. } => Some((ARCHIVED, "unarchive the repository")),
            Repo {
                push: Push::Denied, ..
            } => Some(("the token's owner may not push", hint)),
            _ => None,
        };
        let owner = owner.map(|(why, hint)| Verdict::Lacks(why.to_owned(), hint.to_owned()));
        let may = if repo.push == Push::Allowed {
            "its owner may push"
        } else {
            "reading works"
        };
        let unreported =
            |scope: &str| format!("{may}; Gitea does not report whether it has the scope {scope}");
        let contents = owner
            .clone()
            .unwrap_or_else(|| Verdict::Unknown(unreported("write:repository")));
        let pulls = match owner {
            Some(lacks) => lacks,
            None => {
                self.may_read_pulls(&unreported("write:issue (labels, comments)"))
                    .await?
            }
        };
        let none = |permission: Permission, why: &str| {
            let unneeded = permission.unneeded(wanted);
            unneeded.unwrap_or_else(|| permission.is(Verdict::Unknown(why.to_owned())))
        };
        Ok(vec![
            Permission::Contents.is(contents),
            Permission::PullRequests.is(pulls),
            none(Permission::Workflows, "Gitea has no such permission"),
            none(Permission::Actions, &unreported("write:repository")),
            none(Permission::Packages, &unreported("write:package")),
        ])
    }

    /// Ignores what a protection requires of signatures: the server signs by its own settings.
    async fn signing(&self, _base: &str, _files: &[FileMode<'_>]) -> Result<Signing, Error> {
        Ok(Signing::Unknown)
    }

    fn server_time(&self) -> Option<ServerTime> {
        self.http.server_time()
    }

    async fn back_off(&self, round: u32) {
        self.http.back_off(round).await;
    }
}

impl Gitea {
    /// Pull requests belong to the scopes `repository`, their labels and comments to `issue`.
    async fn may_read_pulls(&self, otherwise: &str) -> Result<Verdict, Error> {
        let ask = |path: &str| self.request(Method::GET, path, format!("reading {path}"));
        for request in [ask("pulls").query("state", "open"), ask("labels")] {
            let read = self
                .http
                .send(&request.query("limit", 1))
                .await?
                .check(&[200]);
            if let Err(error) = read {
                if self.is_disabled(&error, HAS_PULL_REQUESTS).await {
                    return Ok(Verdict::Lacks(
                        NO_PULL_REQUESTS.to_owned(),
                        ENABLE_PULL_REQUESTS.to_owned(),
                    ));
                }
                return Verdict::of_reading(Err(error), otherwise);
            }
        }
        Ok(Verdict::Unknown(otherwise.to_owned()))
    }

    /// Whether a 404 means that a part of the repository is disabled; `key`: the field that reports
    /// it.
    pub(super) async fn is_disabled(&self, error: &Error, key: &str) -> bool {
        if error.status != Some(404) {
            return false;
        }
        let what = "reading which parts of the repository are enabled";
        let answer = self.http.send(&self.request(Method::GET, "", what)).await;
        let row = answer.map_err(Error::from);
        let row = row.and_then(|reply| reply.expect::<Value>(&[200]));
        row.is_ok_and(|row| row[key] == false)
    }

    /// The same error, or that pull requests are disabled: the server answers 404 to both.
    pub(super) async fn without_pull_requests(&self, error: Error) -> Error {
        if self.is_disabled(&error, HAS_PULL_REQUESTS).await {
            return no_pull_requests(&self.full_name());
        }
        error
    }
}
