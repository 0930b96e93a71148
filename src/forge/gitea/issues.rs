//! Issues, dispatched workflows, and the claims by which exactly one run starts a workflow.
//!
//! A claim is a branch, created together with a commit. Tags are unsuitable: if several are created
//! concurrently, the server stores one, responds 500 to all later ones, and cannot delete it. Git
//! itself refuses a push that creates an existing branch. The commit message contains a word of the
//! run, which identifies a claim after a lost response, and `[skip ci]`, so that the push starts no
//! workflow.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Gitea,
    repository::{is_race, is_rejected, refused, rejected},
};
use crate::{
    base::error::{Class, Error},
    forge::{
        Ability, Edit, EditNames, Issue, Kind, RunMark,
        http::Paging,
        shared::{IssueRow, issues, no_issues},
    },
    oci::date,
};

/// The scope for writing issues.
const ISSUES: &str = "write:issue";

/// The prefix of the branches of claims.
const PREFIX: &str = "repin/";

/// The age at which a claim is deleted: longer than the longest wait for a merge.
const EXPIRY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The maximum number of requests for the holder of a claim after another run was faster.
const MAX_HOLDER_READS: u32 = 3;

#[derive(Deserialize)]
struct Branch {
    name: String,
    commit: Commit,
}

#[derive(Deserialize)]
struct Commit {
    #[serde(default)]
    message: String,
    #[serde(default)]
    timestamp: String,
}

enum Holder {
    ThisRun,
    AnotherRun,
    None,
}

fn branch(claim: &RunMark<'_>) -> String {
    format!("{PREFIX}{}", claim.name)
}

impl Gitea {
    pub(crate) async fn issues(&self) -> Result<Vec<Issue>, Error> {
        let request = self
            .request(Method::GET, "issues", "listing issues")
            .query("state", "open")
            .query("type", "issues");
        let rows: Result<Vec<IssueRow>, Error> = self.http.pages(&request, Paging::Counted).await;
        match issues(rows, ISSUES) {
            Ok(issues) => Ok(issues),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    pub(crate) async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        let request = self.request(Method::POST, "issues", "opening an issue");
        match self
            .http
            .new_issue(request, &EditNames::STATE, [title, body], ISSUES)
            .await
        {
            Ok(issue) => Ok(issue),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    pub(crate) async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        let request = self.request(
            Method::PATCH,
            &format!("issues/{number}"),
            format!("changing issue #{number}"),
        );
        let edited = self
            .http
            .edit_issue(request, &EditNames::STATE, edit, ISSUES);
        match edited.await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    /// Gitea since 1.24 and Forgejo since 8 start workflows on request. There it is necessary: a merge
    /// with the token of a workflow run starts no workflow.
    pub(crate) async fn can_dispatch(&self) -> Result<Ability, Error> {
        if self.version().await?.starts_workflows() {
            return Ok(Ability::Yes);
        }
        let version = self.http.clean(&self.http.version(Kind::Gitea).await?);
        Ok(Ability::No(format!(
            "{version} cannot start workflows on request, and starts them after a merge automatically, except with the token of a workflow run"
        )))
    }

    pub(crate) async fn dispatch(&self, workflow: &str, branch: &str) -> Result<(), Error> {
        let path = format!("actions/workflows/{workflow}/dispatches");
        let request = self.request(
            Method::POST,
            &path,
            format!("starting the workflow {workflow}"),
        );
        let missing = format!(
            "{workflow} is missing on {branch}, or is not started by `workflow_dispatch`: correct forge.dispatch"
        );
        let reply = match self.http.send(&request.body(json!({"ref": branch}))).await {
            Ok(reply) => reply,
            // Forgejo responds 500 to a workflow that does not exist.
            Err(failure) if failure.error.message.contains("workflow not found") => {
                return Err(failure.error.class(Class::Refused).help(missing));
            }
            Err(failure) => {
                return Err(Error {
                    may_have_changed: failure.unsure,
                    ..failure.error
                });
            }
        };
        match reply.status.as_u16() {
            204 => Ok(()),
            // The response of a proxy, which may have forwarded the request.
            200..=299 => Err(Error {
                may_have_changed: true,
                ..reply.error().class(Class::Unavailable)
            }),
            404 => Err(reply.error().class(Class::Refused).help(missing)),
            403 => Err(reply
                .error()
                .help("give the token the scope write:repository")),
            _ => Err(refused(&reply)),
        }
    }

    pub(crate) async fn claim(&self, claim: &RunMark<'_>) -> Result<bool, Error> {
        let what = format!("claiming {}", claim.name);
        let message = format!(
            "{} [skip ci]\n\nCreated by repin so that only one run does this. {}\n",
            claim.name, claim.word
        );
        let file = json!({
            "operation": "create", "path": format!(".{PREFIX}{}", claim.name),
            "content": STANDARD.encode(claim.word),
        });
        let body = json!({
            "branch": claim.base, "new_branch": branch(claim), "message": message, "files": [file],
        });
        let request = self.request(Method::POST, "contents", &what).body(body);
        let reply = match self.http.send(&request).await {
            Ok(reply) => reply,
            // The server responds 500 to all concurrent requests except the first.
            Err(failure) if is_race(&failure.error.message) => {
                return self.is_held(claim, failure.error).await;
            }
            Err(failure) if is_rejected(&failure) => {
                return Err(rejected(failure, &branch(claim)));
            }
            Err(failure) if failure.unsure => return self.is_held(claim, failure.error).await,
            Err(failure) => return Err(failure.error),
        };
        match reply.status.as_u16() {
            200 | 201 => Ok(true),
            409 | 422 => self.is_held(claim, refused(&reply)).await,
            _ if is_race(&reply.text()) => self.is_held(claim, refused(&reply)).await,
            403 => Err(reply
                .error()
                .help("give the token the scope write:repository")),
            _ => Err(refused(&reply)),
        }
    }

    pub(crate) async fn release(&self, claim: &RunMark<'_>) -> Result<(), Error> {
        self.delete_claim(&branch(claim)).await
    }

    pub(crate) async fn delete_old_claims(&self) -> Result<(), Error> {
        let request = self.request(Method::GET, "branches", "listing claims");
        let branches: Vec<Branch> = self.http.pages(&request, Paging::Counted).await?;
        let now = date::offset((self.http.now())());
        for branch in branches {
            let created = OffsetDateTime::parse(&branch.commit.timestamp, &Rfc3339);
            let is_old = created.is_ok_and(|created| now - created > EXPIRY);
            if is_old
                && branch
                    .name
                    .starts_with(&format!("{PREFIX}dispatched/pull-"))
            {
                self.delete_claim(&branch.name).await?;
            }
        }
        Ok(())
    }

    /// The error, or that issues are disabled.
    async fn without_issues(&self, error: Error) -> Error {
        let features = self.features(&error).await;
        if features.is_none_or(|features| features.has_issues != Some(false)) {
            return error;
        }
        no_issues(error, "repository")
    }

    /// Whether this run holds a claim that another run may have made concurrently; `error` if no run
    /// holds it. The server shows a new branch only after its hook has run.
    async fn is_held(&self, claim: &RunMark<'_>, error: Error) -> Result<bool, Error> {
        for _ in 0..MAX_HOLDER_READS {
            match self.holder(claim).await? {
                Holder::ThisRun => return Ok(true),
                Holder::AnotherRun => return Ok(false),
                Holder::None => self.http.back_off(1).await,
            }
        }
        Err(error)
    }

    async fn holder(&self, claim: &RunMark<'_>) -> Result<Holder, Error> {
        let path = format!("branches/{}", branch(claim));
        let request = self.request(
            Method::GET,
            &path,
            format!("reading the holder of {}", claim.name),
        );
        let holder: Option<Branch> = self.http.find(&request, &[404]).await?;
        Ok(match holder {
            Some(branch) if branch.commit.message.contains(claim.word) => Holder::ThisRun,
            Some(_) => Holder::AnotherRun,
            None => Holder::None,
        })
    }

    async fn delete_claim(&self, name: &str) -> Result<(), Error> {
        let what = format!("deleting the claim {name}");
        let request = self.request(Method::DELETE, &format!("branches/{name}"), what);
        self.http.send(&request).await?.check(&[204, 404])
    }
}
