//! Pull requests, labels and comments.

use reqwest::Method;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use super::{Github, checks::ACTIONS_BOT, graphql::Response, repository};
use crate::{
    base::error::{Class, Error},
    forge::{
        BranchCommit, Comment, CreateOutcome, Edit, EditNames, Item, LabelOutcome, Mergeable,
        MergedPull, NewPull, Poll, Pull, PullState, Pulls, Readiness,
        http::Paging,
        shared::{AccountRow, CommentRow, MergedRow, OpenReply, label_outcome},
    },
};

/// The message of an Enterprise Server without draft pull requests; github.com has them on every plan.
const NO_DRAFTS: &str = "Draft pull requests are not supported";

const USE_READY: &str = "use --pr ready";

/// The remedy for a token that may not open a pull request.
const MAY_OPEN: &str = "give the token `pull-requests: write`; for GITHUB_TOKEN the repository's settings must allow \
                        \"GitHub Actions to create and approve pull requests\"";

#[derive(Deserialize)]
struct Row {
    number: u64,
    html_url: String,
    #[serde(default)]
    node_id: String,
    title: String,
    body: Option<String>,
    state: String,
    #[serde(default)]
    draft: bool,
    merged_at: Option<String>,
    merge_commit_sha: Option<String>,
    head: Side,
    base: Side,
    #[serde(default)]
    labels: Vec<Label>,
    /// Listings do not contain this field and the next one. GitHub computes both in the background,
    /// which reading the pull request starts.
    mergeable: Option<bool>,
    mergeable_state: Option<String>,
    /// Listings do not contain this field either.
    merged_by: Option<AccountRow>,
}

#[derive(Deserialize)]
struct Side {
    #[serde(rename = "ref")]
    branch: String,
    #[serde(default)]
    sha: String,
    repo: Option<SideRepo>,
}

#[derive(Deserialize)]
struct SideRepo {
    full_name: String,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

impl Row {
    fn pull(self, repository: &str) -> Pull {
        let state = match (self.merged_at, self.state.as_str()) {
            (Some(_), _) => PullState::Merged(self.merge_commit_sha),
            (None, "open") => PullState::Open,
            (None, _) => PullState::Closed,
        };
        let mergeable = match (self.mergeable, self.mergeable_state.as_deref()) {
            (Some(false), Some("dirty")) => Mergeable::Conflict,
            (Some(true), Some("behind")) => Mergeable::Behind,
            (Some(true), _) => Mergeable::Yes,
            _ => Mergeable::Unknown,
        };
        Pull {
            number: self.number,
            url: self.html_url,
            node: self.node_id,
            title: self.title,
            body: self.body.unwrap_or_default(),
            state,
            merged_by: self.merged_by.map(|account| account.merger(&[ACTIONS_BOT])),
            readiness: if self.draft {
                Readiness::Draft
            } else {
                Readiness::Ready
            },
            // The repository of a deleted fork is null.
            own: self
                .head
                .repo
                .is_some_and(|repo| repo.full_name.eq_ignore_ascii_case(repository)),
            head: self.head.branch,
            head_commit: self.head.sha,
            base: self.base.branch,
            base_commit: self.base.sha,
            labels: self.labels.into_iter().map(|label| label.name).collect(),
            mergeable,
            merge_delay: None,
            head_exists: true,
        }
    }
}

impl Github {
    pub(crate) async fn pulls(&self, filter: Pulls<'_>) -> Result<Vec<Pull>, Error> {
        let request = self.request(Method::GET, "pulls", "listing pull requests");
        let request = match filter {
            Pulls::Open | Pulls::OpenFrom(_) => request.query("state", "open"),
            Pulls::Closed(head) => request
                .query("state", "closed")
                .query("head", format!("{}:{head}", self.owner)),
        };
        let rows: Vec<Row> = self.http.pages(&request, Paging::Links).await?;
        let pulls = rows.into_iter().map(|row| row.pull(&self.full_name()));
        Ok(pulls.filter(|pull| filter.matches(pull)).collect())
    }

    pub(crate) async fn pull(&self, number: u64) -> Result<Option<Pull>, Error> {
        let request = self.request(
            Method::GET,
            &format!("pulls/{number}"),
            format!("reading pull request #{number}"),
        );
        let row: Option<Row> = self.http.find(&request, &[404]).await?;
        Ok(row.map(|row| row.pull(&self.full_name())))
    }

    pub(crate) async fn merged_pull(
        &self,
        commit: BranchCommit<'_>,
    ) -> Result<Option<MergedPull>, Error> {
        if let Some(number) = commit.number
            && let Some(row) = self.merged_row(number).await?
            && row.merge_commit_sha.as_deref() == Some(commit.commit)
        {
            return Ok(row.merge());
        }
        let id = commit.commit;
        let what = format!("reading the pull requests of commit {id}");
        let request = self.request(Method::GET, &format!("commits/{id}/pulls"), what);
        let rows: Vec<MergedRow<Side>> = self.http.pages(&request, Paging::Links).await?;
        let rows = rows
            .into_iter()
            .filter(|row| row.base.branch == commit.branch);
        let merged = rows.filter_map(|row| Some((row.merged_at?, row.number)));
        let Some((_, number)) = merged.max() else {
            return Ok(None);
        };
        // The list does not contain the user.
        let row = self.merged_row(number).await?;
        Ok(row.and_then(MergedRow::merge))
    }

    async fn merged_row(&self, number: u64) -> Result<Option<MergedRow<Side>>, Error> {
        let what = format!("reading pull request #{number}");
        let request = self.request(Method::GET, &format!("pulls/{number}"), what);
        self.http.find(&request, &[404]).await
    }

    pub(crate) async fn poll(&self, number: u64, etag: Option<&str>) -> Result<Poll, Error> {
        let what = format!("reading pull request #{number}");
        let request = self.request(Method::GET, &format!("pulls/{number}"), what);
        let polled = self
            .http
            .poll(request, etag, |row: Row| row.pull(&self.full_name()))
            .await?;
        // A result that GitHub still computes may not change the `ETag`, so it is requested without
        // one.
        Ok(match polled {
            Poll::Changed(pull, _) if pull.mergeable == Mergeable::Unknown => {
                Poll::Changed(pull, None)
            }
            polled => polled,
        })
    }

    pub(crate) async fn create_pull(&self, new: &NewPull<'_>) -> Result<CreateOutcome, Error> {
        let body = json!({
            "title": new.title, "body": new.body, "head": new.head, "base": new.base,
            "draft": new.state == Readiness::Draft,
        });
        let what = format!("opening the pull request of {}", new.head);
        let request = self.request(Method::POST, "pulls", what).body(body);
        let reply = match self.http.open_pull(&request).await? {
            OpenReply::Received(reply) => reply,
            OpenReply::Lost(reason) => return Ok(CreateOutcome::Unsure(reason)),
        };
        let text = reply.text();
        match reply.status.as_u16() {
            201 => Ok(CreateOutcome::New(Box::new(
                reply.expect_done::<Row>(&[201])?.pull(&self.full_name()),
            ))),
            422 if text.contains("already exists") => Ok(CreateOutcome::Exists(text)),
            // The new branch is not visible everywhere yet.
            422 if text.contains("No commits between") || text.contains("head invalid") => {
                Ok(CreateOutcome::NotYet(text))
            }
            422 if text.contains(NO_DRAFTS) => Err(reply.error().help(USE_READY)),
            403 => Err(repository::denied(&reply, MAY_OPEN)),
            _ => Err(reply.error()),
        }
    }

    pub(crate) async fn edit_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error> {
        let what = format!("changing pull request #{number}");
        let request = self
            .request(Method::PATCH, &format!("pulls/{number}"), what)
            .body(edit.request_body(&EditNames::STATE, |title, _| title.to_owned()));
        let reply = self.http.write(&request).await?;
        if reply.status == 403 {
            return Err(repository::denied(
                &reply,
                "give the token `pull-requests: write`",
            ));
        }
        Ok(reply.expect_done::<Row>(&[200])?.pull(&self.full_name()))
    }

    pub(crate) async fn set_state(&self, pull: &Pull, state: Readiness) -> Result<(), Error> {
        let (mutation, target) = match state {
            Readiness::Draft => (include_str!("queries/make_draft.graphql"), "a draft"),
            Readiness::Ready => (
                include_str!("queries/make_ready.graphql"),
                "ready for review",
            ),
        };
        let what = format!("making pull request #{} {target}", pull.number);
        let input = json!({"pullRequestId": pull.node});
        let response: Response<IgnoredAny> = self.mutate(mutation, input, &what).await?;
        let Some(error) = response.errors.first() else {
            return Ok(());
        };
        if error.kind == "FORBIDDEN" {
            return Err(self.denied(&what, &error.message));
        }
        let message = self.http.clean(&error.message);
        let lacks_drafts = message.contains(NO_DRAFTS);
        let error = Error::about(Class::Refused, format!("GitHub: {what}"), message);
        Err(if lacks_drafts {
            error.help(USE_READY)
        } else {
            error
        })
    }

    pub(crate) async fn add_labels(
        &self,
        item: Item,
        labels: &[String],
    ) -> Result<LabelOutcome, Error> {
        let number = item.number();
        let path = format!("issues/{number}/labels");
        let request = self
            .request(Method::POST, &path, format!("labeling #{number}"))
            .body(json!({"labels": labels}))
            .repeatable();
        let reply = self.http.send(&request).await?;
        if matches!(reply.status.as_u16(), 404 | 422) {
            for label in labels {
                let what = format!("making the label {label}");
                let create = self
                    .request(Method::POST, "labels", what)
                    .body(json!({"name": label}))
                    .repeatable();
                let reply = self.http.send(&create).await?;
                // Another run may have created the label concurrently.
                let exists = reply.status == 422 && reply.text().contains("already_exists");
                if reply.status != 201 && !exists {
                    return Ok(LabelOutcome::NotPermitted(reply.error().to_string()));
                }
            }
            return Ok(label_outcome(&self.http.send(&request).await?));
        }
        Ok(label_outcome(&reply))
    }

    pub(crate) async fn comments(&self, item: Item) -> Result<Vec<Comment>, Error> {
        let number = item.number();
        let path = format!("issues/{number}/comments");
        let request = self.request(
            Method::GET,
            &path,
            format!("reading the comments of #{number}"),
        );
        let rows: Vec<CommentRow> = self.http.pages(&request, Paging::Links).await?;
        Ok(rows.into_iter().map(Comment::from).collect())
    }

    pub(crate) async fn add_comment(&self, item: Item, text: &str) -> Result<(), Error> {
        let number = item.number();
        let path = format!("issues/{number}/comments");
        self.http
            .post_comment(
                self.request(Method::POST, &path, format!("commenting on #{number}")),
                text,
            )
            .await
    }
}
