//! Which of two commits is an ancestor of the other, by a comparison.

use serde::Deserialize;

use super::{GithubFleet, request};
use crate::{error::Error, forge::fleet::RepositoryName};

#[derive(Deserialize)]
struct ComparisonRow {
    /// Commits of the head that the base has not.
    ahead_by: u64,
}

impl GithubFleet {
    pub(super) async fn read_order(
        &self,
        repository: &RepositoryName,
        older: &str,
        newer: &str,
    ) -> Result<Option<bool>, Error> {
        let path = format!("compare/{newer}...{older}");
        let what = format!("comparing {older} with {newer}");
        let request = request(repository, &path, &what)
            .query("per_page", 1)
            .query("page", 1);
        let reply = self.http.send(&request).await?;
        if reply.status == 404 {
            // Commits without a common ancestor are both there.
            let unrelated = reply.text().contains("No common ancestor");
            return Ok(unrelated.then_some(false));
        }
        let comparison: ComparisonRow = reply.expect(&[200])?;
        Ok(Some(comparison.ahead_by == 0))
    }
}
