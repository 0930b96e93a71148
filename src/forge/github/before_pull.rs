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
    #[serde(flatten)]
    facts: FactsRow,
    default_branch_ref: Option<DefaultBranchRow>,
    base: Option<RefRow>,
    pulls: CountRow,
    newest: NewestRow,
}

/// The fields of a repository that need no further object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FactsRow {
    pub(super) name_with_owner: String,
    pub(super) is_archived: bool,
    is_private: bool,
    viewer_permission: Option<String>,
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

impl FactsRow {
    /// The repository with this default branch, as a token with these scopes sees it.
    pub(super) fn repo(self, default_branch: String, scopes: Option<Vec<String>>) -> Repo {
        let permission = self.viewer_permission;
        let may_push =
            permission.map(|role| ["ADMIN", "MAINTAIN", "WRITE"].contains(&role.as_str()));
        Repo {
            full_name: self.name_with_owner,
            default_branch,
            push: Push::reported(may_push),
            scopes,
            public: !self.is_private,
            archived: self.is_archived,
        }
    }
}

impl Github {
    /// The repository, and the state of the branch `head` if no pull request was ever opened from it. If GraphQL does
    /// not show a writable repository of this name, it is read by REST, whose errors are more exact.
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
        let Some(BeforePullRow {
            facts,
            default_branch_ref: Some(default),
            base: base_row,
            pulls,
            newest,
        }) = row.and_then(|response| response.data?.repository)
        else {
            return Ok((self.repository().await?, None));
        };
        let is_same = facts
            .name_with_owner
            .eq_ignore_ascii_case(&self.full_name());
        if !is_same || facts.is_archived {
            return Ok((self.repository().await?, None));
        }
        let protection = base.map_or(Some(default.row), |_| base_row);
        let unused = (pulls.total_count == 0).then(|| UnusedBranch {
            newest_pull: newest.number(),
            protection_requires_signatures: protection.is_some_and(|row| row.requires_signatures()),
        });
        let repo = facts.repo(default.name, scopes(&self.http, &reply));
        Ok((repo, unused))
    }
}
