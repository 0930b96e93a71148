//! What the APIs of GitHub and of Gitea share: answers that may be absent, polling, contents,
//! comments, issues, and the refusal of a merge method.
//!
//! The adapters name the requests, and what a refusal means there.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Comment, Edit, Issue, Poll, Pull, Repo, blob_id,
    http::{Http, Reply, Request, renamed},
    rights::ARCHIVED,
};
use crate::{
    config::MergeMethod,
    error::{Class, Error},
};

#[derive(Deserialize)]
struct Blob {
    content: String,
    encoding: String,
}

#[derive(Deserialize)]
pub(super) struct CommentRow {
    body: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct IssueRow {
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
    pull_request: Option<Value>,
}

impl From<CommentRow> for Comment {
    fn from(row: CommentRow) -> Self {
        Self {
            body: row.body.unwrap_or_default(),
        }
    }
}

impl From<IssueRow> for Issue {
    fn from(row: IssueRow) -> Self {
        Self {
            number: row.number,
            url: row.html_url,
            title: row.title,
            body: row.body.unwrap_or_default(),
        }
    }
}

/// The issues of a listing that has pull requests among them.
pub(super) fn issues(rows: Vec<IssueRow>) -> Vec<Issue> {
    rows.into_iter()
        .filter(|row| row.pull_request.is_none())
        .map(Issue::from)
        .collect()
}

/// What a refusal to write an issue means; `needs` names the permission.
fn issue_refused(reply: &Reply, error: Error, needs: &str) -> Error {
    match reply.status.as_u16() {
        403 | 404 => error
            .class(Class::Denied)
            .help(format!("give the token {needs}")),
        410 => error
            .class(Class::Refused)
            .help("enable issues in the repository's settings"),
        _ => error,
    }
}

/// Fails where the repository is archived.
pub(super) fn writable(repo: &Repo, what: &str) -> Result<(), Error> {
    if repo.archived {
        return Err(Error::about(Class::Denied, what, ARCHIVED)
            .help("unarchive the repository, or point forge.repository at another one"));
    }
    Ok(())
}

/// Fails if the forge answered for a repository with another name: it may follow a renaming itself.
pub(super) fn same_repository(reply: &Reply, wanted: &str, repo: &Repo) -> Result<(), Error> {
    if repo.full_name.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(renamed(reply.what(), wanted, &repo.full_name))
}

/// The refusal to merge into `place`, which allows the methods `allowed` and not the configured one.
pub(super) fn method_refused(
    what: String,
    method: MergeMethod,
    place: &str,
    allowed: &[&str],
) -> Error {
    let method = method.as_str();
    if allowed.is_empty() {
        let reason = format!("{place} allows no merge method");
        return Error::about(Class::Refused, what, reason)
            .help("allow a merge method in the repository's settings");
    }
    let allowed = allowed.join(" or ");
    let reason = format!("forge.merge_method is {method}, and {place} allows {allowed}");
    Error::about(Class::Refused, what, reason).help(format!(
        "set forge.merge_method to auto or {allowed}, or allow {method} in the repository's settings"
    ))
}

impl Http {
    /// The response; `None` if its status is one of `absent`.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        request: &Request,
        absent: &[u16],
    ) -> Result<Option<T>, Error> {
        let reply = self.send(request).await?;
        if absent.contains(&reply.status.as_u16()) {
            Ok(None)
        } else {
            reply.expect(&[200]).map(Some)
        }
    }

    /// The response to a request that changes something; an error knows whether it may have done
    /// so.
    pub(super) async fn write(&self, request: &Request) -> Result<Reply, Error> {
        self.send(request).await.map_err(|failure| Error {
            begun: failure.unsure,
            ..failure.error
        })
    }

    /// The response about the repository itself.
    pub(super) async fn repository(&self, request: &Request) -> Result<Reply, Error> {
        let reply = self.send(request).await?;
        if reply.status == 404 {
            let hint =
                "check forge.url and forge.repository, and that the token may read the repository";
            return Err(reply.error().class(Class::Denied).help(hint));
        }
        Ok(reply)
    }

    /// The response about the branch that the configuration names.
    pub(super) async fn base_branch<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<T, Error> {
        let reply = self.send(request).await?;
        if reply.status == 404 {
            let hint = "the branch does not exist: correct forge.base";
            return Err(reply.error().class(Class::Refused).help(hint));
        }
        reply.expect(&[200])
    }

    /// A pull request as it is now, unless it is still as it was; that answer costs nothing of a
    /// rate limit.
    pub(super) async fn poll<T: DeserializeOwned>(
        &self,
        mut request: Request,
        etag: Option<&str>,
        pull: impl FnOnce(T) -> Pull,
    ) -> Result<Poll, Error> {
        request.unless = etag.map(str::to_owned);
        let reply = self.send(&request).await?;
        match reply.status.as_u16() {
            304 => return Ok(Poll::Same),
            404 => return Ok(Poll::Absent),
            _ => {}
        }
        let etag = reply.header("etag").map(str::to_owned);
        Ok(Poll::Now(Box::new(pull(reply.expect(&[200])?)), etag))
    }

    /// A content, which must be the one that `id` names.
    pub(super) async fn content(&self, request: &Request, id: &str) -> Result<Vec<u8>, Error> {
        let blob: Blob = self.send(request).await?.expect(&[200])?;
        let wrong = |reason: &str| Error::unavailable(&request.what, reason);
        if blob.encoding != "base64" {
            return Err(wrong("the content is not base64-encoded"));
        }
        let text: String = blob.content.split_ascii_whitespace().collect();
        let content = STANDARD
            .decode(text)
            .map_err(|_| wrong("malformed base64"))?;
        if blob_id(&content, id) == id {
            Ok(content)
        } else {
            Err(wrong("the content does not match the requested digest"))
        }
    }

    /// Adds a comment.
    pub(super) async fn post_comment(&self, request: Request, text: &str) -> Result<(), Error> {
        self.send(&request.body(json!({"body": text})))
            .await?
            .check(&[201])
    }

    /// Opens an issue; `needs` names the permission for it.
    pub(super) async fn new_issue(
        &self,
        request: Request,
        title: &str,
        body: &str,
        needs: &str,
    ) -> Result<Issue, Error> {
        let reply = self
            .send(&request.body(json!({"title": title, "body": body})))
            .await?;
        reply
            .expect::<IssueRow>(&[201])
            .map(Issue::from)
            .map_err(|error| issue_refused(&reply, error, needs))
    }

    /// `good`: what a change is answered with.
    pub(super) async fn edited_issue(
        &self,
        request: Request,
        edit: &Edit<'_>,
        good: &[u16],
        needs: &str,
    ) -> Result<(), Error> {
        let reply = self
            .send(&request.body(edit.fields(|title, _| title.to_owned())))
            .await?;
        reply
            .check(good)
            .map_err(|error| issue_refused(&reply, error, needs))
    }
}
