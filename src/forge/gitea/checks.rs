//! Statuses, and the contexts that a branch requires.

use reqwest::Method;
use serde::Deserialize;

use super::Gitea;
use crate::{
    base::error::Error,
    forge::{Status, StatusKind, StatusResult, http::Paging},
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
        Status {
            context: self.context,
            result,
            url: self.target_url,
            reported: self.created_at,
            id: self.id,
            kind: StatusKind::Status,
            // The context contains the name of the workflow.
            source: String::new(),
        }
    }
}

impl Gitea {
    pub(crate) async fn statuses(&self, commit: &str) -> Result<Vec<Status>, Error> {
        let request = self.request(
            Method::GET,
            &format!("commits/{commit}/statuses"),
            "reading statuses",
        );
        let rows: Vec<StatusRow> = self.http.pages(&request, Paging::Counted).await?;
        Ok(rows.into_iter().map(StatusRow::status).collect())
    }

    pub(crate) async fn required_contexts(
        &self,
        branch: &str,
    ) -> Result<Option<Vec<String>>, Error> {
        let what = format!("reading what {branch} requires");
        let row: BranchRow = self
            .http
            .base_branch(&self.request(Method::GET, &format!("branches/{branch}"), what))
            .await?;
        let contexts = row.status_check_contexts.unwrap_or_default();
        let is_enabled = row.enable_status_check;
        Ok(Some(if is_enabled { contexts } else { Vec::new() }))
    }
}
