//! Around a pull request: statuses, what a branch requires, merging, workflows, issues.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Gitea, commit::refusal};
use crate::{
    config::MergeMethod,
    error::{Class, Error},
    forge::{
        Ability, Edit, Issue, Merge, Pull, Said, Status, StatusKind,
        alike::{IssueRow, issues},
        http::{Paging, Reply},
    },
};

/// What a token needs for issues.
const ISSUES: &str = "write:issue";

const FAST_FORWARD: &str = "fast-forward-only";

/// What tells that a style of merging is allowed, and the style's name.
const STYLES: [(&str, &str); 5] = [
    ("allow_merge_commits", "merge"),
    ("allow_squash_merge", "squash"),
    ("allow_rebase", "rebase"),
    ("allow_rebase_explicit", "rebase-merge"),
    ("allow_fast_forward_only_merge", FAST_FORWARD),
];

#[derive(Deserialize)]
struct Named {
    sha: String,
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
        let said = match self.status.as_str() {
            "success" | "skipped" => Said::Pass,
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

impl Gitea {
    pub(super) async fn read_commit(&self, reference: &str) -> Result<Option<String>, Error> {
        // A branch's name may have slashes, which the other place does not take.
        let named = !reference.bytes().all(|b| b.is_ascii_hexdigit());
        if named && let Some(head) = self.read_branch(reference).await? {
            return Ok(Some(head.commit));
        }
        let what = format!("looking up {reference}");
        let request = self.request(Method::GET, &format!("git/commits/{reference}"), what);
        let named: Option<Named> = self.http.find(&request, &[404, 422]).await?;
        Ok(named.map(|named| named.sha))
    }

    pub(super) async fn read_statuses(&self, commit: &str) -> Result<Vec<Status>, Error> {
        let request = self.request(
            Method::GET,
            &format!("commits/{commit}/statuses"),
            "reading statuses",
        );
        let rows: Vec<StatusRow> = self.http.pages(&request, Paging::Counted).await?;
        Ok(rows.into_iter().map(StatusRow::status).collect())
    }

    pub(super) async fn read_required(&self, branch: &str) -> Result<Option<Vec<String>>, Error> {
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

    pub(super) async fn schedule_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let style = self.merge_style().await?;
        if style == FAST_FORWARD && !self.version().await?.schedules_fast_forward() {
            return Ok(Merge::Unscheduled(
                "the repository merges by fast-forward only, and Gitea schedules no such merge"
                    .to_owned(),
            ));
        }
        let body = json!({"Do": style, "merge_when_checks_succeed": true, "head_commit_id": head});
        self.ask_to_merge(pull, body).await
    }

    pub(super) async fn merge_now(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let style = self.merge_style().await?;
        self.ask_to_merge(pull, json!({"Do": style, "head_commit_id": head}))
            .await
    }

    async fn ask_to_merge(&self, pull: &Pull, body: Value) -> Result<Merge, Error> {
        let path = format!("pulls/{}/merge", pull.number);
        let request = self.request(Method::POST, &path, format!("merging #{}", pull.number));
        // A second time is refused, since it is scheduled or merged.
        let reply = self.http.send(&request.body(body).harmless()).await?;
        match reply.status.as_u16() {
            200 => Ok(Merge::Merged),
            201 => Ok(Merge::Scheduled),
            409 if reply.text().contains("already") => Ok(Merge::Scheduled),
            403 => Err(reply.error().help(
                "the token needs write:repository, and its owner has to be allowed to merge",
            )),
            423 => Err(refusal(&reply)),
            // The same answer while it looks for conflicts, which it does right after the branch
            // was made, and where there is one.
            405 if reply.text().contains("try again later") => Ok(Merge::Later(
                "the forge is still checking it for conflicts, or found one".to_owned(),
            )),
            404 | 405 | 409 | 422 => Ok(Merge::Refused(reply.text())),
            _ => Err(reply.error()),
        }
    }

    /// Cancels a scheduled merge; `false`: none was scheduled.
    pub(super) async fn unschedule_merge(&self, pull: &Pull) -> Result<bool, Error> {
        let what = format!("cancelling the scheduled merge of #{}", pull.number);
        let path = format!("pulls/{}/merge", pull.number);
        let reply = self
            .http
            .send(&self.request(Method::DELETE, &path, what))
            .await?;
        match reply.status.as_u16() {
            200 | 204 => Ok(true),
            404 => Ok(false),
            _ => Err(refusal(&reply)),
        }
    }

    /// The configured style, else the one that the repository prefers, if it allows it; else the
    /// first that it allows. One that is not allowed is scheduled all the same, and never carried
    /// out, so it is refused here.
    pub(super) async fn merge_style(&self) -> Result<&'static str, Error> {
        let reply = self
            .http
            .send(&self.request(Method::GET, "", "reading how to merge"))
            .await?;
        let row: Value = reply.expect(&[200])?;
        let allowed = STYLES.iter().filter(|(key, _)| row[*key] == true);
        let mut styles = allowed.map(|(_, style)| *style);
        if self.method != MergeMethod::Auto {
            return self.configured_style(&styles.collect::<Vec<_>>());
        }
        let preferred = row["default_merge_style"].as_str().unwrap_or_default();
        let first = styles.clone().next();
        styles
            .find(|style| *style == preferred)
            .or(first)
            .ok_or_else(|| {
                let what = format!("Gitea: reading how {} merges", self.full_name());
                Error::about(
                    Class::Refused,
                    what,
                    "the repository allows no style of merging",
                )
                .help("allow one in the repository's settings")
            })
    }

    fn configured_style(&self, allowed: &[&'static str]) -> Result<&'static str, Error> {
        let configured = self.method.as_str();
        if let Some(style) = allowed.iter().find(|style| **style == configured) {
            return Ok(style);
        }
        let what = format!("Gitea: merging into {}", self.full_name());
        let why = match allowed {
            [] => "the repository allows no style of merging".to_owned(),
            _ => format!(
                "forge.merge_method is {configured}, and the repository allows {}",
                allowed.join(" or ")
            ),
        };
        Err(Error::about(Class::Refused, what, why).help(
            "set forge.merge_method to auto, or allow the style in the repository's settings",
        ))
    }

    /// Gitea starts workflows by request from 1.24 on, Forgejo from 8 on; there they have to be,
    /// since a merge made with a token of a workflow starts none.
    pub(super) async fn dispatch_ability(&self, _workflow: &str) -> Result<Ability, Error> {
        if self.version().await?.starts_workflows() {
            return Ok(Ability::Yes);
        }
        let version = self.http.clean(&self.version_text().await?);
        Ok(Ability::No(format!(
            "{version} can't be asked to start workflows, and starts them after a merge by itself"
        )))
    }

    pub(super) async fn start_workflow(&self, workflow: &str, branch: &str) -> Result<(), Error> {
        let path = format!("actions/workflows/{workflow}/dispatches");
        let request = self.request(
            Method::POST,
            &path,
            format!("starting the workflow {workflow}"),
        );
        let missing = |error: Error| {
            let hint = format!(
                "{workflow} is missing on {branch}, or is not started by `workflow_dispatch`: correct forge.dispatch"
            );
            error.class(Class::Refused).help(hint)
        };
        let reply = match self.http.send(&request.body(json!({"ref": branch}))).await {
            Ok(reply) => reply,
            // Forgejo answers 500 to a workflow that does not exist.
            Err(failure) if failure.error.message.contains("workflow not found") => {
                return Err(missing(failure.error));
            }
            Err(failure) => {
                return Err(Error {
                    begun: failure.unsure,
                    ..failure.error
                });
            }
        };
        match reply.status.as_u16() {
            200 | 201 | 204 => Ok(()),
            404 => Err(missing(reply.error())),
            403 => Err(reply.error().help("the token needs write:repository")),
            _ => Err(refusal(&reply)),
        }
    }

    pub(super) async fn list_issues(&self) -> Result<Vec<Issue>, Error> {
        let request = self
            .request(Method::GET, "issues", "listing issues")
            .query("state", "open")
            .query("type", "issues");
        let rows: Result<Vec<IssueRow>, Error> = self.http.pages(&request, Paging::Counted).await;
        match rows {
            Ok(rows) => Ok(issues(rows)),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    pub(super) async fn make_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        let request = self.request(Method::POST, "issues", "opening an issue");
        match self.http.new_issue(request, title, body, ISSUES).await {
            Ok(issue) => Ok(issue),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    pub(super) async fn change_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        let request = self.request(
            Method::PATCH,
            &format!("issues/{number}"),
            format!("changing issue #{number}"),
        );
        let edited = self.http.edited_issue(request, edit, &[200, 201], ISSUES);
        match edited.await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    /// The same error, or that issues are switched off: the server answers 404 to both.
    async fn without_issues(&self, error: Error) -> Error {
        if !error.message.starts_with("HTTP 404") {
            return error;
        }
        let request = self.request(Method::GET, "", "looking whether there are issues");
        let answer = self.http.send(&request).await.map_err(Error::from);
        let row = answer.and_then(|reply: Reply| reply.expect::<Value>(&[200]));
        if row.is_ok_and(|row| row["has_issues"] == false) {
            let message = format!("{}: the repository has no issues", error.message);
            return Error { message, ..error }
                .class(Class::Refused)
                .help("switch issues on in the repository's settings");
        }
        error
    }
}
