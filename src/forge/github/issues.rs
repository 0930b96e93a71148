//! Issues, workflows that are started on request, and the claims by which one run starts them.
//!
//! A claim is a reference of repin's, which GitHub creates only if it is missing. It points at a tag
//! object with a word of its run's, so that a claim whose answer was lost is recognized.

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Github;
use crate::{
    error::{Class, Error},
    forge::{
        Ability, Claim, Edit, Issue, Issues,
        http::{Paging, Reply},
        shared::{IssueRow, issues},
    },
};

/// What a token needs for issues.
const ISSUES: &str = "`issues: write`";

#[derive(Deserialize)]
struct ObjectName {
    sha: String,
}

#[derive(Deserialize)]
struct Reference {
    object: ObjectName,
}

/// Neither a branch nor a tag: it starts no workflow and no page lists it.
fn reference(claim: &Claim<'_>) -> String {
    format!("repin/{}", claim.name)
}

#[async_trait(?Send)]
impl Issues for Github {
    async fn issues(&self) -> Result<Vec<Issue>, Error> {
        let request = self
            .request(Method::GET, "issues", "listing issues")
            .query("state", "open");
        let rows: Vec<IssueRow> = self.http.pages(&request, Paging::Links).await?;
        Ok(issues(rows))
    }

    async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        let request = self.request(Method::POST, "issues", "opening an issue");
        self.http.new_issue(request, title, body, ISSUES).await
    }

    async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        let request = self.request(
            Method::PATCH,
            &format!("issues/{number}"),
            format!("changing issue #{number}"),
        );
        self.http.edited_issue(request, edit, &[200], ISSUES).await
    }

    async fn can_dispatch(&self, workflow: &str) -> Result<Ability, Error> {
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

    async fn dispatch(&self, workflow: &str, branch: &str) -> Result<(), Error> {
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
            // Of something between here and GitHub, which may have passed the request on.
            _ if reply.status.is_success() => Error {
                begun: true,
                ..error.class(Class::Unavailable)
            },
            // A token that may read the workflow and not start it is answered 404.
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

    async fn claim(&self, claim: &Claim<'_>) -> Result<bool, Error> {
        let what = format!("claiming {}", claim.name);
        let body = json!({"tag": claim.name, "message": claim.word, "object": claim.commit, "type": "commit"});
        let request = self
            .request(Method::POST, "git/tags", &what)
            .body(body)
            .harmless();
        let reply = self.http.send(&request).await?;
        let object = if reply.status == 201 {
            reply.expect::<ObjectName>(&[201])?.sha
        } else {
            return Err(refused(&reply));
        };

        let body = json!({"ref": format!("refs/{}", reference(claim)), "sha": object});
        // A second time is refused, since the reference exists.
        let reply = self
            .http
            .send(
                &self
                    .request(Method::POST, "git/refs", &what)
                    .body(body)
                    .harmless(),
            )
            .await?;
        match reply.status.as_u16() {
            201 => Ok(true),
            409 | 422 if reply.text().contains("already exists") => {
                let there =
                    self.request(Method::GET, &format!("git/ref/{}", reference(claim)), what);
                Ok(self
                    .http
                    .send(&there)
                    .await?
                    .expect::<Reference>(&[200])?
                    .object
                    .sha
                    == object)
            }
            _ => Err(refused(&reply)),
        }
    }

    async fn release(&self, claim: &Claim<'_>) -> Result<(), Error> {
        let what = format!("releasing {}", claim.name);
        let request = self.request(
            Method::DELETE,
            &format!("git/refs/{}", reference(claim)),
            what,
        );
        self.http.send(&request).await?.check(&[204, 404, 422])
    }

    /// References below `refs/repin` show nowhere and are kept.
    async fn expire_claims(&self) -> Result<(), Error> {
        Ok(())
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
