//! What GitHub tells about a token: a classic one's scopes, a person's role; of others only what
//! they may not read.

use reqwest::Method;

use super::{
    super::rights::{ARCHIVED, Permission, Right, Verdict, Wanted, by_scopes},
    Github,
};
use crate::{
    error::Error,
    forge::{Ability, Repo},
};

/// Whom the token of a workflow's run belongs to.
const ACTIONS_BOT: &str = "github-actions[bot]";

/// Why nothing can be said about a token that has no scopes.
const UNTOLD: &str = "GitHub tells nobody what an app's or a fine-grained token may write";

impl Github {
    pub(super) async fn read_rights(
        &self,
        repo: &Repo,
        wanted: &Wanted,
    ) -> Result<Vec<Right>, Error> {
        let mut rights = Vec::new();
        // An app's token is nobody's: for one, `push` is always false.
        let role = repo.may_push == Some(false) && !self.is_installation().await?;
        for permission in [Permission::Contents, Permission::PullRequests] {
            rights.push(match &repo.scopes {
                _ if repo.archived => {
                    let hint = "unarchive the repository".to_owned();
                    permission.is(Verdict::Lacks(ARCHIVED.to_owned(), hint))
                }
                _ if role => {
                    let hint = "use the token of somebody who may push, or of an app with `contents: write` and \
                                `pull-requests: write`";
                    permission.is(Verdict::Lacks("whoever it belongs to may not push".to_owned(), hint.to_owned()))
                }
                Some(scopes) if repo.public => by_scopes(permission, scopes, &["repo", "public_repo"]),
                Some(scopes) => by_scopes(permission, scopes, &["repo"]),
                None if permission == Permission::PullRequests => self.may_read_pulls().await?,
                None => permission.is(Verdict::Unknown(format!("reading works; {UNTOLD}"))),
            });
        }
        rights.push(workflows(repo, wanted));
        rights.push(self.actions(wanted).await?);
        rights.push(packages(repo, wanted));
        Ok(rights)
    }

    /// The token of a workflow's run looks like that of any app's installation, and whom it belongs
    /// to tells it apart. GitHub starts nothing on account of it (GitHub Actions, "Automatic token
    /// authentication").
    pub(super) async fn check_ability(&self) -> Result<Ability, Error> {
        let installation = self.http.token().expose().starts_with("ghs_");
        if !installation || self.viewer().await?.as_deref() != Some(ACTIONS_BOT) {
            return Ok(Ability::Yes);
        }
        let why = "the token is the GITHUB_TOKEN of a workflow's run: GitHub starts no workflow on pull requests \
                   that are opened or updated with it, so checks of those never report";
        Ok(Ability::No(why.to_owned()))
    }

    async fn may_read_pulls(&self) -> Result<Right, Error> {
        let request = self.request(
            Method::GET,
            "pulls",
            "looking whether pull requests can be read",
        );
        let reply = self
            .http
            .send(&request.query("state", "open").query("per_page", 1))
            .await?;
        let verdict =
            Verdict::of_reading(reply.check(&[200]), &format!("reading works; {UNTOLD}"))?;
        Ok(Permission::PullRequests.is(verdict))
    }

    async fn actions(&self, wanted: &Wanted) -> Result<Right, Error> {
        let permission = Permission::Actions;
        if let Some(right) = permission.unneeded(wanted) {
            return Ok(right);
        }
        for workflow in &wanted.dispatch {
            let (ability, read) = match self.dispatch_ability(workflow).await {
                Ok(ability) => (Some(ability), Ok(())),
                Err(error) => (None, Err(error)),
            };
            if let Some(Ability::No(why)) = ability {
                let hint = "correct forge.dispatch, or give the token `actions: write`".to_owned();
                return Ok(permission.is(Verdict::Lacks(why, hint)));
            }
            if read.is_err() {
                return Ok(permission.is(Verdict::of_reading(read, "")?));
            }
        }
        Ok(permission.is(Verdict::Unknown(format!(
            "the workflows are there; {UNTOLD}"
        ))))
    }
}

fn workflows(repo: &Repo, wanted: &Wanted) -> Right {
    let permission = Permission::Workflows;
    if let Some(right) = permission.unneeded(wanted) {
        return right;
    }
    if let Some(scopes) = &repo.scopes {
        return by_scopes(permission, scopes, &["workflow"]);
    }
    let why =
        format!("{UNTOLD}; GITHUB_TOKEN can't have `workflows: write`, an app's or a person's can");
    permission.is(Verdict::Unknown(why))
}

fn packages(repo: &Repo, wanted: &Wanted) -> Right {
    let permission = Permission::Packages;
    if let Some(right) = permission.unneeded(wanted) {
        return right;
    }
    match &repo.scopes {
        Some(scopes) => by_scopes(permission, scopes, &["delete:packages"]),
        None => permission.is(Verdict::Unknown(UNTOLD.to_owned())),
    }
}
