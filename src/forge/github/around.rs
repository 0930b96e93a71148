//! Around a pull request: statuses, what a branch requires, merging, workflows, issues.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Github, merging::Way};
use crate::{
    error::{Class, Error},
    forge::{
        Ability, Edit, Issue, Merge, Pull, Said, Status, StatusKind,
        alike::{IssueRow, issues},
        http::Paging,
    },
};

/// What a token needs for issues.
const ISSUES: &str = "`issues: write`";

#[derive(Deserialize)]
struct Named {
    sha: String,
}

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
        let said = match (self.status.as_str(), self.conclusion.as_deref()) {
            // As GitHub counts for merging (About status checks): these three let through.
            ("completed", Some("success" | "neutral" | "skipped")) => Said::Pass,
            ("completed", _) => Said::Fail,
            _ => Said::Pending,
        };
        let (at, kind) = (self.started_at.unwrap_or_default(), StatusKind::Run);
        Status {
            context: self.name,
            said,
            url: self.html_url,
            at,
            id: self.id,
            kind,
        }
    }
}

impl StatusRow {
    fn status(self) -> Status {
        let said = match self.state.as_str() {
            "success" => Said::Pass,
            "pending" => Said::Pending,
            _ => Said::Fail,
        };
        let kind = StatusKind::Status;
        Status {
            context: self.context,
            said,
            url: self.target_url,
            at: self.created_at,
            id: self.id,
            kind,
        }
    }
}

impl Github {
    pub(super) async fn read_commit(&self, reference: &str) -> Result<Option<String>, Error> {
        let what = format!("looking up {reference}");
        let request = self.request(Method::GET, &format!("commits/{reference}"), what);
        let named: Option<Named> = self.http.find(&request, &[404, 422]).await?;
        Ok(named.map(|named| named.sha))
    }

    pub(super) async fn read_statuses(&self, commit: &str) -> Result<Vec<Status>, Error> {
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

    /// From the branch's protection as everybody may read it, and from rule sets.
    pub(super) async fn read_required(&self, branch: &str) -> Result<Option<Vec<String>>, Error> {
        let what = format!("reading what {branch} requires");
        let row: Value = self
            .http
            .base_branch(&self.request(Method::GET, &format!("branches/{branch}"), &what))
            .await?;
        let protection = row["protection"]["required_status_checks"]["contexts"].as_array();
        let mut required: Vec<String> = texts(protection.into_iter().flatten());
        let rules = self.request(Method::GET, &format!("rules/branches/{branch}"), &what);
        match self.http.pages::<Value>(&rules, Paging::Links).await {
            Ok(rules) => {
                for rule in rules
                    .iter()
                    .filter(|rule| rule["type"] == "required_status_checks")
                {
                    let checks = rule["parameters"]["required_status_checks"].as_array();
                    required.extend(texts(
                        checks.into_iter().flatten().map(|check| &check["context"]),
                    ));
                }
            }
            // Servers without rule sets (older Enterprise Servers).
            Err(error) if error.message.starts_with("HTTP 404") => {}
            Err(error) if error.class == Class::Denied => return Ok(None),
            Err(error) => return Err(error),
        }
        // A protected branch whose protection is not shown requires what nobody can tell.
        let hidden = row["protected"] == true && row["protection"].is_null() && required.is_empty();
        required.sort();
        required.dedup();
        Ok((!hidden).then_some(required))
    }

    /// Whether a branch takes only pull requests that contain its head: by a rule set, or by a
    /// protection where the token may read that, which only administrators may.
    pub(super) async fn requires_up_to_date(&self, branch: &str) -> Result<bool, Error> {
        let what = format!("reading whether {branch} requires up-to-date branches");
        let rules = self.request(Method::GET, &format!("rules/branches/{branch}"), &what);
        match self.http.pages::<Value>(&rules, Paging::Links).await {
            Ok(rules) => {
                let strict = |rule: &Value| {
                    rule["type"] == "required_status_checks"
                        && rule["parameters"]["strict_required_status_checks_policy"] == true
                };
                if rules.iter().any(strict) {
                    return Ok(true);
                }
            }
            Err(error) if error.message.starts_with("HTTP 404") || error.class == Class::Denied => {
            }
            Err(error) => return Err(error),
        }
        let path = format!("branches/{branch}/protection/required_status_checks");
        let protection: Option<Value> = self
            .http
            .find(&self.request(Method::GET, &path, what), &[403, 404])
            .await?;
        Ok(protection.is_some_and(|protection| protection["strict"] == true))
    }

    pub(super) async fn schedule_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let query = "mutation($input:EnablePullRequestAutoMergeInput!)\
                     {enablePullRequestAutoMerge(input:$input){clientMutationId}}";
        let method = match self.way(&pull.base).await? {
            Way::Queue => return self.queued(pull).await,
            Way::Method(method) => method.as_str().to_ascii_uppercase(),
        };
        let input =
            json!({"pullRequestId": pull.node, "expectedHeadOid": head, "mergeMethod": method});
        let what = format!("scheduling the merge of #{}", pull.number);
        let answer = self.graphql(query, json!({"input": input}), &what).await?;
        let what = format!("GitHub: {what}");
        let answer =
            answer.ok_or_else(|| Error::unavailable(&what, "this server has no GraphQL"))?;
        let Some((kind, said)) = answer.wrong() else {
            return Ok(Merge::Scheduled);
        };
        let said = self.http.clean(said);
        match kind {
            // Nothing is missing that it could wait for ("clean"), or nothing that is required
            // ("unstable", "has_hooks").
            _ if ["clean status", "unstable status", "has_hooks status"]
                .iter()
                .any(|word| said.contains(word)) =>
            {
                Ok(Merge::Clean(said))
            }
            // While it looks for conflicts, which it does right after the branch was made.
            _ if said.contains("unknown status") => Ok(Merge::Later(said)),
            "FORBIDDEN" => Err(Error::about(Class::Denied, what, said)
                .help("the token needs `contents: write` and `pull-requests: write`")),
            _ => Ok(Merge::Refused(said)),
        }
    }

    /// Cancels a scheduled merge; `false`: none was scheduled.
    pub(super) async fn unschedule_merge(&self, pull: &Pull) -> Result<bool, Error> {
        let query = "mutation($input:DisablePullRequestAutoMergeInput!)\
                     {disablePullRequestAutoMerge(input:$input){clientMutationId}}";
        let what = format!("cancelling the scheduled merge of #{}", pull.number);
        let input = json!({"input": {"pullRequestId": pull.node}});
        let answer = self.graphql(query, input, &what).await?;
        let what = format!("GitHub: {what}");
        let answer =
            answer.ok_or_else(|| Error::unavailable(&what, "this server has no GraphQL"))?;
        match answer.wrong() {
            None => Ok(true),
            Some(("FORBIDDEN", said)) => {
                Err(Error::about(Class::Denied, what, self.http.clean(said)))
            }
            // "Can't disable auto-merge for this pull request": since none is scheduled, or since it
            // may not be cancelled.
            Some(_) if !self.is_scheduled(pull).await? => Ok(false),
            Some((_, said)) => Err(Error::about(Class::Refused, what, self.http.clean(said))),
        }
    }

    /// Whether the merge of a pull request is scheduled.
    async fn is_scheduled(&self, pull: &Pull) -> Result<bool, Error> {
        let path = format!("pulls/{}", pull.number);
        let what = format!("reading whether the merge of #{} is scheduled", pull.number);
        let row: Option<Value> = self
            .http
            .find(&self.request(Method::GET, &path, what), &[404])
            .await?;
        Ok(row.is_some_and(|row| row["state"] == "open" && !row["auto_merge"].is_null()))
    }

    pub(super) async fn merge_now(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let method = match self.way(&pull.base).await? {
            Way::Queue => return self.enqueue(pull, head).await,
            Way::Method(method) => method.as_str(),
        };
        let path = format!("pulls/{}/merge", pull.number);
        let request = self.request(Method::PUT, &path, format!("merging #{}", pull.number));
        let reply = self
            .http
            .send(&request.body(json!({"sha": head, "merge_method": method})))
            .await?;
        match reply.status.as_u16() {
            200 => Ok(Merge::Merged),
            405 if reply.text().contains("try the merge again") => Ok(Merge::Later(reply.text())),
            405 | 409 | 422 => Ok(Merge::Refused(reply.text())),
            403 => Err(reply
                .error()
                .help("the token needs `contents: write` and `pull-requests: write`")),
            _ => Err(reply.error()),
        }
    }

    pub(super) async fn dispatch_ability(&self, workflow: &str) -> Result<Ability, Error> {
        let path = format!("actions/workflows/{workflow}");
        let reply = self
            .http
            .send(&self.request(
                Method::GET,
                &path,
                format!("looking up the workflow {workflow}"),
            ))
            .await?;
        match reply.status.as_u16() {
            404 => {
                let message = format!("there is no workflow {workflow} that the token may see");
                let hint = "correct forge.dispatch, or give the token `actions: write`";
                Err(Error {
                    message,
                    ..reply.error()
                }
                .class(Class::Denied)
                .help(hint))
            }
            403 => Err(reply.error().help("the token needs `actions: write`")),
            _ => {
                let row: Value = reply.expect(&[200])?;
                let state = self.http.clean(row["state"].as_str().unwrap_or("active"));
                if state == "active" {
                    return Ok(Ability::Yes);
                }
                let what = format!("GitHub: looking up the workflow {workflow}");
                Err(Error::about(Class::Refused, what, format!("it is {state}")).help("enable it"))
            }
        }
    }

    pub(super) async fn start_workflow(&self, workflow: &str, branch: &str) -> Result<(), Error> {
        let path = format!("actions/workflows/{workflow}/dispatches");
        let request = self.request(
            Method::POST,
            &path,
            format!("starting the workflow {workflow}"),
        );
        let sent = self.http.send(&request.body(json!({"ref": branch}))).await;
        let reply = sent.map_err(|failure| Error {
            begun: failure.unsure,
            ..failure.error
        })?;
        reply.check(&[200, 204]).map_err(|error| match error.class {
            // A token that may read the workflow and not start it is answered 404.
            _ if reply.status == 404 => error.class(Class::Denied).help(format!(
                "give the token `actions: write`, and check that {workflow} is on {branch}"
            )),
            Class::Denied => error.help("the token needs `actions: write`"),
            Class::Refused => {
                error.help("the workflow has to be started by `workflow_dispatch`, on that branch")
            }
            _ => error,
        })
    }

    pub(super) async fn list_issues(&self) -> Result<Vec<Issue>, Error> {
        let request = self
            .request(Method::GET, "issues", "listing issues")
            .query("state", "open");
        let rows: Vec<IssueRow> = self.http.pages(&request, Paging::Links).await?;
        Ok(issues(rows))
    }

    pub(super) async fn make_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        let request = self.request(Method::POST, "issues", "opening an issue");
        self.http.new_issue(request, title, body, ISSUES).await
    }

    pub(super) async fn change_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        let request = self.request(
            Method::PATCH,
            &format!("issues/{number}"),
            format!("changing issue #{number}"),
        );
        self.http.edited_issue(request, edit, &[200], ISSUES).await
    }
}

fn texts<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<String> {
    values
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
