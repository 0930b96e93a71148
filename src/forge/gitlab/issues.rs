//! Issues, and the comments and labels of issues and merge requests.

use reqwest::Method;
use serde_json::json;

use super::Gitlab;
use crate::{
    base::error::{Class, Error},
    forge::{
        Comment, Edit, EditNames, Issue, Item, LabelOutcome,
        http::{Paging, Request},
        shared::{CommentRow, IssueRow, issues, label_outcome},
    },
};

impl Gitlab {
    pub(crate) async fn issues(&self) -> Result<Vec<Issue>, Error> {
        let request = self
            .request(Method::GET, &["issues"], "listing issues")
            .await?
            .query("state", "opened");
        let rows: Result<Vec<IssueRow>, Error> = self.http.pages(&request, Paging::NextPage).await;
        match rows {
            Ok(rows) => Ok(issues(rows)),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    pub(crate) async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        self.check_token_kind()?;
        let request = self
            .request(Method::POST, &["issues"], "opening an issue")
            .await?
            .body(json!({"title": title, "description": body}));
        let reply = self.http.send(&request).await?;
        match reply.expect::<IssueRow>(&[201]) {
            Ok(row) => Ok(row.into()),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    pub(crate) async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        self.check_token_kind()?;
        let body = edit.request_body(&EditNames::EVENT, |title, _| title.to_owned());
        let path = ["issues", &number.to_string()];
        let what = format!("changing issue #{number}");
        let request = self.request(Method::PUT, &path, what).await?.body(body);
        match self.http.send(&request).await?.check(&[200]) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.without_issues(error).await),
        }
    }

    pub(crate) async fn comments(&self, item: Item) -> Result<Vec<Comment>, Error> {
        let what = format!("reading the comments of {}", mark(item));
        let request = self.of_item(Method::GET, item, &["notes"], what).await?;
        let request = request.query("sort", "asc");
        let rows: Vec<CommentRow> = self.http.pages(&request, Paging::NextPage).await?;
        Ok(rows.into_iter().map(Comment::from).collect())
    }

    pub(crate) async fn add_comment(&self, item: Item, text: &str) -> Result<(), Error> {
        self.check_token_kind()?;
        let what = format!("commenting on {}", mark(item));
        let request = self.of_item(Method::POST, item, &["notes"], what).await?;
        self.http.post_comment(request, text).await
    }

    /// GitLab creates missing labels.
    pub(crate) async fn add_labels(
        &self,
        item: Item,
        labels: &[String],
    ) -> Result<LabelOutcome, Error> {
        self.check_token_kind()?;
        let what = format!("labeling {}", mark(item));
        let request = self.of_item(Method::PUT, item, &[], what).await?;
        // A comma separates labels, and cannot be a part of one.
        let body = json!({"add_labels": labels.join(",")});
        let reply = self.http.write(&request.body(body)).await?;
        Ok(label_outcome(&reply))
    }

    async fn of_item(
        &self,
        method: Method,
        item: Item,
        path: &[&str],
        what: String,
    ) -> Result<Request, Error> {
        let (kind, number) = match item {
            Item::Pull(number) => ("merge_requests", number),
            Item::Issue(number) => ("issues", number),
        };
        let number = number.to_string();
        self.request(method, &[&[kind, &number], path].concat(), what)
            .await
    }

    /// The error, or that issues are disabled.
    async fn without_issues(&self, error: Error) -> Error {
        match self.project().await {
            Ok(project) if project.has_no_issues() => {
                let message = format!("{}: the project has no issues", error.message);
                Error { message, ..error }
                    .class(Class::Refused)
                    .help("enable issues in the project's settings")
            }
            _ if matches!(error.status, Some(403 | 404)) => error
                .class(Class::Denied)
                .help("give the token the scope `api` and the role Reporter or a higher one"),
            _ => error,
        }
    }
}

/// The number of a merge request or an issue, as GitLab writes it.
fn mark(item: Item) -> String {
    match item {
        Item::Pull(number) => format!("!{number}"),
        Item::Issue(number) => format!("#{number}"),
    }
}
