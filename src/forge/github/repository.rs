//! The repository, and the permissions of a token. GitHub reports the scopes of a classic token and the
//! role of its owner; for other tokens it only refuses requests.
//!
//! The errors of refused writes.

use reqwest::Method;
use serde::Deserialize;

use super::Github;
use crate::{
    base::error::{Class, Error},
    forge::{
        Ability, FileMode, Permission, PlannedWrites, Push, Repo, RequiredRights, Right, Sign,
        Signing, Verdict,
        http::{Http, Reply, Request},
        shared::{self, ARCHIVED, by_scopes},
        workflows,
    },
};

const PUSH_HINT: &str = "use the token of an account that may push, or of an app with `contents: write` and `pull-requests: write`";

/// The note if the permissions of a token without scopes are unknown.
const UNREPORTED: &str = "GitHub does not report what an app's or a fine-grained token may write";

#[derive(Deserialize)]
struct RepositoryRow {
    full_name: String,
    default_branch: String,
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

/// The scopes of the token, as a response reports them. Only classic tokens have scopes; the header is
/// empty for a classic token without scopes, and meaningless for other tokens.
pub(super) fn scopes(http: &Http, reply: &Reply) -> Option<Vec<String>> {
    let mut scopes = Vec::new();
    for scope in reply.header("x-oauth-scopes")?.split(',').map(str::trim) {
        if !scope.is_empty() {
            scopes.push(scope.to_owned());
        }
    }
    (!scopes.is_empty() || http.token().has_scopes()).then_some(scopes)
}

impl Github {
    pub(crate) async fn repository(&self) -> Result<Repo, Error> {
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
            push: Push::reported(repository.permissions.map(|permissions| permissions.push)),
            scopes,
            public: !repository.private,
            archived: repository.archived,
        };
        shared::check_name(&reply, &self.full_name(), &repo)?;
        Ok(repo)
    }

    pub(crate) async fn check_permissions(
        &self,
        repo: &Repo,
        planned: PlannedWrites,
    ) -> Result<(), Error> {
        let what = format!("GitHub: the token's permissions on {}", repo.full_name);
        shared::check_writable(repo, &what)?;
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
            if planned.workflows && !has("workflow") {
                return Err(workflows::missing_permission(
                    &what,
                    &format!("its scopes are `{}`", scopes.join(", ")),
                ));
            }
        }
        // For the installation of an app, and so for the token of a workflow run, `push` is always
        // false.
        if repo.push == Push::Denied && !self.is_installation().await? {
            let reason = "the token's owner may not push";
            return Err(Error::about(Class::Denied, what, reason).help(PUSH_HINT));
        }
        Ok(())
    }

    pub(crate) async fn rights(
        &self,
        repo: &Repo,
        required: &RequiredRights,
    ) -> Result<Vec<Right>, Error> {
        let mut rights = Vec::new();
        // For the token of an app, `push` is always false.
        let may_not_push = repo.push == Push::Denied && !self.is_installation().await?;
        for permission in [Permission::Contents, Permission::PullRequests] {
            rights.push(match &repo.scopes {
                _ if repo.archived => {
                    permission.with(Verdict::lacks(ARCHIVED, "unarchive the repository"))
                }
                _ if may_not_push => {
                    permission.with(Verdict::lacks("the token's owner may not push", PUSH_HINT))
                }
                Some(scopes) if repo.public => {
                    permission.with(by_scopes(scopes, &["repo", "public_repo"]))
                }
                Some(scopes) => permission.with(by_scopes(scopes, &["repo"])),
                None if permission == Permission::PullRequests => self.pulls_right().await?,
                None => permission.with(Verdict::unknown(format!("reading works; {UNREPORTED}"))),
            });
        }
        rights.push(workflows_right(repo, required));
        rights.push(self.actions(required).await?);
        rights.push(packages(repo, required));
        Ok(rights)
    }

    pub(crate) async fn signing(
        &self,
        base: &str,
        files: &[FileMode<'_>],
    ) -> Result<Signing, Error> {
        if self.sign == Sign::Git {
            return Ok(Signing::User);
        }
        if !self.requires_signatures(base, None).await? {
            return Ok(Signing::NotRequired);
        }
        Ok(match self.sign_obstacle(files.iter().copied()) {
            None => Signing::Forge,
            Some((reason, hint)) => Signing::Nothing(reason, hint),
        })
    }

    /// Whether the token belongs to the installation of an app; GitHub does not report its permissions.
    async fn is_installation(&self) -> Result<bool, Error> {
        if let Some(installation) = self.facts.installation() {
            return Ok(installation);
        }
        let what = "GitHub: checking whether the token is an app's";
        let request =
            Request::new(Method::GET, ["installation", "repositories"], what).query("per_page", 1);
        let installation = self.http.send(&request).await?.status == 200;
        self.facts.set_installation(installation);
        Ok(installation)
    }

    async fn pulls_right(&self) -> Result<Right, Error> {
        let request = self.request(Method::GET, "pulls", "reading pull requests");
        let reply = self
            .http
            .send(&request.query("state", "open").query("per_page", 1))
            .await?;
        let verdict =
            Verdict::from_reading(reply.check(&[200]), &format!("reading works; {UNREPORTED}"))?;
        Ok(Permission::PullRequests.with(verdict))
    }

    async fn actions(&self, required: &RequiredRights) -> Result<Right, Error> {
        let permission = Permission::Actions;
        if let Some(right) = permission.unneeded(required) {
            return Ok(right);
        }
        for workflow in &required.dispatch {
            let verdict = match self.can_dispatch(workflow).await {
                Ok(Ability::Yes) => continue,
                Ok(Ability::No(reason)) => {
                    let hint = "correct forge.dispatch, or give the token `actions: write`";
                    Verdict::lacks(reason, hint)
                }
                Err(error) => Verdict::from_reading(Err(error), "")?,
            };
            return Ok(permission.with(verdict));
        }
        Ok(permission.with(Verdict::unknown(format!(
            "the workflows exist; {UNREPORTED}"
        ))))
    }
}

fn workflows_right(repo: &Repo, required: &RequiredRights) -> Right {
    let permission = Permission::Workflows;
    if let Some(right) = permission.unneeded(required) {
        return right;
    }
    if let Some(scopes) = &repo.scopes {
        return permission.with(by_scopes(scopes, &["workflow"]));
    }
    let reason = format!(
        "{UNREPORTED}; GITHUB_TOKEN cannot have `workflows: write`, an app's or a person's token can"
    );
    permission.with(Verdict::unknown(reason))
}

fn packages(repo: &Repo, required: &RequiredRights) -> Right {
    let permission = Permission::Packages;
    if let Some(right) = permission.unneeded(required) {
        return right;
    }
    match &repo.scopes {
        Some(scopes) => permission.with(by_scopes(scopes, &["delete:packages"])),
        None => permission.with(Verdict::unknown(UNREPORTED)),
    }
}

/// The error of a refused write if the repository is archived ("Repository was archived so is
/// read-only.").
pub(super) fn archived(error: &Error) -> Option<Error> {
    if !error.message.contains("was archived") {
        return None;
    }
    let error = Error {
        message: format!("{ARCHIVED}: {}", error.message),
        ..error.clone()
    };
    Some(error.class(Class::Denied).help("unarchive the repository"))
}

/// The error of a refused write; `hint`: the remedy for a token that lacks the permission.
pub(super) fn denied(reply: &Reply, hint: &str) -> Error {
    let error = reply.error();
    archived(&error).unwrap_or_else(|| error.help(hint))
}
