//! Merges merge requests, at once or after their pipeline, or through the merge train of their target.
//!
//! GitLab refuses a merge for seconds after a merge request was opened or its branch moved, so a refusal is
//! compared with the state of the merge request, and the request is repeated within limits.
//!
//! The pipelines and statuses of commits.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    ANOTHER_TOKEN, Gitlab,
    merge_status::MergeStatus,
    pull_requests::{NumberRow, Row},
};
use crate::{
    base::error::{Class, Error},
    forge::{
        Item, Merge, MergeMethod, Pull, Queue, Status, StatusKind, StatusResult,
        http::{Paging, Reply, Request},
        shared,
    },
};

/// The gate that is the pipeline of a commit.
pub(in crate::forge) const PIPELINE: &str = "pipeline";

/// The maximum number of merged results whose parents are read to find the pipeline of a head.
const MAX_RESULTS: usize = 3;

#[derive(Deserialize)]
struct PipelineRow {
    id: u64,
    sha: String,
    #[serde(rename = "ref")]
    reference: String,
    status: String,
    web_url: Option<String>,
    created_at: Option<String>,
}

#[derive(Deserialize)]
struct StatusRow {
    id: u64,
    status: String,
    name: String,
    #[serde(rename = "ref")]
    reference: Option<String>,
    target_url: Option<String>,
    created_at: Option<String>,
    allow_failure: Option<bool>,
}

#[derive(Deserialize)]
struct TrainRow {
    merge_request: NumberRow,
    status: String,
}

/// The result of a job or a pipeline, by its status. `passes`: whether GitLab continues although it did not
/// succeed: a job that may fail, or a pipeline that was skipped.
fn result(status: &str, passes: bool) -> StatusResult {
    match status {
        "success" => StatusResult::Pass,
        "failed" | "canceled" | "skipped" | "manual" if passes => StatusResult::Pass,
        "failed" | "canceled" | "skipped" => StatusResult::Fail,
        // A manual job waits for a user.
        _ => StatusResult::Pending,
    }
}

impl StatusRow {
    fn status(self) -> Status {
        Status {
            result: result(&self.status, self.allow_failure == Some(true)),
            context: self.name,
            url: self.target_url,
            reported: self.created_at.unwrap_or_default(),
            id: self.id,
            kind: StatusKind::Status,
            // A branch and a merge request may have pipelines for one commit.
            source: self.reference.unwrap_or_default(),
        }
    }
}

/// The prefix of the references of all merge requests.
const MERGE_REQUESTS: &str = "refs/merge-requests/";

/// Whether a report is not one of another merge request, which may have the same commit.
fn counts(reference: Option<&str>, number: Option<u64>) -> bool {
    let Some(below) = reference.and_then(|name| name.strip_prefix(MERGE_REQUESTS)) else {
        return true;
    };
    let owner = below.split('/').next().and_then(|owner| owner.parse().ok());
    owner.is_some() && owner == number
}

impl Gitlab {
    /// The statuses of a commit, and those of the pipeline of the merge request that runs for it: with merged
    /// results, that pipeline belongs to another commit.
    pub(crate) async fn statuses(
        &self,
        commit: &str,
        pull: Option<u64>,
    ) -> Result<Vec<Status>, Error> {
        let mut rows = self.status_rows(commit).await?;
        let pipeline = self.pipeline(commit, pull).await?;
        if let Some(pipeline) = pipeline.as_ref().filter(|known| known.sha != commit) {
            rows.extend(self.status_rows(&pipeline.sha).await?);
        }
        rows.retain(|row| counts(row.reference.as_deref(), pull));
        let mut statuses: Vec<_> = rows.into_iter().map(StatusRow::status).collect();
        if let Some(pipeline) = pipeline {
            let skipped = self.project().await?.allow_merge_on_skipped_pipeline;
            let passes = pipeline.status == "skipped" && skipped == Some(true);
            statuses.push(Status {
                context: PIPELINE.to_owned(),
                result: result(&pipeline.status, passes),
                url: pipeline.web_url,
                reported: pipeline.created_at.unwrap_or_default(),
                id: pipeline.id,
                kind: StatusKind::Run,
                source: String::new(),
            });
        }
        Ok(statuses)
    }

    async fn status_rows(&self, commit: &str) -> Result<Vec<StatusRow>, Error> {
        let path = ["repository", "commits", commit, "statuses"];
        let request = self.request(Method::GET, &path, "reading statuses").await?;
        let request = request.query("all", true);
        self.http.pages(&request, Paging::NextPage).await
    }

    /// The last pipeline for exactly this commit: of the merge request if it has one, otherwise of a branch.
    async fn pipeline(
        &self,
        commit: &str,
        pull: Option<u64>,
    ) -> Result<Option<PipelineRow>, Error> {
        let (path, verb) = (["pipelines"], "reading the pipelines of");
        let request = if let Some(number) = pull {
            let item = Item::Pull(number);
            self.of_item(Method::GET, item, &path, verb).await?
        } else {
            let request = self.request(Method::GET, &path, "reading pipelines");
            request.await?.query("sha", commit)
        };
        let mut rows: Vec<PipelineRow> = self.http.pages(&request, Paging::NextPage).await?;
        rows.retain(|row| counts(Some(&row.reference), pull));
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        let (of_request, of_branch): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| row.reference.starts_with(MERGE_REQUESTS));
        let mut results = 0;
        for row in of_request {
            if row.sha == commit {
                return Ok(Some(row));
            }
            if !row.reference.ends_with("/merge") || results == MAX_RESULTS {
                continue;
            }
            results += 1;
            // A merged result has the head of the merge request as a parent.
            let merged = self.commit_row(&row.sha).await?;
            if merged.is_some_and(|merged| merged.parent_ids.iter().any(|id| id == commit)) {
                return Ok(Some(row));
            }
        }
        Ok(of_branch.into_iter().find(|row| row.sha == commit))
    }

    pub(crate) async fn required_contexts(&self) -> Result<Option<Vec<String>>, Error> {
        let required = self.project().await?.only_allow_merge_if_pipeline_succeeds;
        let contexts = (required == Some(true)).then(|| PIPELINE.to_owned());
        Ok(Some(contexts.into_iter().collect()))
    }
}

/// The outcome of one request to merge.
enum Attempt {
    Done(Merge),
    /// GitLab may accept the same request later; the outcome if it does not.
    Again(Merge),
}

/// Fails if GitLab denied a request about a merge: it answers 401 to a token whose owner may not merge.
fn check_may_merge(reply: &Reply, pull: &Pull) -> Result<(), Error> {
    match reply.status.as_u16() {
        401 => {
            let reason = format!("the token's owner may not merge into {}", pull.base);
            let error = Error::about(Class::Denied, reply.what(), reason);
            Err(error.help(
                "let its role merge in the settings of the protected branch, or use another token",
            ))
        }
        403 => Err(reply.error().help(ANOTHER_TOKEN)),
        _ => Ok(()),
    }
}

impl Gitlab {
    pub(crate) async fn check_merge_method(&self) -> Result<(), Error> {
        let project = self.project().await?;
        let allowed = project.merge_methods();
        if self.method == MergeMethod::Auto || allowed.contains(&self.method.as_str()) {
            return Ok(());
        }
        let what = format!("GitLab: merging into {}", self.full_name);
        let target = "the project";
        Err(shared::method_refused(what, self.method, target, &allowed))
    }

    /// Whether the branch must be rebased before it can be merged, or has a conflict.
    pub(crate) async fn is_outdated(&self, pull: Option<&Pull>) -> Result<bool, Error> {
        if let Some(pull) = pull
            && let Some(row) = self.row(pull.number).await?
        {
            let (status, _) = row.status();
            let is_outdated = matches!(status, MergeStatus::Rebase | MergeStatus::Conflict);
            if is_outdated || status == MergeStatus::Ready {
                return Ok(is_outdated);
            }
        }
        Ok(self.project().await?.requires_up_to_date())
    }

    pub(crate) async fn schedule_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        Box::pin(self.request_merge(pull, head, true)).await
    }

    pub(crate) async fn merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        Box::pin(self.request_merge(pull, head, false)).await
    }

    /// Requests the merge until GitLab accepts it, or its state explains the refusal.
    async fn request_merge(&self, pull: &Pull, head: &str, auto: bool) -> Result<Merge, Error> {
        self.check_token_kind()?;
        self.check_merge_method().await?;
        let request = self.merge_request(pull, head, auto).await?;
        let attempts = self.http.policy().attempts;
        for round in 1.. {
            match self.attempt(&request, pull, head, auto).await? {
                Attempt::Again(_) if round < attempts => self.http.back_off(round).await,
                Attempt::Done(merge) | Attempt::Again(merge) => return Ok(merge),
            }
        }
        Err(Error::internal())
    }

    async fn merge_request(&self, pull: &Pull, head: &str, auto: bool) -> Result<Request, Error> {
        let (number, project) = (pull.number, self.project().await?);
        let mut body = Map::from_iter([("sha".to_owned(), json!(head))]);
        let squash = self.squashes(project);
        body.insert("squash".to_owned(), json!(squash));
        if auto {
            let name = self.auto_merge_parameter().await?;
            body.insert(name.to_owned(), json!(true));
        }
        let mut request = if project.merge_trains_enabled == Some(true) {
            let path = ["merge_trains", "merge_requests", &number.to_string()];
            let what = format!("adding !{number} to the merge train");
            self.request(Method::POST, &path, what).await?.repeatable()
        } else {
            if let Some(message) = self.message_of(pull, head).await? {
                let (title, rest) = message.split_once("\n\n").unwrap_or((&message, ""));
                let reference = format!("See merge request {}!{number}", self.full_name);
                let merge = format!("{title}\n\n{reference}\n\n{rest}");
                body.insert("merge_commit_message".to_owned(), json!(merge.trim_end()));
                if squash {
                    let message = json!(message.trim_end());
                    body.insert("squash_commit_message".to_owned(), message);
                }
            }
            let item = Item::Pull(number);
            self.of_item(Method::PUT, item, &["merge"], "merging")
                .await?
        };
        request.handles_unauthorized = true;
        Ok(request.body(Value::Object(body)))
    }

    /// The message of a merge request's only commit, whose title and trailers record a promotion; `None` if the
    /// merge request has another title.
    async fn message_of(&self, pull: &Pull, head: &str) -> Result<Option<String>, Error> {
        let Some(commit) = self.commit_row(head).await? else {
            return Ok(None);
        };
        let is_title = commit.message.lines().next() == Some(&*pull.title);
        Ok(is_title.then_some(commit.message))
    }

    async fn attempt(
        &self,
        request: &Request,
        pull: &Pull,
        head: &str,
        auto: bool,
    ) -> Result<Attempt, Error> {
        let reply = self.http.write(request).await?;
        check_may_merge(&reply, pull)?;
        let text = reply.text();
        match reply.status.as_u16() {
            200 => return self.accepted(&reply),
            201 => return Ok(Attempt::Done(self.queued(pull).await?)),
            202 => return Ok(Attempt::Done(Merge::Scheduled)),
            400 | 404 | 405 | 406 | 409 | 422 => {}
            _ => return Err(reply.error()),
        }
        let Some(now) = self.row(pull.number).await? else {
            return Ok(Attempt::Done(Merge::Refused(text)));
        };
        let later = |reason: &str| Merge::Later(format!("{reason} ({text})"));
        let (status, reason) = now.status();
        let reason = self.http.clean(&reason);
        Ok(match (now.state.as_str(), status) {
            ("merged", _) => Attempt::Done(Merge::Merged),
            ("closed", _) => Attempt::Done(Merge::Refused("it is closed".to_owned())),
            ("locked", _) => Attempt::Again(later("GitLab is merging it")),
            _ if !now.is_at(head) => Attempt::Again(later("GitLab shows another head")),
            _ if now.is_scheduled() => Attempt::Done(Merge::Scheduled),
            (_, MergeStatus::Check) => Attempt::Again(later(&reason)),
            (_, MergeStatus::Pipeline) if auto => Attempt::Again(later(&reason)),
            (_, MergeStatus::Pipeline | MergeStatus::Unknown) => Attempt::Done(later(&reason)),
            // `wait` requests it again.
            (_, MergeStatus::Change) if auto => Attempt::Done(later(&reason)),
            (
                _,
                MergeStatus::Change
                | MergeStatus::Edit
                | MergeStatus::Conflict
                | MergeStatus::Rebase,
            ) => Attempt::Done(Merge::Refused(format!("{reason} ({text})"))),
            // Depending on the version and the pipeline, GitLab schedules only a merge that has to wait.
            (_, MergeStatus::Ready) if auto => Attempt::Done(Merge::Clean(text)),
            (_, MergeStatus::Ready) => Attempt::Again(Merge::Refused(self.with_error(text, now))),
        })
    }

    /// A refusal, with the error of an earlier merge.
    fn with_error(&self, text: String, row: Row) -> String {
        match row.merge_error.filter(|error| !error.is_empty()) {
            Some(error) => format!("{text}: {}", self.http.clean(&error)),
            None => text,
        }
    }

    fn accepted(&self, reply: &Reply) -> Result<Attempt, Error> {
        let row: Row = reply.expect_done(&[200])?;
        Ok(match row.state.as_str() {
            "merged" => Attempt::Done(Merge::Merged),
            _ if row.is_scheduled() => Attempt::Done(Merge::Scheduled),
            // The next request shows the result of the merge.
            _ => {
                let text = "GitLab accepted the merge, and has not carried it out".to_owned();
                Attempt::Again(Merge::Later(self.with_error(text, row)))
            }
        })
    }

    pub(crate) async fn cancel_merge(&self, pull: &Pull) -> Result<bool, Error> {
        let row = self.row(pull.number).await?;
        if row.is_none_or(|row| !row.is_scheduled()) {
            return Ok(false);
        }
        let (item, verb) = (Item::Pull(pull.number), "canceling the scheduled merge of");
        let path = ["cancel_merge_when_pipeline_succeeds"];
        let request = self.of_item(Method::POST, item, &path, verb);
        let mut request = request.await?.repeatable();
        request.handles_unauthorized = true;
        let reply = self.http.write(&request).await?;
        check_may_merge(&reply, pull)?;
        reply.check(&[200, 201])?;
        let row = self.row(pull.number).await?;
        if row.is_some_and(|row| row.is_scheduled()) {
            let reason = "the merge is still scheduled";
            return Err(Error::about(Class::Refused, reply.what(), reason));
        }
        Ok(true)
    }

    pub(crate) async fn queue(&self, pull: &Pull) -> Result<Queue, Error> {
        if self.project().await?.merge_trains_enabled != Some(true) {
            return Ok(Queue::Missing);
        }
        let what = format!("reading the merge train of {}", pull.base);
        let path = ["merge_trains", &pull.base];
        let request = self.request(Method::GET, &path, what).await?;
        let request = request.query("scope", "active").query("sort", "asc");
        let rows = self.http.pages(&request, Paging::NextPage).await?;
        let is_own = |(_, row): &(u64, TrainRow)| row.merge_request.iid == pull.number;
        if let Some((position, row)) = (1..).zip(rows).find(is_own) {
            return Ok(Queue::Waiting(position, self.http.clean(&row.status)));
        }
        // One that the train merges is not on it any more.
        Ok(match self.row(pull.number).await? {
            Some(row) if row.state == "opened" && !row.is_scheduled() => Queue::Unscheduled,
            _ => Queue::Outside,
        })
    }

    async fn queued(&self, pull: &Pull) -> Result<Merge, Error> {
        Ok(match self.queue(pull).await? {
            Queue::Waiting(position, state) => Merge::Queued(position, state),
            _ => Merge::Queued(0, "idle".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_follow_the_rules_of_gitlab() {
        for (status, passes, expected) in [
            ("success", false, StatusResult::Pass),
            ("failed", false, StatusResult::Fail),
            ("failed", true, StatusResult::Pass),
            ("canceled", false, StatusResult::Fail),
            ("skipped", false, StatusResult::Fail),
            ("skipped", true, StatusResult::Pass),
            ("manual", true, StatusResult::Pass),
            ("manual", false, StatusResult::Pending),
            ("created", true, StatusResult::Pending),
            ("waiting_for_resource", false, StatusResult::Pending),
            ("preparing", false, StatusResult::Pending),
            ("pending", false, StatusResult::Pending),
            ("running", false, StatusResult::Pending),
            ("scheduled", false, StatusResult::Pending),
            ("a word of a later version", false, StatusResult::Pending),
        ] {
            assert_eq!(result(status, passes), expected, "{status} {passes}");
        }
    }

    #[test]
    fn reports_of_other_merge_requests_do_not_count() {
        for (reference, number, expected) in [
            (Some("refs/merge-requests/5/head"), Some(5), true),
            (Some("refs/merge-requests/5/merge"), Some(5), true),
            (Some("refs/merge-requests/51/head"), Some(5), false),
            (Some("refs/merge-requests/5/head"), None, false),
            (Some("refs/merge-requests//head"), None, false),
            (Some("auto/x"), Some(5), true),
            (None, Some(5), true),
        ] {
            assert_eq!(counts(reference, number), expected, "{reference:?}");
        }
    }
}
