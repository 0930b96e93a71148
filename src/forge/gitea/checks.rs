//! Statuses, and the contexts that a branch requires.

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;

use super::Gitea;
use crate::{
    error::Error,
    forge::{Ability, Checks, Status, StatusKind, StatusResult, http::Paging},
};

#[derive(Deserialize)]
struct StatusRow {
    id: u64,
    status: String,
    context: String,
    target_url: Option<String>,
    created_at: String,
}

#[derive(Deserialize)]
struct BranchRow {
    #[serde(default)]
    enable_status_check: bool,
    status_check_contexts: Option<Vec<String>>,
}

impl StatusRow {
    fn status(self) -> Status {
        let result = match self.status.as_str() {
            "success" | "skipped" => StatusResult::Pass,
            "pending" => StatusResult::Pending,
            _ => StatusResult::Fail,
        };
        let kind = StatusKind::Status;
        Status {
            context: self.context,
            result,
            url: self.target_url,
            at: self.created_at,
            id: self.id,
            kind,
            // A workflow of Gitea or Forgejo has its name in the context.
            source: String::new(),
        }
    }
}

#[async_trait(?Send)]
impl Checks for Gitea {
    async fn statuses(&self, commit: &str) -> Result<Vec<Status>, Error> {
        let request = self.request(
            Method::GET,
            &format!("commits/{commit}/statuses"),
            "reading statuses",
        );
        let rows: Vec<StatusRow> = self.http.pages(&request, Paging::Counted).await?;
        Ok(rows.into_iter().map(StatusRow::status).collect())
    }

    async fn required(&self, branch: &str) -> Result<Option<Vec<String>>, Error> {
        let what = format!("reading what {branch} requires");
        let row: BranchRow = self
            .http
            .base_branch(&self.request(Method::GET, &format!("branches/{branch}"), what))
            .await?;
        let contexts = row.status_check_contexts.unwrap_or_default();
        Ok(Some(if row.enable_status_check {
            contexts
        } else {
            Vec::new()
        }))
    }

    /// Gitea and Forgejo keep statuses as long as the repository.
    async fn may_have_expired(&self, _commit: &str) -> Result<bool, Error> {
        Ok(false)
    }

    async fn starts_checks(&self) -> Result<Ability, Error> {
        Ok(Ability::Yes)
    }
}
