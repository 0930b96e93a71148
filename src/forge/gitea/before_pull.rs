//! The repository and the branch before a pull request is opened, with two requests. A list of all pull requests from
//! the branch would need one request for each page of the repository: the server does not filter by branch.

use reqwest::Method;
use serde::Deserialize;

use super::{Gitea, repository::RepositoryRow};
use crate::{
    base::error::Error,
    forge::{Repo, UnusedBranch},
};

/// A pull request, with its repository.
#[derive(Deserialize)]
struct NewestRow {
    number: u64,
    base: BaseRow,
}

#[derive(Deserialize)]
struct BaseRow {
    repo: RepositoryRow,
}

/// The body of the server's own 404: it has the address of the documentation, which a server or a proxy that does not
/// know a request omits (`APIContext.NotFound` in `services/context/api.go`).
#[derive(Deserialize)]
struct NotFoundRow {
    #[serde(rename = "url")]
    _documentation: String,
}

impl Gitea {
    /// The repository, and the number of its newest pull request. If the answer differs from the expected, the repository
    /// is read by itself, whose errors are more exact.
    pub(crate) async fn repository_before_pull(
        &self,
    ) -> Result<(Repo, Option<UnusedBranch>), Error> {
        // The default order is by age, the newest first (`applySorts` in `models/issues/issue_search.go`).
        let mut request = self
            .request(Method::GET, "pulls", "reading the newest pull request")
            .query("state", "all")
            .query("limit", 1);
        request.handles_redirect = true;
        let reply = self.http.send(&request).await?;
        let unused = |newest_pull| UnusedBranch {
            newest_pull,
            protection_requires_signatures: false,
        };
        let Ok(rows) = reply.expect_list::<NewestRow>() else {
            return Ok((self.repository().await?, None));
        };
        let Some(newest) = rows.into_iter().next() else {
            return Ok((self.repository().await?, Some(unused(0))));
        };
        let repository = newest.base.repo;
        if !repository.full_name.eq_ignore_ascii_case(&self.full_name()) {
            return Ok((self.repository().await?, None));
        }
        repository.check_server(&self.http).await?;
        Ok((repository.into(), Some(unused(newest.number))))
    }

    /// Whether no pull request from the branch `head` into `base` was ever opened (`GetPullRequestByBaseHead` in
    /// `routers/api/v1/repo/pull.go`).
    pub(crate) async fn is_unused(
        &self,
        branch: &UnusedBranch,
        base: &str,
        head: &str,
    ) -> Result<bool, Error> {
        if branch.newest_pull == 0 {
            return Ok(true);
        }
        // Some proxies do not forward encoded slashes. Other names may be those of parts of a pull request (`pulls/N/files`).
        if base.contains('/') || !head.starts_with("repin/") {
            return Ok(false);
        }
        let what = format!("looking for a pull request from {head} into {base}");
        let request = self.request(Method::GET, &format!("pulls/{base}/{head}"), what);
        let reply = self.http.send(&request).await?;
        Ok(reply.status == 404 && serde_json::from_slice::<NotFoundRow>(&reply.body).is_ok())
    }
}
