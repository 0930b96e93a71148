//! Issues, and the comments and labels of issues and merge requests.

use reqwest::Method;
use serde_json::json;

use super::Gitlab;
use crate::{
    base::error::Error,
    forge::{
        Comment, Edit, EditNames, Issue, Item, LabelOutcome,
        http::Paging,
        shared::{CommentRow, IssueRow, issues, label_outcome, no_issues},
    },
};

/// The permission for issues.
const ISSUES: &str = "the scope `api` and the role Reporter or a higher one";

/// The labels as a parameter. A comma separates labels, and cannot be a part of one.
pub(super) fn joined_labels(labels: &[String]) -> String {
    labels.join(",")
}

impl Gitlab {
    pub(crate) async fn issues(&self) -> Result<Vec<Issue>, Error> {
        let request = self.request(Method::GET, &["issues"], "listing issues");
        let request = request.await?.query("state", "opened");
        let rows: Result<Vec<IssueRow>, Error> = self.http.pages(&request, Paging::NextPage).await;
        self.issues_enabled(issues(rows, ISSUES)).await
    }

    pub(crate) async fn open_issue(&self, title: &str, body: &str) -> Result<Issue, Error> {
        let request = self.request(Method::POST, &["issues"], "opening an issue");
        let (request, names) = (request.await?, &EditNames::EVENT);
        let opened = self.http.new_issue(request, names, [title, body], ISSUES);
        self.issues_enabled(opened.await).await
    }

    pub(crate) async fn edit_issue(&self, number: u64, edit: &Edit<'_>) -> Result<(), Error> {
        let request = self.of_item(Method::PUT, Item::Issue(number), &[], "changing");
        let (request, names) = (request.await?, &EditNames::EVENT);
        let edited = self.http.edit_issue(request, names, edit, ISSUES);
        self.issues_enabled(edited.await).await
    }

    pub(crate) async fn comments(&self, item: Item) -> Result<Vec<Comment>, Error> {
        let verb = "reading the comments of";
        let request = self.of_item(Method::GET, item, &["notes"], verb).await?;
        let request = request.query("sort", "asc");
        let rows: Vec<CommentRow> = self.http.pages(&request, Paging::NextPage).await?;
        Ok(rows.into_iter().map(Comment::from).collect())
    }

    pub(crate) async fn add_comment(&self, item: Item, text: &str) -> Result<(), Error> {
        let request = self.of_item(Method::POST, item, &["notes"], "commenting on");
        let request = request.await?;
        self.http.post_comment(request, text).await
    }

    /// GitLab creates missing labels.
    pub(crate) async fn add_labels(
        &self,
        item: Item,
        labels: &[String],
    ) -> Result<LabelOutcome, Error> {
        let request = self.of_item(Method::PUT, item, &[], "labeling").await?;
        let body = json!({"add_labels": joined_labels(labels)});
        let reply = self.http.write(&request.body(body)).await?;
        Ok(label_outcome(&reply))
    }

    /// The result, or that issues are disabled.
    async fn issues_enabled<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match (result, self.project().await) {
            (Err(error), Ok(project)) if project.has_no_issues() => {
                Err(no_issues(error, "project"))
            }
            (result, _) => result,
        }
    }
}
