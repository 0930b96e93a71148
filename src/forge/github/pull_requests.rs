//! Pull requests, labels and comments.

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Github, refusal};
use crate::{
    error::{Class, Error},
    forge::{
        Comment, CreateOutcome, Edit, LabelOutcome, Mergeable, NewPull, Poll, Pull, PullRequests,
        PullState, Pulls, State,
        http::{Paging, Reply},
        shared::CommentRow,
    },
};

/// The message of a server without draft pull requests: they are available on every plan of
/// github.com, so only an Enterprise Server may still send it.
const NO_DRAFTS: &str = "Draft pull requests are not supported";

const USE_READY: &str = "use --pr ready";

/// What a token needs to open a pull request.
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
    /// Listings have neither this nor the next one; GitHub works both out in the background, which
    /// reading the pull request starts.
    mergeable: Option<bool>,
    mergeable_state: Option<String>,
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
            draft: if self.draft {
                State::Draft
            } else {
                State::Ready
            },
            // A fork that was deleted leaves null.
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
            head_exists: true,
        }
    }
}

#[async_trait(?Send)]
impl PullRequests for Github {
    async fn pulls(&self, which: Pulls<'_>) -> Result<Vec<Pull>, Error> {
        let request = self.request(Method::GET, "pulls", "listing pull requests");
        let request = match which {
            Pulls::Open => request.query("state", "open"),
            Pulls::Closed(head) => request
                .query("state", "closed")
                .query("head", format!("{}:{head}", self.owner)),
        };
        let rows: Vec<Row> = self.http.pages(&request, Paging::Links).await?;
        let pulls = rows.into_iter().map(|row| row.pull(&self.full_name()));
        Ok(pulls.filter(|pull| which.matches(pull)).collect())
    }

    async fn pull(&self, number: u64) -> Result<Option<Pull>, Error> {
        let request = self.request(
            Method::GET,
            &format!("pulls/{number}"),
            format!("reading pull request #{number}"),
        );
        let row: Option<Row> = self.http.find(&request, &[404]).await?;
        Ok(row.map(|row| row.pull(&self.full_name())))
    }

    async fn poll(&self, number: u64, etag: Option<&str>) -> Result<Poll, Error> {
        let what = format!("reading pull request #{number}");
        let request = self.request(Method::GET, &format!("pulls/{number}"), what);
        let polled = self
            .http
            .poll(request, etag, |row: Row| row.pull(&self.full_name()))
            .await?;
        // What GitHub still works out in the background must be read once it is known, whatever that
        // does to the `ETag`.
        Ok(match polled {
            Poll::Now(pull, _) if pull.mergeable == Mergeable::Unknown => Poll::Now(pull, None),
            polled => polled,
        })
    }

    async fn create_pull(&self, new: &NewPull<'_>) -> Result<CreateOutcome, Error> {
        let body = json!({
            "title": new.title, "body": new.body, "head": new.head, "base": new.base,
            "draft": new.state == State::Draft,
        });
        let what = format!("opening the pull request of {}", new.head);
        let request = self.request(Method::POST, "pulls", what).body(body);
        let reply = match self.http.send(&request).await {
            Ok(reply) => reply,
            // The caller reads whether one is open now.
            Err(failure) if failure.unsure => {
                return Ok(CreateOutcome::Unsure(failure.error.message));
            }
            Err(failure) => return Err(failure.error),
        };
        let text = reply.text();
        match reply.status.as_u16() {
            201 => Ok(CreateOutcome::New(Box::new(
                reply.expect_done::<Row>(&[201])?.pull(&self.full_name()),
            ))),
            422 if text.contains("already exists") => Ok(CreateOutcome::Exists(text)),
            // The new branch has not arrived everywhere.
            422 if text.contains("No commits between") || text.contains("head invalid") => {
                Ok(CreateOutcome::NotYet(text))
            }
            422 if text.contains(NO_DRAFTS) => Err(reply.error().help(USE_READY)),
            403 => Err(refusal::denied(&reply, MAY_OPEN)),
            _ => Err(reply.error()),
        }
    }

    async fn edit_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error> {
        let what = format!("changing pull request #{number}");
        let request = self
            .request(Method::PATCH, &format!("pulls/{number}"), what)
            .body(edit.fields(|title, _| title.to_owned()));
        let reply = self.http.write(&request).await?;
        if reply.status == 403 {
            return Err(refusal::denied(
                &reply,
                "give the token `pull-requests: write`",
            ));
        }
        Ok(reply.expect_done::<Row>(&[200])?.pull(&self.full_name()))
    }

    async fn set_state(&self, pull: &Pull, state: State) -> Result<(), Error> {
        let (name, to) = match state {
            State::Draft => ("convertPullRequestToDraft", "a draft"),
            State::Ready => ("markPullRequestReadyForReview", "ready for review"),
        };
        let kind = format!("{}{}Input", name[..1].to_ascii_uppercase(), &name[1..]);
        let query = format!("mutation($input:{kind}!){{{name}(input:$input){{clientMutationId}}}}");
        let what = format!("making pull request #{} {to}", pull.number);
        let input = json!({"pullRequestId": pull.node});
        let answer = self.mutate(&query, input, &what).await?;
        match answer.first_error() {
            None => Ok(()),
            Some(error) if error.kind == "FORBIDDEN" => Err(self.denied(&what, &error.message)),
            Some(error) => {
                let message = self.http.clean(&error.message);
                let no_drafts = message.contains(NO_DRAFTS);
                let error = Error::about(Class::Refused, format!("GitHub: {what}"), message);
                Err(if no_drafts {
                    error.help(USE_READY)
                } else {
                    error
                })
            }
        }
    }

    async fn label(&self, number: u64, labels: &[String]) -> Result<LabelOutcome, Error> {
        let path = format!("issues/{number}/labels");
        let request = self.request(Method::POST, &path, format!("labelling #{number}"));
        let request = request.body(json!({"labels": labels})).harmless();
        let reply = self.http.send(&request).await?;
        if matches!(reply.status.as_u16(), 404 | 422) {
            for label in labels {
                let make =
                    self.request(Method::POST, "labels", format!("making the label {label}"));
                let make = make.body(json!({"name": label})).harmless();
                let answer = self.http.send(&make).await?;
                // Another run may have created it concurrently.
                let exists = answer.status == 422 && answer.text().contains("already_exists");
                if answer.status != 201 && !exists {
                    return Ok(LabelOutcome::NotPermitted(answer.error().to_string()));
                }
            }
            return Ok(labelled(&self.http.send(&request).await?));
        }
        Ok(labelled(&reply))
    }

    async fn comments(&self, number: u64) -> Result<Vec<Comment>, Error> {
        let path = format!("issues/{number}/comments");
        let request = self.request(
            Method::GET,
            &path,
            format!("reading the comments of #{number}"),
        );
        let rows: Vec<CommentRow> = self.http.pages(&request, Paging::Links).await?;
        Ok(rows.into_iter().map(Comment::from).collect())
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), Error> {
        let path = format!("issues/{number}/comments");
        self.http
            .post_comment(
                self.request(Method::POST, &path, format!("commenting on #{number}")),
                text,
            )
            .await
    }

    /// GitHub updates a pull request by itself, whatever becomes of the client that pushed.
    async fn shows(&self, _pull: &Pull, _head: &str) -> Result<bool, Error> {
        Ok(true)
    }

    fn has_recreated(&self, _branch: &str) -> bool {
        false
    }

    async fn stays_open(&self, _pull: &Pull, _interrupted: bool) -> Result<bool, Error> {
        Ok(true)
    }
}

fn labelled(reply: &Reply) -> LabelOutcome {
    if reply.status == 200 {
        LabelOutcome::Done
    } else {
        LabelOutcome::NotPermitted(reply.error().to_string())
    }
}
