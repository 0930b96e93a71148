//! The repository and the branch before a pull request is opened, with one query.

use serde::Deserialize;
use serde_json::json;

use super::{
    Github,
    graphql::{RepositoryData, Response},
    repository::scopes,
    rules::RefRow,
};
use crate::{
    base::error::Error,
    forge::{Push, Repo, UnusedBranch},
};

/// The fields of the query.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BeforePullRow {
    name_with_owner: String,
    is_archived: bool,
    is_private: bool,
    viewer_permission: Option<String>,
    default_branch_ref: Option<DefaultBranchRow>,
    base: Option<RefRow>,
    pulls: CountRow,
    newest: NewestRow,
}

#[derive(Deserialize)]
struct DefaultBranchRow {
    name: String,
    #[serde(flatten)]
    row: RefRow,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CountRow {
    total_count: u64,
}

#[derive(Deserialize)]
pub(super) struct NewestRow {
    nodes: Vec<NumberRow>,
}

#[derive(Deserialize)]
struct NumberRow {
    number: u64,
}

impl NewestRow {
    /// The number of the last pull request, or 0.
    pub(super) fn number(&self) -> u64 {
        self.nodes.first().map_or(0, |pull| pull.number)
    }
}

/// Whether the role of the token's owner may push, as GraphQL reports it.
pub(super) fn push_of(viewer_permission: Option<&str>) -> Push {
    let may_push = ["ADMIN", "MAINTAIN", "WRITE"];
    Push::reported(viewer_permission.map(|permission| may_push.contains(&permission)))
}

impl Github {
    /// The repository, and the state of the branch `head` if no pull request was ever opened from it. One request
    /// by GraphQL, and another one by REST if the response differs from the expected: its errors are more exact.
    pub(crate) async fn repository_before_pull(
        &self,
        base: Option<&str>,
        head: &str,
    ) -> Result<(Repo, Option<UnusedBranch>), Error> {
        let what = format!("reading the repository {}", self.full_name());
        let variables = json!({
            "owner": self.owner, "name": self.name, "head": head,
            "base": format!("refs/heads/{}", base.unwrap_or_default()),
        });
        let query = include_str!("queries/repository.graphql");
        let request = self.http.graphql(query, &variables, &what);
        let reply = self.http.send(&request).await?;
        let response = reply.expect::<Response<RepositoryData<BeforePullRow>>>(&[200]);
        let row = response.ok().filter(|response| response.errors.is_empty());
        let row = row.and_then(|response| response.data?.repository);
        let usable = |row: &BeforePullRow| {
            row.name_with_owner.eq_ignore_ascii_case(&self.full_name()) && !row.is_archived
        };
        let (Some(row), scopes) = (row.filter(usable), scopes(&self.http, &reply)) else {
            return Ok((self.repository().await?, None));
        };
        let Some(default) = row.default_branch_ref else {
            return Ok((self.repository().await?, None));
        };
        let protection = base.map_or(Some(default.row), |_| row.base);
        let is_unused = row.pulls.total_count == 0;
        let unused = is_unused.then(|| UnusedBranch {
            newest_pull: row.newest.number(),
            protected_by_signatures: protection.is_some_and(|row| row.requires_signatures()),
        });
        let repo = Repo {
            full_name: row.name_with_owner,
            default_branch: default.name,
            push: push_of(row.viewer_permission.as_deref()),
            scopes,
            public: !row.is_private,
            archived: false,
        };
        Ok((repo, unused))
    }
}
