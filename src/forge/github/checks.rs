//! Statuses, check runs, and the contexts that a branch requires.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Github, graphql::Answer};
use crate::{
    error::Error,
    forge::{Ability, Checks, Status, StatusKind, StatusResult, http::Paging},
};

/// Whom the token of a workflow's run belongs to.
const ACTIONS_BOT: &str = "github-actions[bot]";

/// How long statuses and check runs last in public repositories; up to 400 days in private ones
/// (GitHub Docs, "Configuring the retention period for GitHub Actions").
const RETENTION: Duration = Duration::from_secs(90 * 86_400);

#[derive(Deserialize)]
struct CommitRow {
    commit: CommitDates,
}

#[derive(Deserialize)]
struct CommitDates {
    committer: Option<CommitDate>,
}

#[derive(Deserialize)]
struct CommitDate {
    date: Option<String>,
}

#[derive(Deserialize)]
struct StatusRow {
    id: u64,
    state: String,
    context: String,
    target_url: Option<String>,
    created_at: String,
    creator: Option<CreatorRow>,
}

#[derive(Deserialize)]
struct CreatorRow {
    id: u64,
    r#type: Option<String>,
}

#[derive(Deserialize)]
struct NumberRow {
    id: u64,
}

/// The workflow of a check suite.
#[derive(Deserialize)]
struct WorkflowRow {
    workflow_id: u64,
    check_suite_id: Option<u64>,
}

#[derive(Deserialize)]
struct RunRow {
    id: u64,
    name: String,
    status: String,
    conclusion: Option<String>,
    html_url: Option<String>,
    started_at: Option<String>,
    app: Option<NumberRow>,
    check_suite: Option<NumberRow>,
}

impl RunRow {
    fn app(&self) -> u64 {
        self.app.as_ref().map_or(0, |app| app.id)
    }

    fn suite(&self) -> u64 {
        self.check_suite.as_ref().map_or(0, |suite| suite.id)
    }

    /// `workflows`: the workflow of each check suite, as far as it is known.
    fn status(self, workflows: &HashMap<u64, u64>) -> Status {
        let (app, suite) = (self.app(), self.suite());
        let source = match workflows.get(&suite) {
            Some(workflow) => format!("{app}/{workflow}"),
            None => format!("{app}/suite {suite}"),
        };
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
            source,
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
        // A status of an app is not replaced by one that a user sets.
        let app = self
            .creator
            .filter(|creator| creator.r#type.as_deref() == Some("Bot"));
        Status {
            context: self.context,
            result,
            url: self.target_url,
            at: self.created_at,
            id: self.id,
            kind,
            source: app.map_or_else(String::new, |app| app.id.to_string()),
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
        let workflows = self.workflows(commit, &runs).await?;
        let runs = runs.into_iter().map(|run| run.status(&workflows));
        Ok(statuses
            .into_iter()
            .map(StatusRow::status)
            .chain(runs)
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

    async fn may_have_expired(&self, commit: &str) -> Result<bool, Error> {
        let what = "reading the commit's date";
        let request = self.request(Method::GET, &format!("commits/{commit}"), what);
        let row: Option<CommitRow> = self.http.find(&request, &[404, 422]).await?;
        // A commit without a readable date proves nothing about its age.
        let date = row
            .and_then(|row| row.commit.committer?.date)
            .and_then(|date| OffsetDateTime::parse(&date, &Rfc3339).ok());
        let now = OffsetDateTime::from((self.http.now())());
        Ok(date.is_some_and(|date| now - date > RETENTION))
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
    /// The workflow of each check suite of a commit. It is read only if an app reports one name in
    /// several suites: a workflow gets a new suite for each event that starts it, and two workflows may
    /// have jobs of the same name. If the token may not read it, each suite counts by itself.
    async fn workflows(&self, commit: &str, runs: &[RunRow]) -> Result<HashMap<u64, u64>, Error> {
        let mut suites: HashMap<(&str, u64), u64> = HashMap::new();
        let ambiguous = runs.iter().any(|run| {
            *suites
                .entry((&run.name, run.app()))
                .or_insert_with(|| run.suite())
                != run.suite()
        });
        if !ambiguous {
            return Ok(HashMap::new());
        }
        let request = self.request(Method::GET, "actions/runs", "reading workflow runs");
        let request = request.query("head_sha", commit);
        let first = request.clone().query("per_page", 1);
        let readable: Option<Value> = self.http.find(&first, &[403, 404]).await?;
        if readable.is_none() {
            return Ok(HashMap::new());
        }
        let rows: Vec<WorkflowRow> = self.http.pages_in(&request, "workflow_runs").await?;
        let suites = rows.into_iter();
        let suites = suites.filter_map(|row| Some((row.check_suite_id?, row.workflow_id)));
        Ok(suites.collect())
    }

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
