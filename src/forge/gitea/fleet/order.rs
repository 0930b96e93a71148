//! Which of two commits is an ancestor of the other: whether a listing of the one's history without
//! the other's has anything left. Not every server compares commits, which are no branches.

use serde::Deserialize;

use super::{GiteaFleet, request};
use crate::{error::Error, forge::fleet::RepositoryName};

#[derive(Deserialize)]
struct CommitRow {
    #[expect(dead_code, reason = "a response without names of commits is malformed")]
    sha: String,
}

impl GiteaFleet {
    pub(super) async fn read_order(
        &self,
        repository: &RepositoryName,
        older: &str,
        newer: &str,
    ) -> Result<Option<bool>, Error> {
        // A listing without an unknown commit is an error that says nothing about which one it is.
        for commit in [older, newer] {
            let path = format!("git/commits/{commit}");
            let request = request(repository, &path, &format!("looking up {commit}"))
                .query("stat", false)
                .query("verification", false)
                .query("files", false);
            let found: Option<CommitRow> = self.http.find(&request, &[404, 422]).await?;
            if found.is_none() {
                return Ok(None);
            }
        }
        let what = format!("comparing {older} with {newer}");
        let request = request(repository, "commits", &what)
            .query("sha", older)
            .query("not", newer)
            .query("stat", false)
            .query("verification", false)
            .query("files", false)
            .query("limit", 1)
            .query("page", 1);
        let left: Vec<CommitRow> = self.http.send(&request).await?.expect_list()?;
        Ok(Some(left.is_empty()))
    }
}
