//! Branches and commits by their names.

use reqwest::Method;
use serde::Deserialize;

use super::{Gitea, ObjectRow, nullable};
use crate::{base::error::Error, git::AheadCommit};

#[derive(Deserialize)]
pub(super) struct BranchRow {
    pub(super) commit: BranchCommitRow,
}

#[derive(Deserialize)]
pub(super) struct BranchCommitRow {
    pub(super) id: String,
}

#[derive(Deserialize)]
pub(super) struct GitCommitRow {
    sha: String,
    commit: CommitText,
    #[serde(default, deserialize_with = "nullable::list")]
    parents: Vec<ObjectRow>,
}

#[derive(Deserialize)]
struct CommitText {
    message: String,
    tree: Option<ObjectRow>,
}

impl GitCommitRow {
    /// The id of its tree; empty if the server does not report it.
    pub(super) fn tree(&self) -> String {
        let tree = self.commit.tree.as_ref();
        tree.map_or_else(String::new, |tree| tree.sha.clone())
    }
}

impl From<GitCommitRow> for AheadCommit {
    fn from(row: GitCommitRow) -> Self {
        Self {
            id: row.sha,
            message: row.commit.message,
            parents: row.parents.into_iter().map(|parent| parent.sha).collect(),
        }
    }
}

impl Gitea {
    pub(crate) async fn branch(&self, name: &str) -> Result<Option<String>, Error> {
        let what = format!("reading the branch {name}");
        let request = self.request(Method::GET, &format!("branches/{name}"), what);
        let branch: Option<BranchRow> = self.http.find(&request, &[404]).await?;
        Ok(branch.map(|branch| branch.commit.id))
    }

    pub(crate) async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        // The name of a branch may contain slashes, which `git/commits` does not accept.
        let is_name = !reference.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_name && let Some(head) = self.branch(reference).await? {
            return Ok(Some(head));
        }
        let what = format!("looking up {reference}");
        let request = self.request(Method::GET, &format!("git/commits/{reference}"), what);
        let commit: Option<ObjectRow> = self.http.find(&request, &[404, 422]).await?;
        Ok(commit.map(|commit| commit.sha))
    }
}
