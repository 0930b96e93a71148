//! Merges pull requests by a merge style that is configured and allowed, immediately or scheduled.
//!
//! Statuses, and the contexts that a branch requires.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Gitea, repository::refused};
use crate::{
    base::error::Error,
    forge::{Merge, MergeMethod, Pull, Status, StatusKind, StatusResult, http::Paging, shared},
};

const FAST_FORWARD: &str = "fast-forward-only";

/// The merge settings of a repository.
#[derive(Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of the response"
)]
struct SettingsRow {
    #[serde(default)]
    allow_merge_commits: bool,
    #[serde(default)]
    allow_squash_merge: bool,
    #[serde(default)]
    allow_rebase: bool,
    #[serde(default)]
    allow_rebase_explicit: bool,
    #[serde(default)]
    allow_fast_forward_only_merge: bool,
    default_merge_style: Option<String>,
}

impl SettingsRow {
    /// The allowed merge styles, in the order of preference.
    fn allowed(&self) -> Vec<&'static str> {
        let mut allowed = vec![
            (self.allow_merge_commits, "merge"),
            (self.allow_squash_merge, "squash"),
            (self.allow_rebase, "rebase"),
            (self.allow_rebase_explicit, "rebase-merge"),
            (self.allow_fast_forward_only_merge, FAST_FORWARD),
        ];
        allowed.retain(|(is_allowed, _)| *is_allowed);
        allowed.into_iter().map(|(_, style)| style).collect()
    }
}

impl Gitea {
    pub(crate) async fn check_merge_method(&self) -> Result<(), Error> {
        if self.method != MergeMethod::Auto {
            self.merge_style().await?;
        }
        Ok(())
    }

    pub(crate) async fn schedule_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let style = self.merge_style().await?;
        if style == FAST_FORWARD && !self.version().await?.schedules_fast_forward() {
            return Ok(Merge::Unscheduled(
                "the repository merges by fast-forward only, and Gitea cannot schedule such a merge"
                    .to_owned(),
            ));
        }
        let body = json!({"Do": style, "merge_when_checks_succeed": true, "head_commit_id": head});
        self.request_merge(pull, body).await
    }

    pub(crate) async fn cancel_merge(&self, pull: &Pull) -> Result<bool, Error> {
        let what = format!("canceling the scheduled merge of #{}", pull.number);
        let path = format!("pulls/{}/merge", pull.number);
        let reply = self
            .http
            .send(&self.request(Method::DELETE, &path, what))
            .await?;
        match reply.status.as_u16() {
            200 | 204 => Ok(true),
            404 => Ok(false),
            _ => Err(refused(&reply)),
        }
    }

    pub(crate) async fn merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let style = self.merge_style().await?;
        self.request_merge(pull, json!({"Do": style, "head_commit_id": head}))
            .await
    }

    async fn request_merge(&self, pull: &Pull, body: Value) -> Result<Merge, Error> {
        let path = format!("pulls/{}/merge", pull.number);
        let request = self.request(Method::POST, &path, format!("merging #{}", pull.number));
        // A repeated request is refused: the merge is scheduled or done by then.
        let reply = self.http.send(&request.body(body).repeatable()).await?;
        match reply.status.as_u16() {
            200 => Ok(Merge::Merged),
            201 => Ok(Merge::Scheduled),
            409 if reply.text().contains("already") => Ok(Merge::Scheduled),
            403 => Err(reply
                .error()
                .help("give the token the scope write:repository, and let its owner merge")),
            423 => Err(refused(&reply)),
            // The server sends the same response while it checks for conflicts, which it does right
            // after the branch was created, and if it found one.
            405 if reply.text().contains("try again later") => Ok(Merge::Later(
                "the forge is still checking it for conflicts, or found one".to_owned(),
            )),
            404 | 405 | 409 | 422 => Ok(Merge::Refused(reply.text())),
            _ => Err(reply.error()),
        }
    }

    /// The configured style, otherwise the repository's preferred style if it is allowed, otherwise
    /// the first allowed one. A server schedules a disallowed style but never merges with it, so it
    /// is refused here.
    async fn merge_style(&self) -> Result<&'static str, Error> {
        let reply = self
            .http
            .send(&self.request(Method::GET, "", "reading the merge settings"))
            .await?;
        let settings: SettingsRow = reply.expect(&[200])?;
        let allowed = settings.allowed();
        let (preferred, fallback) = match self.method {
            MergeMethod::Auto => (settings.default_merge_style.as_deref(), allowed.first()),
            method => (Some(method.as_str()), None),
        };
        let preferred = allowed.iter().find(|style| Some(**style) == preferred);
        preferred.or(fallback).copied().ok_or_else(|| {
            let what = format!("Gitea: merging into {}", self.full_name());
            shared::method_refused(what, self.method, "the repository", &allowed)
        })
    }
}

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
