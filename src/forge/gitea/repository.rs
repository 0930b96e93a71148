//! The repository, and the permissions of a token. Gitea and Forgejo report whether the owner may push;
//! only a refusal reports the scopes of the token.

use reqwest::Method;
use serde::Deserialize;

use super::{
    Gitea, nullable,
    version::{OLDEST_FORGEJO, OLDEST_GITEA, Version},
};
use crate::{
    base::error::{Class, Error},
    forge::{Permission, Push, Repo, RequiredRights, Right, Verdict, rights::ARCHIVED, shared},
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
    /// Whether pull requests are enabled; older servers do not report it.
    pub(super) has_pull_requests: Option<bool>,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

/// The features that a repository may disable; older servers do not report them.
#[derive(Deserialize)]
pub(super) struct FeaturesRow {
    has_pull_requests: Option<bool>,
    pub(super) has_issues: Option<bool>,
}

const PUSH_HINT: &str =
    "use the token of an account that may push, with the scopes write:repository and write:issue";
const NO_PULL_REQUESTS: &str = "pull requests are disabled";
const ENABLE_PULL_REQUESTS: &str =
    "enable pull requests in the repository's settings, or use --apply in a clone and push";

/// The error of a repository without pull requests.
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

impl Gitea {
    pub(crate) async fn check_version(&self) -> Result<(), Error> {
        let text = self.http.gitea_version().await?;
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

    pub(crate) async fn repository(&self) -> Result<Repo, Error> {
        let what = format!("reading the repository {}", self.full_name());
        let reply = self
            .http
            .repository(&self.request(Method::GET, "", what))
            .await?;
        let repo = reply.expect::<RepositoryRow>(&[200]).map(Repo::from)?;
        shared::check_name(&reply, &self.full_name(), &repo)?;
        Ok(repo)
    }

    pub(crate) async fn check_permissions(&self, repo: &Repo) -> Result<(), Error> {
        self.check_version().await?;
        let what = format!("Gitea: the token's permissions on {}", repo.full_name);
        shared::check_writable(repo, &what)?;
        if repo.push != Push::Denied {
            return Ok(());
        }
        Err(Error::about(Class::Denied, what, "the token's owner may not push").help(PUSH_HINT))
    }

    pub(crate) async fn rights(
        &self,
        repo: &Repo,
        required: &RequiredRights,
    ) -> Result<Vec<Right>, Error> {
        let evidence = if repo.push == Push::Allowed {
            "its owner may push"
        } else {
            "reading works"
        };
        let unknown = |scope: &str| {
            format!("{evidence}; Gitea does not report whether it has the scope {scope}")
        };
        let lacks = |reason: &str, hint: &str| Verdict::Lacks(reason.to_owned(), hint.to_owned());
        let (contents, pulls) = if repo.archived {
            let lacks = lacks(ARCHIVED, "unarchive the repository");
            (lacks.clone(), lacks)
        } else if repo.push == Push::Denied {
            let lacks = lacks("the token's owner may not push", PUSH_HINT);
            (lacks.clone(), lacks)
        } else {
            let pulls = unknown("write:issue (labels, comments)");
            let contents = Verdict::Unknown(unknown("write:repository"));
            (contents, self.pulls_verdict(&pulls).await?)
        };
        let mut rights = vec![
            Permission::Contents.with(contents),
            Permission::PullRequests.with(pulls),
        ];
        for (permission, reason) in [
            (
                Permission::Workflows,
                "Gitea has no such permission".to_owned(),
            ),
            (Permission::Actions, unknown("write:repository")),
            (Permission::Packages, unknown("write:package")),
        ] {
            let unneeded = permission.unneeded(required);
            rights.push(unneeded.unwrap_or_else(|| permission.with(Verdict::Unknown(reason))));
        }
        Ok(rights)
    }

    /// The scope `repository` covers pull requests, the scope `issue` their labels and comments.
    async fn pulls_verdict(&self, unknown: &str) -> Result<Verdict, Error> {
        for path in ["pulls", "labels"] {
            let mut request = self.request(Method::GET, path, format!("reading {path}"));
            if path == "pulls" {
                request = request.query("state", "open");
            }
            let reply = self.http.send(&request.query("limit", 1)).await?;
            if let Err(error) = reply.check(&[200]) {
                if self.has_no_pull_requests(&error).await {
                    return Ok(Verdict::Lacks(
                        NO_PULL_REQUESTS.to_owned(),
                        ENABLE_PULL_REQUESTS.to_owned(),
                    ));
                }
                return Verdict::of_reading(Err(error), unknown);
            }
        }
        Ok(Verdict::Unknown(unknown.to_owned()))
    }

    /// The features of the repository if `error` is a 404, which is also the response for a
    /// disabled feature.
    pub(super) async fn features(&self, error: &Error) -> Option<FeaturesRow> {
        if error.status != Some(404) {
            return None;
        }
        let what = "reading which parts of the repository are enabled";
        let reply = self.http.send(&self.request(Method::GET, "", what)).await;
        reply.ok()?.expect(&[200]).ok()
    }

    async fn has_no_pull_requests(&self, error: &Error) -> bool {
        let features = self.features(error).await;
        features.is_some_and(|features| features.has_pull_requests == Some(false))
    }

    /// The error, or that pull requests are disabled.
    pub(super) async fn without_pull_requests(&self, error: Error) -> Error {
        if self.has_no_pull_requests(&error).await {
            return no_pull_requests(&self.full_name());
        }
        error
    }
}
