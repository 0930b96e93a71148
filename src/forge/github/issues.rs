//! Issues, dispatched workflows, and the claims by which exactly one run starts a workflow.
//!
//! A claim is a reference, which GitHub creates only if it is missing. It refers to a tag object with a
//! word of the run, by which a claim is recognized after a lost response.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Github, branches::ObjectRow};
use crate::{
    base::error::{Class, Error},
    forge::{
        Ability, Edit, EditNames, Issue, RunMark,
        http::{Paging, Reply},
        shared::{IssueRow, issues},
    },
};

/// The permission for writing issues.
const ISSUES: &str = "`issues: write`";

#[derive(Deserialize)]
struct WorkflowRow {
    state: Option<String>,
}

#[derive(Deserialize)]
struct ReferenceRow {
    object: ObjectRow,
}

/// The reference of a claim, outside of `refs/heads/` and `refs/tags/`, so that it starts no workflow and no
/// page lists it.
fn reference(claim: &RunMark<'_>) -> String {
    format!("repin/{}", claim.name)
}

impl Github {
    pub(crate) async fn issues(&self) -> Result<Vec<Issue>, Error> {
        let request = self
            .request(Method::GET, "issues", "listing issues")
            .query("state", "open");
        let rows: Result<Vec<IssueRow>, Error> = self.http.pages(&request, Paging::Links).await;
        issues(rows, ISSUES)
    }

    pub(crate) async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        let request = self.request(Method::POST, "issues", "opening an issue");
        self.http
            .new_issue(request, &EditNames::STATE, [title, body], ISSUES)
            .await
    }

    pub(crate) async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        let request = self.request(
            Method::PATCH,
            &format!("issues/{number}"),
            format!("changing issue #{number}"),
        );
        self.http
            .edit_issue(request, &EditNames::STATE, edit, ISSUES)
            .await
    }

    pub(crate) async fn can_dispatch(&self, workflow: &str) -> Result<Ability, Error> {
        let path = format!("actions/workflows/{workflow}");
        let what = format!("looking up the workflow {workflow}");
        let reply = self
            .http
            .send(&self.request(Method::GET, &path, &what))
            .await?;
        match reply.status.as_u16() {
            404 => {
                let message =
                    format!("the workflow {workflow} does not exist, or the token may not see it");
                let hint = "correct forge.dispatch, or give the token `actions: write`";
                Err(Error {
                    message,
                    ..reply.error()
                }
                .class(Class::Denied)
                .help(hint))
            }
            403 => Err(reply.error().help("give the token `actions: write`")),
            _ => {
                let row: WorkflowRow = reply.expect(&[200])?;
                match row.state.as_deref() {
                    None | Some("active") => Ok(Ability::Yes),
                    Some(state) => {
                        let reason = format!("it is {}", self.http.clean(state));
                        let what = format!("GitHub: {what}");
                        Err(Error::about(Class::Refused, what, reason).help("enable it"))
                    }
                }
            }
        }
    }

    pub(crate) async fn dispatch(&self, workflow: &str, branch: &str) -> Result<(), Error> {
        let path = format!("actions/workflows/{workflow}/dispatches");
        let request = self.request(
            Method::POST,
            &path,
            format!("starting the workflow {workflow}"),
        );
        let reply = self
            .http
            .write(&request.body(json!({"ref": branch})))
            .await?;
        reply.check(&[204]).map_err(|error| match error.class {
            // The response of a proxy, which may have forwarded the request.
            _ if reply.status.is_success() => Error {
                may_have_changed: true,
                ..error.class(Class::Unavailable)
            },
            // GitHub responds 404 to a token that may read the workflow but not start it.
            _ if reply.status == 404 => error.class(Class::Denied).help(format!(
                "give the token `actions: write`, and check that {workflow} is on {branch}"
            )),
            Class::Denied => error.help("give the token `actions: write`"),
            Class::Refused => {
                error.help("the workflow must have the trigger `workflow_dispatch` on that branch")
            }
            _ => error,
        })
    }

    pub(crate) async fn claim(&self, claim: &RunMark<'_>) -> Result<bool, Error> {
        let what = format!("claiming {}", claim.name);
        let body = json!({"tag": claim.name, "message": claim.word, "object": claim.commit, "type": "commit"});
        let request = self
            .request(Method::POST, "git/tags", &what)
            .body(body)
            .repeatable();
        let reply = self.http.send(&request).await?;
        if reply.status != 201 {
            return Err(refused(&reply));
        }
        let tag = reply.expect::<ObjectRow>(&[201])?.sha;
        let body = json!({"ref": format!("refs/{}", reference(claim)), "sha": tag});
        // A repeated request is refused, because the reference exists by then.
        let request = self
            .request(Method::POST, "git/refs", &what)
            .body(body)
            .repeatable();
        let reply = self.http.send(&request).await?;
        match reply.status.as_u16() {
            201 => Ok(true),
            409 | 422 if reply.text().contains("already exists") => {
                let path = format!("git/ref/{}", reference(claim));
                let request = self.request(Method::GET, &path, what);
                let existing: ReferenceRow = self.http.send(&request).await?.expect(&[200])?;
                Ok(existing.object.sha == tag)
            }
            _ => Err(refused(&reply)),
        }
    }

    pub(crate) async fn release(&self, claim: &RunMark<'_>) -> Result<(), Error> {
        let what = format!("releasing {}", claim.name);
        let request = self.request(
            Method::DELETE,
            &format!("git/refs/{}", reference(claim)),
            what,
        );
        self.http.send(&request).await?.check(&[204, 404, 422])
    }
}

fn refused(reply: &Reply) -> Error {
    let error = reply.error();
    match reply.status.as_u16() {
        403 | 404 => error
            .class(Class::Denied)
            .help("give the token `contents: write`"),
        _ => error,
    }
}
