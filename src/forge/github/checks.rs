//! Statuses, check runs, and the contexts that a branch requires.

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Github, graphql::Answer};
use crate::{
    error::Error,
    forge::{Ability, Checks, Status, StatusKind, StatusResult, http::Paging},
};

/// Whom the token of a workflow's run belongs to.
const ACTIONS_BOT: &str = "github-actions[bot]";

#[derive(Deserialize)]
struct StatusRow {
    id: u64,
    state: String,
    context: String,
    target_url: Option<String>,
    created_at: String,
}

#[derive(Deserialize)]
struct RunRow {
    id: u64,
    name: String,
    status: String,
    conclusion: Option<String>,
    html_url: Option<String>,
    started_at: Option<String>,
}

impl RunRow {
    fn status(self) -> Status {
        let result = match (self.status.as_str(), self.conclusion.as_deref()) {
            // As GitHub counts for merging (About status checks): these three let through.
            ("completed", Some("success" | "neutral" | "skipped")) => StatusResult::Pass,
            ("completed", _) => StatusResult::Fail,
            _ => StatusResult::Pending,
        };
        let (at, kind) = (self.started_at.unwrap_or_default(), StatusKind::Run);
        Status {
            context: self.name,
            result,
            url: self.html_url,
            at,
            id: self.id,
            kind,
        }
    }
}

impl StatusRow {
    fn status(self) -> Status {
        let result = match self.state.as_str() {
            "success" => StatusResult::Pass,
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
        }
    }
}

#[async_trait(?Send)]
impl Checks for Github {
    async fn statuses(&self, commit: &str) -> Result<Vec<Status>, Error> {
        let statuses = self.request(
            Method::GET,
            &format!("commits/{commit}/statuses"),
            "reading statuses",
        );
        let statuses: Vec<StatusRow> = self.http.pages(&statuses, Paging::Links).await?;
        let runs = self.request(
            Method::GET,
            &format!("commits/{commit}/check-runs"),
            "reading check runs",
        );
        let runs: Vec<RunRow> = self
            .http
            .pages_in(&runs.query("filter", "all"), "check_runs")
            .await?;
        Ok(statuses
            .into_iter()
            .map(StatusRow::status)
            .chain(runs.into_iter().map(RunRow::status))
            .collect())
    }

    /// From the branch's protection as everyone may read it, and from rule sets.
    async fn required(&self, branch: &str) -> Result<Option<Vec<String>>, Error> {
        let what = format!("reading what {branch} requires");
        let row: Value = self
            .http
            .base_branch(&self.request(Method::GET, &format!("branches/{branch}"), &what))
            .await?;
        let Some(rules) = self.read_rules(branch).await? else {
            return Ok(None);
        };
        let protection = row["protection"]["required_status_checks"]["contexts"].as_array();
        let protection = protection.into_iter().flatten().filter_map(Value::as_str);
        let mut required: Vec<String> = protection.map(str::to_owned).collect();
        required.extend(rules.contexts);
        // A protected branch whose protection is hidden requires unknown contexts.
        let hidden = row["protected"] == true && row["protection"].is_null() && required.is_empty();
        required.sort();
        required.dedup();
        Ok((!hidden).then_some(required))
    }

    /// The token of a workflow's run looks like that of any app's installation; its owner's name
    /// distinguishes it. GitHub starts nothing on account of it (GitHub Actions, "Automatic token
    /// authentication").
    async fn starts_checks(&self) -> Result<Ability, Error> {
        let installation = self.http.token().expose().starts_with("ghs_");
        if !installation || self.login().await?.as_deref() != Some(ACTIONS_BOT) {
            return Ok(Ability::Yes);
        }
        let reason = "the token is the GITHUB_TOKEN of a workflow run: GitHub starts no workflow on pull requests that are opened or updated with it, so their checks never report";
        Ok(Ability::No(reason.to_owned()))
    }
}

impl Github {
    /// The name of the token's owner, as far as GitHub reports it; those of apps end in `[bot]`.
    async fn login(&self) -> Result<Option<String>, Error> {
        let what = "identifying the owner of the token";
        let answer = self
            .graphql("query{viewer{login}}", json!({}), what)
            .await?;
        let login = |answer: &Answer| Some(answer.data()["viewer"]["login"].as_str()?.to_owned());
        Ok(answer.as_ref().and_then(login))
    }
}
