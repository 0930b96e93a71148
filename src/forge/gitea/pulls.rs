//! Pull requests, labels and comments.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::Gitea;
use crate::forge::{
    Comment, Created, Edit, Error, Labelled, NewPull, Poll, Pull, PullState, Pulls, State,
    alike::CommentRow, http::Paging,
};

/// What a title begins with while it is a draft (Gitea, `WORK_IN_PROGRESS_PREFIXES`); the first is
/// the one written.
const DRAFT: [&str; 2] = ["WIP:", "[WIP]"];

#[derive(Deserialize)]
struct Row {
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
    state: String,
    #[serde(default)]
    merged: bool,
    merge_commit_sha: Option<String>,
    head: Side,
    base: Side,
    labels: Option<Vec<Label>>,
}

#[derive(Deserialize)]
struct Side {
    /// The branch; `ref` becomes `refs/pull/N/head` once it is gone.
    label: Option<String>,
    #[serde(rename = "ref")]
    reference: String,
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
    id: u64,
    name: String,
}

impl Side {
    fn branch(&self) -> String {
        let gone = self.reference.starts_with("refs/pull/");
        let label = self
            .label
            .as_ref()
            .filter(|label| gone && !label.is_empty());
        label.unwrap_or(&self.reference).clone()
    }
}

impl Row {
    fn pull(self, repository: &str) -> Pull {
        let state = match (self.merged, self.state.as_str()) {
            (true, _) => PullState::Merged(self.merge_commit_sha),
            (false, "open") => PullState::Open,
            (false, _) => PullState::Closed,
        };
        let (title, draft) = without_draft(&self.title);
        Pull {
            number: self.number,
            url: self.html_url,
            node: String::new(),
            title: title.to_owned(),
            body: self.body.unwrap_or_default(),
            state,
            draft,
            own: self
                .head
                .repo
                .as_ref()
                .is_some_and(|repo| repo.full_name.eq_ignore_ascii_case(repository)),
            head: self.head.branch(),
            head_commit: self.head.sha,
            base: self.base.branch(),
            labels: self
                .labels
                .unwrap_or_default()
                .into_iter()
                .map(|label| label.name)
                .collect(),
        }
    }
}

fn without_draft(title: &str) -> (&str, State) {
    let rest = DRAFT.iter().find_map(|prefix| {
        let start = title.get(..prefix.len())?;
        start
            .eq_ignore_ascii_case(prefix)
            .then(|| title[prefix.len()..].trim_start())
    });
    rest.map_or((title, State::Ready), |rest| (rest, State::Draft))
}

fn with_draft(title: &str, state: State) -> String {
    match state {
        State::Draft => format!("{} {title}", DRAFT[0]),
        State::Ready => title.to_owned(),
    }
}

impl Gitea {
    pub(super) async fn list_pulls(&self, which: Pulls<'_>) -> Result<Vec<Pull>, Error> {
        let state = if which == Pulls::Open {
            "open"
        } else {
            "closed"
        };
        let request = self
            .request(Method::GET, "pulls", "listing pull requests")
            .query("state", state);
        let rows: Vec<Row> = self.http.pages(&request, Paging::Counted).await?;
        let pulls = rows.into_iter().map(|row| row.pull(&self.full_name()));
        Ok(pulls.filter(|pull| which.matches(pull)).collect())
    }

    pub(super) async fn read_pull(&self, number: u64) -> Result<Option<Pull>, Error> {
        let request = self.request(
            Method::GET,
            &format!("pulls/{number}"),
            format!("reading pull request #{number}"),
        );
        let row: Option<Row> = self.http.find(&request, &[404]).await?;
        Ok(row.map(|row| row.pull(&self.full_name())))
    }

    pub(super) async fn poll_pull(&self, number: u64, etag: Option<&str>) -> Result<Poll, Error> {
        let what = format!("looking at pull request #{number}");
        let request = self.request(Method::GET, &format!("pulls/{number}"), what);
        self.http
            .poll(request, etag, |row: Row| row.pull(&self.full_name()))
            .await
    }

    pub(super) async fn open_pull(&self, new: &NewPull<'_>) -> Result<Created, Error> {
        let title = with_draft(new.title, new.state);
        let body = json!({"title": title, "body": new.body, "head": new.head, "base": new.base});
        let what = format!("opening the pull request of {}", new.head);
        let reply = match self
            .http
            .send(&self.request(Method::POST, "pulls", what).body(body))
            .await
        {
            Ok(reply) => reply,
            // Whoever asked looks whether there is one now.
            Err(failure) if failure.unsure => return Ok(Created::Exists(failure.error.why)),
            Err(failure) => return Err(failure.error),
        };
        match reply.status.as_u16() {
            201 => Ok(Created::New(Box::new(
                reply.expect::<Row>(&[201])?.pull(&self.full_name()),
            ))),
            409 => Ok(Created::Exists(reply.text())),
            // The new branch has not arrived everywhere.
            404 => Ok(Created::NotYet(reply.text())),
            403 => Err(reply
                .error()
                .hint("the token needs write:repository and write:issue")),
            _ => Err(reply.error()),
        }
    }

    pub(super) async fn change_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error> {
        let what = format!("changing pull request #{number}");
        let request = self
            .request(Method::PATCH, &format!("pulls/{number}"), what)
            .body(edit.fields(with_draft));
        Ok(self
            .http
            .send(&request)
            .await?
            .expect::<Row>(&[200, 201])?
            .pull(&self.full_name()))
    }

    pub(super) async fn add_labels(
        &self,
        number: u64,
        labels: &[String],
    ) -> Result<Labelled, Error> {
        let mut known = self.known_labels().await?;
        let mut ids = Vec::new();
        for label in labels {
            match self.label_id(label, &mut known).await? {
                Ok(id) => ids.push(id),
                Err(said) => return Ok(Labelled::NotPermitted(said)),
            }
        }
        let path = format!("issues/{number}/labels");
        let request = self.request(Method::POST, &path, format!("labelling #{number}"));
        let reply = self
            .http
            .send(&request.body(json!({"labels": ids})).harmless())
            .await?;
        Ok(if reply.status == 200 {
            Labelled::Done
        } else {
            Labelled::NotPermitted(reply.error().to_string())
        })
    }

    /// The labels of the repository, and of its organisation if it belongs to one.
    async fn known_labels(&self) -> Result<Vec<Label>, Error> {
        let mut known: Vec<Label> = self
            .http
            .pages(
                &self.request(Method::GET, "labels", "listing labels"),
                Paging::Counted,
            )
            .await?;
        let path = ["orgs", self.owner.as_str(), "labels"];
        let of_owner = crate::forge::http::Request::new(
            Method::GET,
            path,
            "Gitea: listing the owner's labels",
        );
        // An owner that is a person has none.
        known.extend(
            self.http
                .pages::<Label>(&of_owner, Paging::Counted)
                .await
                .unwrap_or_default(),
        );
        Ok(known)
    }

    /// The number of a label, made if it is missing; inside, what the forge said against that.
    async fn label_id(
        &self,
        name: &str,
        known: &mut Vec<Label>,
    ) -> Result<Result<u64, String>, Error> {
        let request = self.request(Method::POST, "labels", format!("making the label {name}"));
        let request = request.body(json!({"name": name, "color": "#ededed"}));
        let mut round = 0;
        loop {
            round += 1;
            if let Some(label) = known.iter().find(|label| label.name == name) {
                return Ok(Ok(label.id));
            }
            match self.http.send(&request).await {
                Ok(reply) if reply.status == 201 => {
                    return Ok(Ok(reply.expect::<Label>(&[201])?.id));
                }
                Ok(reply) => return Ok(Err(reply.error().to_string())),
                // Two labels may have one name here: whether it was made is looked up.
                Err(failure) if failure.unsure && round < self.http.attempts() => {
                    self.http.breathe(round).await;
                    *known = self.known_labels().await?;
                }
                Err(failure) => return Err(failure.error),
            }
        }
    }

    pub(super) async fn list_comments(&self, number: u64) -> Result<Vec<Comment>, Error> {
        // Not paged: all of them come at once.
        let path = format!("issues/{number}/comments");
        let request = self.request(
            Method::GET,
            &path,
            format!("reading the comments of #{number}"),
        );
        let rows: Vec<CommentRow> = self.http.send(&request).await?.expect(&[200])?;
        Ok(rows.into_iter().map(Comment::from).collect())
    }

    pub(super) async fn add_comment(&self, number: u64, text: &str) -> Result<(), Error> {
        let path = format!("issues/{number}/comments");
        self.http
            .say(
                self.request(Method::POST, &path, format!("commenting on #{number}")),
                text,
            )
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_tell_drafts() {
        for (title, rest, state) in [
            ("WIP: promote: x", "promote: x", State::Draft),
            ("wip:promote", "promote", State::Draft),
            ("[WIP] promote", "promote", State::Draft),
            ("promote: WIP: x", "promote: WIP: x", State::Ready),
            ("é", "é", State::Ready),
        ] {
            assert_eq!(without_draft(title), (rest, state), "{title}");
        }
        assert_eq!(
            without_draft(&with_draft("a", State::Draft)),
            ("a", State::Draft)
        );
    }
}
