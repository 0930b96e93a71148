//! The repository, and what GitHub reports about a token: a classic one's scopes, a person's role;
//! of other tokens only what they may not read.

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;

use super::{Github, refusal};
use crate::{
    error::{Class, Error},
    forge::{
        Ability, FileMode, Issues, Permission, PlannedWrites, Push, Repo, Repository,
        RequiredRights, Right, Signing, Verdict,
        http::{Http, Reply, Request},
        rights::{ARCHIVED, by_scopes},
        shared,
    },
    http::ServerTime,
};

/// Why the permissions of a token without scopes are unknown.
const UNREPORTED: &str = "GitHub does not report what an app's or a fine-grained token may write";

#[derive(Deserialize)]
struct RepositoryRow {
    full_name: String,
    default_branch: String,
    #[serde(default)]
    node_id: String,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    archived: bool,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

/// The token's scopes, as a response reports them. Only classic tokens have any; for one without
/// scopes the header is empty, for other tokens it is meaningless.
pub(super) fn scopes(http: &Http, reply: &Reply) -> Option<Vec<String>> {
    let scopes = reply.header("x-oauth-scopes").map(|scopes| {
        scopes
            .split(',')
            .map(str::trim)
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    scopes.filter(|scopes| !scopes.is_empty() || http.token().has_scopes())
}

#[async_trait(?Send)]
impl Repository for Github {
    fn name(&self) -> &'static str {
        "GitHub"
    }

    async fn supported(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn repository(&self) -> Result<Repo, Error> {
        let what = format!("reading the repository {}", self.full_name());
        let reply = self
            .http
            .repository(&self.request(Method::GET, "", what))
            .await?;
        let repository: RepositoryRow = reply.expect(&[200])?;
        let scopes = scopes(&self.http, &reply);
        let repo = Repo {
            full_name: repository.full_name,
            default_branch: repository.default_branch,
            node: repository.node_id,
            push: Push::reported(repository.permissions.map(|permissions| permissions.push)),
            scopes,
            public: !repository.private,
            archived: repository.archived,
        };
        shared::same_repository(&reply, &self.full_name(), &repo)?;
        Ok(repo)
    }

    async fn permit(&self, repo: &Repo, need: PlannedWrites) -> Result<(), Error> {
        let what = format!("GitHub: the token's permissions on {}", repo.full_name);
        shared::writable(repo, &what)?;
        if let Some(scopes) = &repo.scopes {
            let has = |name: &str| scopes.iter().any(|scope| scope == name);
            if !(has("repo") || repo.public && has("public_repo")) {
                let reason = format!(
                    "its scopes are `{}`, and pushing needs `repo`",
                    scopes.join(", ")
                );
                return Err(Error::about(Class::Denied, what, reason)
                    .help("give the token the scope `repo`"));
            }
            if need.workflows && !has("workflow") {
                return Err(refusal::no_workflows(
                    &what,
                    &format!("its scopes are `{}`", scopes.join(", ")),
                ));
            }
        }
        // For an app's installation, the token of a workflow's run among them, `push` is always
        // false.
        if repo.push == Push::Denied && !self.is_installation().await? {
            let reason = "the token's owner may not push";
            let hint = "use the token of an account that may push, or of an app with `contents: write` and `pull-requests: write`";
            return Err(Error::about(Class::Denied, what, reason).help(hint));
        }
        Ok(())
    }

    async fn rights(&self, repo: &Repo, wanted: &RequiredRights) -> Result<Vec<Right>, Error> {
        let mut rights = Vec::new();
        // For an app's token, `push` is always false.
        let role = repo.push == Push::Denied && !self.is_installation().await?;
        for permission in [Permission::Contents, Permission::PullRequests] {
            rights.push(match &repo.scopes {
                _ if repo.archived => {
                    let hint = "unarchive the repository".to_owned();
                    permission.is(Verdict::Lacks(ARCHIVED.to_owned(), hint))
                }
                _ if role => {
                    let hint = "use the token of an account that may push, or of an app with `contents: write` and \
                                `pull-requests: write`";
                    permission.is(Verdict::Lacks("the token's owner may not push".to_owned(), hint.to_owned()))
                }
                Some(scopes) if repo.public => by_scopes(permission, scopes, &["repo", "public_repo"]),
                Some(scopes) => by_scopes(permission, scopes, &["repo"]),
                None if permission == Permission::PullRequests => self.may_read_pulls().await?,
                None => permission.is(Verdict::Unknown(format!("reading works; {UNREPORTED}"))),
            });
        }
        rights.push(workflows(repo, wanted));
        rights.push(self.actions(wanted).await?);
        rights.push(packages(repo, wanted));
        Ok(rights)
    }

    async fn signing(&self, base: &str, files: &[FileMode<'_>]) -> Result<Signing, Error> {
        let protected = self
            .branch_head(base)
            .await?
            .is_some_and(|base| base.protected);
        if !self.requires_signatures(base, protected).await? {
            return Ok(Signing::NotRequired);
        }
        Ok(match self.sign_obstacle(files.iter().copied()) {
            None => Signing::Forge,
            Some(_) if self.is_installation().await? => Signing::App,
            Some((reason, hint)) => Signing::Nothing(reason, hint),
        })
    }

    fn server_time(&self) -> Option<ServerTime> {
        self.http.server_time()
    }

    async fn back_off(&self, round: u32) {
        self.http.back_off(round).await;
    }
}

impl Github {
    /// Whether the token is an app's; GitHub does not report the permissions of those.
    async fn is_installation(&self) -> Result<bool, Error> {
        if let Some(known) = self.facts.installation() {
            return Ok(known);
        }
        let what = "GitHub: checking whether the token is an app's";
        let request =
            Request::new(Method::GET, ["installation", "repositories"], what).query("per_page", 1);
        let installation = self.http.send(&request).await?.status == 200;
        self.facts.keep_installation(installation);
        Ok(installation)
    }

    async fn may_read_pulls(&self) -> Result<Right, Error> {
        let request = self.request(Method::GET, "pulls", "reading pull requests");
        let reply = self
            .http
            .send(&request.query("state", "open").query("per_page", 1))
            .await?;
        let verdict =
            Verdict::of_reading(reply.check(&[200]), &format!("reading works; {UNREPORTED}"))?;
        Ok(Permission::PullRequests.is(verdict))
    }

    async fn actions(&self, wanted: &RequiredRights) -> Result<Right, Error> {
        let permission = Permission::Actions;
        if let Some(right) = permission.unneeded(wanted) {
            return Ok(right);
        }
        for workflow in &wanted.dispatch {
            let (ability, read) = match self.can_dispatch(workflow).await {
                Ok(ability) => (Some(ability), Ok(())),
                Err(error) => (None, Err(error)),
            };
            if let Some(Ability::No(reason)) = ability {
                let hint = "correct forge.dispatch, or give the token `actions: write`".to_owned();
                return Ok(permission.is(Verdict::Lacks(reason, hint)));
            }
            if read.is_err() {
                return Ok(permission.is(Verdict::of_reading(read, "")?));
            }
        }
        Ok(permission.is(Verdict::Unknown(format!(
            "the workflows exist; {UNREPORTED}"
        ))))
    }
}

fn workflows(repo: &Repo, wanted: &RequiredRights) -> Right {
    let permission = Permission::Workflows;
    if let Some(right) = permission.unneeded(wanted) {
        return right;
    }
    if let Some(scopes) = &repo.scopes {
        return by_scopes(permission, scopes, &["workflow"]);
    }
    let reason = format!(
        "{UNREPORTED}; GITHUB_TOKEN cannot have `workflows: write`, an app's or a person's token can"
    );
    permission.is(Verdict::Unknown(reason))
}

fn packages(repo: &Repo, wanted: &RequiredRights) -> Right {
    let permission = Permission::Packages;
    if let Some(right) = permission.unneeded(wanted) {
        return right;
    }
    match &repo.scopes {
        Some(scopes) => by_scopes(permission, scopes, &["delete:packages"]),
        None => permission.is(Verdict::Unknown(UNREPORTED.to_owned())),
    }
}
