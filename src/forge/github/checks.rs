//! Statuses, check runs, and the contexts that a branch requires.

use std::{collections::HashMap, time::Duration};

use reqwest::Method;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Github, graphql::Response};
use crate::{
    base::error::Error,
    forge::{CheckStart, Status, StatusKind, StatusResult, http::Paging, target::is_github_cloud},
    oci::date,
};

/// The owner of the token of a workflow run. A merge that was scheduled with the token is its merge, too, and starts no
/// workflow (GitHub Docs, "`GITHUB_TOKEN`"; measured: <https://github.com/ebibibi/ebi-agent-chat-relay/issues/757>).
pub(super) const ACTIONS_BOT: &str = "github-actions[bot]";

/// The shortest retention of statuses and check runs: that of public repositories; up to 400 days in
/// private ones (GitHub Docs, "Configuring the retention period for GitHub Actions").
const RETENTION: Duration = Duration::from_secs(90 * 86_400);

#[derive(Deserialize)]
struct CommitDateRow {
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

/// A workflow run. One that waits for approval has ended with the conclusion `action_required`, without jobs and thus
/// without check runs.
#[derive(Deserialize)]
struct HeldRunRow {
    conclusion: Option<String>,
    html_url: String,
}

#[derive(Deserialize)]
struct HeldRunRows {
    workflow_runs: Vec<HeldRunRow>,
}

#[derive(Deserialize)]
struct BranchRow {
    #[serde(default)]
    protected: bool,
    /// Null if the token may not read it.
    protection: Option<ProtectionRow>,
}

#[derive(Deserialize)]
struct ProtectionRow {
    required_status_checks: Option<RequiredChecksRow>,
}

#[derive(Deserialize)]
struct RequiredChecksRow {
    contexts: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ViewerData {
    viewer: Option<ViewerRow>,
}

#[derive(Deserialize)]
struct ViewerRow {
    login: Option<String>,
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

    /// `workflows`: the workflows of check suites, if they are known.
    fn status(self, workflows: &HashMap<u64, u64>) -> Status {
        let (app, suite) = (self.app(), self.suite());
        let source = match workflows.get(&suite) {
            Some(workflow) => format!("{app}/{workflow}"),
            None => format!("{app}/suite {suite}"),
        };
        let result = match (self.status.as_str(), self.conclusion.as_deref()) {
            // These three results permit a merge (GitHub Docs, "About status checks").
            ("completed", Some("success" | "neutral" | "skipped")) => StatusResult::Pass,
            ("completed", _) => StatusResult::Fail,
            _ => StatusResult::Pending,
        };
        Status {
            context: self.name,
            result,
            url: self.html_url,
            reported: self.started_at.unwrap_or_default(),
            id: self.id,
            kind: StatusKind::Run,
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
        // A status of an app is not replaced by one that a user sets.
        let app = self
            .creator
            .filter(|creator| creator.r#type.as_deref() == Some("Bot"));
        Status {
            context: self.context,
            result,
            url: self.target_url,
            reported: self.created_at,
            id: self.id,
            kind: StatusKind::Status,
            source: app.map_or_else(String::new, |app| app.id.to_string()),
        }
    }
}

impl Github {
    pub(crate) async fn statuses(&self, commit: &str) -> Result<Vec<Status>, Error> {
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

    /// The contexts of the protection, in the part that every reader may read, and of rule sets.
    pub(crate) async fn required_contexts(
        &self,
        branch: &str,
    ) -> Result<Option<Vec<String>>, Error> {
        let what = format!("reading what {branch} requires");
        let row: BranchRow = self
            .http
            .base_branch(&self.request(Method::GET, &format!("branches/{branch}"), &what))
            .await?;
        let Some(rules) = self.read_rules(branch).await? else {
            return Ok(None);
        };
        let is_hidden = row.protected && row.protection.is_none();
        let checks = row
            .protection
            .and_then(|protection| protection.required_status_checks);
        let contexts = checks.and_then(|checks| checks.contexts);
        let mut required = contexts.unwrap_or_default();
        required.extend(rules.contexts);
        // A protected branch with a hidden protection requires unknown contexts.
        if is_hidden && required.is_empty() {
            return Ok(None);
        }
        required.sort();
        required.dedup();
        Ok(Some(required))
    }

    pub(crate) async fn may_have_expired(&self, commit: &str) -> Result<bool, Error> {
        let what = "reading the commit's date";
        let request = self.request(Method::GET, &format!("commits/{commit}"), what);
        let row: Option<CommitDateRow> = self.http.find(&request, &[404, 422]).await?;
        // The age of a commit without a readable date is unknown.
        let committed = row
            .and_then(|row| row.commit.committer?.date)
            .and_then(|date| OffsetDateTime::parse(&date, &Rfc3339).ok());
        let now = date::offset((self.http.now())());
        Ok(committed.is_some_and(|date| now - date > RETENTION))
    }

    /// The token of a workflow run has the form of every installation token; the name of its owner
    /// distinguishes it.
    pub(crate) async fn start_of_checks(&self) -> Result<CheckStart, Error> {
        let token = self.http.token().expose().unwrap_or_default();
        let installation = token.starts_with("ghs_");
        if !installation || self.login().await?.as_deref() != Some(ACTIONS_BOT) {
            return Ok(CheckStart::Immediate);
        }
        Ok(start_with_job_token(is_github_cloud(self.http.base())))
    }

    /// The pages of the workflow runs of a commit that wait for approval.
    pub(crate) async fn runs_awaiting_approval(
        &self,
        commit: &str,
    ) -> Result<Option<Vec<String>>, Error> {
        const HELD: &str = "action_required";
        let request = self
            .request(Method::GET, "actions/runs", "reading workflow runs")
            .query("head_sha", commit)
            .query("status", HELD)
            .query("per_page", 100);
        let runs: Option<HeldRunRows> = self.http.find(&request, &[403, 404]).await?;
        let rows = runs.map(|runs| runs.workflow_runs.into_iter());
        let is_held = |row: &HeldRunRow| row.conclusion.as_deref() == Some(HELD);
        Ok(rows.map(|rows| rows.filter(is_held).map(|row| row.html_url).collect()))
    }

    /// The workflows of the check suites of a commit. They are requested only if an app reports one
    /// name in several suites: a workflow has a suite for each event that starts it, and two
    /// workflows may have jobs of the same name. Without the permission, each suite is a separate
    /// source.
    async fn workflows(&self, commit: &str, runs: &[RunRow]) -> Result<HashMap<u64, u64>, Error> {
        let mut suites: HashMap<(&str, u64), u64> = HashMap::new();
        let is_ambiguous = runs.iter().any(|run| {
            let known = suites.insert((&run.name, run.app()), run.suite());
            known.is_some_and(|suite| suite != run.suite())
        });
        if !is_ambiguous {
            return Ok(HashMap::new());
        }
        let request = self
            .request(Method::GET, "actions/runs", "reading workflow runs")
            .query("head_sha", commit);
        let first = request.clone().query("per_page", 1);
        let first: Option<IgnoredAny> = self.http.find(&first, &[403, 404]).await?;
        if first.is_none() {
            return Ok(HashMap::new());
        }
        let rows: Vec<WorkflowRow> = self.http.pages_in(&request, "workflow_runs").await?;
        let mut workflows = HashMap::new();
        for row in rows {
            if let Some(suite) = row.check_suite_id {
                workflows.insert(suite, row.workflow_id);
            }
        }
        Ok(workflows)
    }

    /// The login of the token's owner, if GitHub reports it; logins of apps have the suffix
    /// `[bot]`.
    async fn login(&self) -> Result<Option<String>, Error> {
        let what = "identifying the owner of the token";
        let query = include_str!("queries/viewer.graphql");
        let response: Option<Response<ViewerData>> = self.graphql(query, json!({}), what).await?;
        let viewer = response.and_then(|response| response.data?.viewer);
        Ok(viewer.and_then(|viewer| viewer.login))
    }
}

/// The start of checks with the token of a workflow run. Since 2026-06-11, github.com and GitHub Enterprise Cloud create the
/// runs and hold them; a GitHub Enterprise Server creates none (GitHub Docs, "`GITHUB_TOKEN`").
fn start_with_job_token(is_cloud: bool) -> CheckStart {
    const TOKEN: &str = "the token is the GITHUB_TOKEN of a workflow run";
    if is_cloud {
        CheckStart::AfterApproval(format!(
            "{TOKEN}: the workflow runs of pull requests that are opened or updated with it wait until a user with write access approves them"
        ))
    } else {
        CheckStart::Never(format!(
            "{TOKEN}: a GitHub Enterprise Server starts no workflow on pull requests that are opened or updated with it, so their checks never report"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cloud_holds_runs_for_approval() {
        let cloud = start_with_job_token(true);
        assert!(
            matches!(cloud, CheckStart::AfterApproval(reason) if reason.contains("write access"))
        );
        let server = start_with_job_token(false);
        assert!(matches!(server, CheckStart::Never(reason) if reason.contains("never report")));
    }
}
