//! What Gitea and Forgejo tell about a token: whether its owner may push. Its scopes are told to
//! nobody but by a refusal.

use reqwest::Method;

use super::{
    super::rights::{ARCHIVED, Permission, Right, Verdict, Wanted},
    Gitea,
};
use crate::{error::Error, forge::Repo};

impl Gitea {
    pub(super) async fn read_rights(
        &self,
        repo: &Repo,
        wanted: &Wanted,
    ) -> Result<Vec<Right>, Error> {
        let hint = "use the token of somebody who may push, with the scopes write:repository and write:issue";
        let owner = match repo {
            Repo { archived: true, .. } => Some((ARCHIVED, "unarchive the repository")),
            Repo {
                may_push: Some(false),
                ..
            } => Some(("whoever it belongs to may not push", hint)),
            _ => None,
        };
        let owner = owner.map(|(why, hint)| Verdict::Lacks(why.to_owned(), hint.to_owned()));
        let may = if repo.may_push == Some(true) {
            "its owner may push"
        } else {
            "reading works"
        };
        let untold =
            |scope: &str| format!("{may}; whether it has the scope {scope} is told to nobody");
        let contents = owner
            .clone()
            .unwrap_or_else(|| Verdict::Unknown(untold("write:repository")));
        let pulls = match owner {
            Some(lacks) => lacks,
            None => {
                self.may_read_pulls(&untold("write:issue (labels, comments)"))
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
            none(Permission::Workflows, "it is no permission of its own here"),
            none(Permission::Actions, &untold("write:repository")),
            none(Permission::Packages, &untold("write:package")),
        ])
    }

    /// Pull requests belong to the scopes `repository`, their labels and comments to `issue`.
    async fn may_read_pulls(&self, otherwise: &str) -> Result<Verdict, Error> {
        let ask = |path: &str| {
            self.request(
                Method::GET,
                path,
                format!("looking whether {path} can be read"),
            )
        };
        for request in [ask("pulls").query("state", "open"), ask("labels")] {
            let read = self
                .http
                .send(&request.query("limit", 1))
                .await?
                .check(&[200]);
            if read.is_err() {
                return Verdict::of_reading(read, otherwise);
            }
        }
        Ok(Verdict::Unknown(otherwise.to_owned()))
    }
}
