//! Branches and commits by their names.

use serde::Deserialize;

use super::Gitlab;
use crate::{base::error::Error, git::AheadCommit};

#[derive(Deserialize)]
pub(super) struct BranchRow {
    pub(super) commit: GitlabCommit,
    #[serde(default)]
    pub(super) protected: bool,
    #[serde(default)]
    pub(super) developers_can_merge: bool,
}

#[derive(Deserialize)]
pub(super) struct GitlabCommit {
    pub(super) id: String,
    #[serde(default)]
    pub(super) parent_ids: Vec<String>,
    #[serde(default)]
    pub(super) message: String,
}

impl From<GitlabCommit> for AheadCommit {
    fn from(row: GitlabCommit) -> Self {
        Self {
            id: row.id,
            message: row.message,
            parents: row.parent_ids,
        }
    }
}

impl Gitlab {
    pub(crate) async fn branch(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.branch_row(name).await?.map(|branch| branch.commit.id))
    }

    pub(super) async fn branch_row(&self, name: &str) -> Result<Option<BranchRow>, Error> {
        let what = format!("reading the branch {name}");
        self.find(&["repository", "branches", name], what).await
    }

    pub(crate) async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        // GitLab prefers a tag to a branch of the same name.
        let is_name = !reference.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_name && let Some(head) = self.branch(reference).await? {
            return Ok(Some(head));
        }
        Ok(self.commit_row(reference).await?.map(|commit| commit.id))
    }

    pub(super) async fn commit_row(&self, reference: &str) -> Result<Option<GitlabCommit>, Error> {
        let what = format!("looking up {reference}");
        self.find(&["repository", "commits", reference], what).await
    }
}
