//! Issues, workflows that are started on request, and the claims by which one run starts them.
//!
//! A claim is a branch, made together with a commit. Tags are unsuitable: of several that are made
//! at once the server keeps one, answers 500 to all later ones, and cannot delete it. A push to a
//! branch that exists is refused by git itself. The commit's message holds a word of its run's, so
//! that a claim whose answer was lost is recognized, and `[skip ci]`, so that no workflow starts on
//! the push.

use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Gitea,
    refusal::{is_race, is_rejected, refused, rejected},
};
use crate::{
    error::{Class, Error},
    forge::{
        Ability, Claim, Edit, Issue, Issues,
        http::{Paging, Reply},
        shared::{IssueRow, issues},
    },
};

/// What a token needs for issues.
const ISSUES: &str = "write:issue";

/// What the names of all marks begin with.
const MARKS: &str = "repin/";

/// How long a mark is kept: longer than anyone waits for a merge.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

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

/// How often repin looks for the holder of a claim that it did not get.
const RACE_LOOKS: u32 = 3;

/// Who holds a claim.
enum Holder {
    ThisRun,
    AnotherRun,
    Nobody,
}

fn branch(claim: &Claim<'_>) -> String {
    format!("{MARKS}{}", claim.name)
}

#[async_trait(?Send)]
impl Issues for Gitea {
    async fn issues(&self) -> Result<Vec<Issue>, Error> {
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

    async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        let request = self.request(Method::POST, "issues", "opening an issue");
        match self.http.new_issue(request, title, body, ISSUES).await {
            Ok(issue) => Ok(issue),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
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

    /// Gitea starts workflows by request from 1.24 on, Forgejo from 8 on; there they must be,
    /// since a merge made with a token of a workflow starts none.
    async fn can_dispatch(&self, _workflow: &str) -> Result<Ability, Error> {
        if self.version().await?.starts_workflows() {
            return Ok(Ability::Yes);
        }
        let version = self.http.clean(&self.version_text().await?);
        Ok(Ability::No(format!(
            "{version} cannot start workflows on request, and starts them after a merge automatically"
        )))
    }

    async fn dispatch(&self, workflow: &str, branch: &str) -> Result<(), Error> {
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
            204 => Ok(()),
            // Of something between here and the server, which may have passed the request on.
            200..=299 => Err(Error {
                begun: true,
                ..reply.error().class(Class::Unavailable)
            }),
            404 => Err(missing(reply.error())),
            403 => Err(reply
                .error()
                .help("give the token the scope write:repository")),
            _ => Err(refused(&reply)),
        }
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<bool, Error> {
        let what = format!("claiming {}", claim.name);
        let message = format!(
            "{} [skip ci]\n\nMade by repin so that one run alone does this. {}\n",
            claim.name, claim.word
        );
        let file = json!({"operation": "create", "path": format!(".{MARKS}{}", claim.name), "content": STANDARD.encode(claim.word)});
        let body = json!({"branch": claim.base, "new_branch": branch(claim), "message": message, "files": [file]});
        let request = self.request(Method::POST, "contents", &what).body(body);
        let reply = match self.http.send(&request).await {
            Ok(reply) => reply,
            // Of several at once those that come second are answered with 500.
            Err(failure) if is_race(&failure.error.message) => {
                return self.race(claim, failure.error).await;
            }
            Err(failure) if is_rejected(&failure) => {
                return Err(rejected(failure, &branch(claim)));
            }
            Err(failure) if failure.unsure => return self.race(claim, failure.error).await,
            Err(failure) => return Err(failure.error),
        };
        match reply.status.as_u16() {
            200 | 201 => Ok(true),
            409 | 422 => self.race(claim, refused(&reply)).await,
            _ if is_race(&reply.text()) => self.race(claim, refused(&reply)).await,
            _ => Err(denied(&reply)),
        }
    }

    async fn release(&self, claim: &Claim<'_>) -> Result<(), Error> {
        self.drop_mark(&branch(claim)).await
    }

    async fn expire_claims(&self) -> Result<(), Error> {
        let request = self.request(Method::GET, "branches", "listing marks");
        let branches: Vec<Branch> = self.http.pages(&request, Paging::Counted).await?;
        let now = OffsetDateTime::from((self.http.now())());
        for branch in branches {
            let made = OffsetDateTime::parse(&branch.commit.timestamp, &Rfc3339).ok();
            let old = made.is_some_and(|made| now - made > KEPT);
            if branch.name.starts_with(&format!("{MARKS}dispatched/")) && old {
                self.drop_mark(&branch.name).await?;
            }
        }
        Ok(())
    }
}

impl Gitea {
    /// The same error, or that issues are switched off: the server answers 404 to both.
    async fn without_issues(&self, error: Error) -> Error {
        if !self.is_disabled(&error, "has_issues").await {
            return error;
        }
        let message = format!("{}: the repository has no issues", error.message);
        Error { message, ..error }
            .class(Class::Refused)
            .help("enable issues in the repository's settings")
    }

    /// Whether this run holds a claim that may have been made by another one concurrently; `error` if
    /// no run does. The server shows a new branch only after its hook has run.
    async fn race(&self, claim: &Claim<'_>, error: Error) -> Result<bool, Error> {
        for _ in 0..RACE_LOOKS {
            match self.holder(claim).await? {
                Holder::ThisRun => return Ok(true),
                Holder::AnotherRun => return Ok(false),
                Holder::Nobody => self.http.back_off(1).await,
            }
        }
        Err(error)
    }

    /// Who holds the claim.
    async fn holder(&self, claim: &Claim<'_>) -> Result<Holder, Error> {
        let path = format!("branches/{}", branch(claim));
        let request = self.request(
            Method::GET,
            &path,
            format!("reading the holder of {}", claim.name),
        );
        let there: Option<Branch> = self.http.find(&request, &[404]).await?;
        Ok(match there {
            Some(branch) if branch.commit.message.contains(claim.word) => Holder::ThisRun,
            Some(_) => Holder::AnotherRun,
            None => Holder::Nobody,
        })
    }

    async fn drop_mark(&self, name: &str) -> Result<(), Error> {
        let what = format!("deleting the mark {name}");
        let request = self.request(Method::DELETE, &format!("branches/{name}"), what);
        self.http.send(&request).await?.check(&[204, 404])
    }
}

fn denied(reply: &Reply) -> Error {
    match reply.status.as_u16() {
        403 => reply
            .error()
            .help("give the token the scope write:repository"),
        _ => refused(reply),
    }
}
