//! Pull requests, labels and comments.

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Gitea, QUEUE_LOOKS, refusal::refused};
use crate::{
    error::{Class, Error},
    forge::{
        Comment, CreateOutcome, Edit, LabelOutcome, Mergeable, NewPull, Poll, Pull, PullRequests,
        PullState, Pulls, State,
        http::{Paging, Reply, Request},
        shared::CommentRow,
    },
};

/// What a title begins with while it is a draft by default (Gitea, `WORK_IN_PROGRESS_PREFIXES`); the first is
/// the one written.
const DRAFT: [&str; 2] = ["WIP:", "[WIP]"];

#[derive(Deserialize)]
pub(super) struct Row {
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
    state: String,
    #[serde(default)]
    merged: bool,
    merge_commit_sha: Option<String>,
    mergeable: Option<bool>,
    draft: Option<bool>,
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

#[derive(Deserialize)]
struct RefRow {
    #[serde(rename = "ref")]
    name: String,
    object: RefObject,
}

#[derive(Deserialize)]
struct RefObject {
    sha: String,
}

impl Side {
    fn exists(&self) -> bool {
        !self.reference.starts_with("refs/pull/")
    }

    fn branch(&self) -> String {
        let gone = !self.exists();
        let label = self
            .label
            .as_ref()
            .filter(|label| gone && !label.is_empty());
        label.unwrap_or(&self.reference).clone()
    }
}

impl Row {
    pub(super) fn pull(self, repository: &str) -> Pull {
        let state = match (self.merged, self.state.as_str()) {
            (true, _) => PullState::Merged(self.merge_commit_sha),
            (false, "open") => PullState::Open,
            (false, _) => PullState::Closed,
        };
        let (title, prefixed) = without_draft(&self.title);
        // Which prefixes mark a draft is a setting of the server; it knows best.
        let draft = match self.draft {
            Some(true) => State::Draft,
            Some(false) => State::Ready,
            None => prefixed,
        };
        let mergeable = match (self.mergeable, draft) {
            (Some(true), _) => Mergeable::Yes,
            (Some(false), State::Ready) => Mergeable::ConflictOrChecking,
            // A draft reads as not mergeable whatever its branch holds.
            _ => Mergeable::Unknown,
        };
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
            mergeable,
            head_exists: self.head.exists(),
            head: self.head.branch(),
            head_commit: self.head.sha,
            base: self.base.branch(),
            base_commit: self.base.sha,
            labels: self
                .labels
                .unwrap_or_default()
                .into_iter()
                .map(|label| label.name)
                .collect(),
        }
    }
}

/// The outcome of a label that was added by its name.
enum NamedLabelOutcome {
    Done,
    /// Neither the repository nor its organization has it.
    Missing,
    Refused(String),
}

/// The outcome of a label that was created.
enum NewLabel {
    /// It has this number.
    Created(u64),
    /// The forge refused, with this message.
    Refused(String),
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

/// Whether the server takes a pull request for what it was made.
fn check_draft(pull: &Pull, wanted: State) -> Result<(), Error> {
    if pull.draft == wanted {
        return Ok(());
    }
    let what = format!("Gitea: pull request #{} ({})", pull.number, pull.url);
    let reason = if wanted == State::Draft {
        format!(
            "it is ready for review, although its title starts with `{}`",
            DRAFT[0]
        )
    } else {
        "it is still a draft".to_owned()
    };
    Err(Error {
        begun: true,
        ..Error::about(Class::Refused, what, reason)
    }
    .help(format!(
        "add `{}` to the server's setting WORK_IN_PROGRESS_PREFIXES, or use --pr ready",
        DRAFT[0]
    )))
}

#[async_trait(?Send)]
impl PullRequests for Gitea {
    async fn pulls(&self, which: Pulls<'_>) -> Result<Vec<Pull>, Error> {
        let state = if which == Pulls::Open {
            "open"
        } else {
            "closed"
        };
        let request = self
            .request(Method::GET, "pulls", "listing pull requests")
            .query("state", state);
        let rows: Result<Vec<Row>, Error> = self.http.pages(&request, Paging::Counted).await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return Err(self.without_pull_requests(error).await),
        };
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
        self.http
            .poll(request, etag, |row: Row| row.pull(&self.full_name()))
            .await
    }

    async fn create_pull(&self, new: &NewPull<'_>) -> Result<CreateOutcome, Error> {
        let title = with_draft(new.title, new.state);
        let body = json!({"title": title, "body": new.body, "head": new.head, "base": new.base});
        let what = format!("opening the pull request of {}", new.head);
        let reply = match self
            .http
            .send(&self.request(Method::POST, "pulls", what).body(body))
            .await
        {
            Ok(reply) => reply,
            // The caller reads whether one is open now.
            Err(failure) if failure.unsure => {
                return Ok(CreateOutcome::Unsure(failure.error.message));
            }
            Err(failure) => return Err(failure.error),
        };
        match reply.status.as_u16() {
            201 => Ok(CreateOutcome::New(Box::new(
                reply.expect_done::<Row>(&[201])?.pull(&self.full_name()),
            ))),
            423 => Err(refused(&reply)),
            409 => Ok(CreateOutcome::Exists(reply.text())),
            // Pull requests are disabled, or the new branch has not arrived everywhere.
            404 => match self.without_pull_requests(reply.error()).await {
                error if error.class == Class::Denied => Err(error),
                _ => Ok(CreateOutcome::NotYet(reply.text())),
            },
            403 => Err(reply
                .error()
                .help("give the token the scopes write:repository and write:issue")),
            _ => Err(reply.error()),
        }
    }

    async fn edit_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error> {
        let what = format!("changing pull request #{number}");
        let request = self
            .request(Method::PATCH, &format!("pulls/{number}"), what)
            .body(edit.fields(with_draft));
        let reply = self.http.write(&request).await?;
        match reply.status.as_u16() {
            200 | 201 => Ok(reply
                .expect_done::<Row>(&[200, 201])?
                .pull(&self.full_name())),
            // A pull request that was merged in the meantime is not reopened.
            412 => Err(reply.error().class(Class::Refused)),
            _ => Err(refused(&reply)),
        }
    }

    async fn set_state(&self, pull: &Pull, state: State) -> Result<(), Error> {
        let edit = Edit {
            title: Some((&pull.title, state)),
            ..Edit::default()
        };
        let changed = self.edit_pull(pull.number, &edit).await?;
        let checked = check_draft(&changed, state);
        if checked.is_err() && state == State::Draft {
            // The prefix means nothing to this server.
            let edit = Edit {
                title: Some((&pull.title, State::Ready)),
                ..Edit::default()
            };
            self.edit_pull(pull.number, &edit).await?;
        }
        checked
    }

    async fn label(&self, number: u64, labels: &[String]) -> Result<LabelOutcome, Error> {
        let of_repository = match self.repository_labels().await {
            Err(error) if error.class == Class::Denied => {
                return Ok(LabelOutcome::NotPermitted(format!(
                    "{error} (the token needs write:issue)"
                )));
            }
            labels => labels?,
        };
        let of_owner = self.owners_labels().await?;
        let mut ids = Vec::new();
        let mut hidden = Vec::new();
        for label in labels {
            let known = of_repository.iter().chain(of_owner.iter().flatten());
            let ids_of_name = known.filter(|known| known.name == *label);
            match ids_of_name.map(|known| known.id).min() {
                Some(id) => ids.push(id),
                // The organization may have it, and does not show it to this token.
                None if of_owner.is_none() => hidden.push(label.clone()),
                None => match self.make_label(label).await? {
                    NewLabel::Created(id) => ids.push(id),
                    NewLabel::Refused(message) => return Ok(LabelOutcome::NotPermitted(message)),
                },
            }
        }
        for label in hidden {
            match self.put_on_by_name(number, &label).await? {
                NamedLabelOutcome::Done => {}
                NamedLabelOutcome::Missing => match self.make_label(&label).await? {
                    NewLabel::Created(id) => ids.push(id),
                    NewLabel::Refused(message) => return Ok(LabelOutcome::NotPermitted(message)),
                },
                NamedLabelOutcome::Refused(message) => {
                    return Ok(LabelOutcome::NotPermitted(message));
                }
            }
        }
        if ids.is_empty() {
            return Ok(LabelOutcome::Done);
        }
        let reply = self.put_on(number, &json!(ids)).await?;
        Ok(if reply.status == 200 {
            LabelOutcome::Done
        } else {
            LabelOutcome::NotPermitted(reply.error().to_string())
        })
    }

    async fn comments(&self, number: u64) -> Result<Vec<Comment>, Error> {
        // Not paged: all of them come at once.
        let path = format!("issues/{number}/comments");
        let request = self.request(
            Method::GET,
            &path,
            format!("reading the comments of #{number}"),
        );
        let rows: Vec<CommentRow> = self.http.send(&request).await?.expect_list()?;
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

    /// An open pull request follows its branch from the server's queue; a closed one never does.
    async fn shows(&self, pull: &Pull, head: &str) -> Result<bool, Error> {
        let looks = match pull.state {
            PullState::Open => QUEUE_LOOKS,
            PullState::Closed | PullState::Merged(_) => 1,
        };
        for look in 1..=looks {
            if self.is_shown(pull.number, head).await? {
                return Ok(true);
            }
            if look < looks {
                self.http.back_off(1).await;
            }
        }
        Ok(false)
    }

    fn has_recreated(&self, branch: &str) -> bool {
        self.deleted.borrow().as_deref() == Some(branch)
    }

    /// The deletion may come up in the server's queue after the pull request was opened; nothing shows
    /// when, so it is read for a few seconds.
    async fn stays_open(&self, pull: &Pull, interrupted: bool) -> Result<bool, Error> {
        if !interrupted && !self.has_recreated(&pull.head) {
            return Ok(true);
        }
        for _ in 0..QUEUE_LOOKS {
            let now = self.pull(pull.number).await?;
            if now.is_some_and(|now| now.state == PullState::Closed) {
                return Ok(false);
            }
            self.http.back_off(1).await;
        }
        *self.deleted.borrow_mut() = None;
        Ok(true)
    }
}

impl Gitea {
    /// Whether `refs/pull/N/head`, from which the server shows a pull request, is at this commit. The
    /// field `head.sha` is the head of the branch instead, wherever the pull request is: if the client
    /// disappears during `POST contents`, Gitea 1.26 moves the branch alone.
    pub(super) async fn is_shown(&self, number: u64, commit: &str) -> Result<bool, Error> {
        let name = format!("refs/pull/{number}/head");
        let what = format!("reading the head of pull request #{number}");
        let request = self.request(Method::GET, &format!("git/{name}"), what);
        // The server lists every ref that begins so.
        let refs: Option<Option<Vec<RefRow>>> = self.http.find(&request, &[404]).await?;
        let refs = refs.flatten().unwrap_or_default();
        let found = refs.iter().find(|row| row.name == name);
        Ok(found.is_none_or(|row| row.object.sha == commit))
    }

    async fn put_on(&self, number: u64, labels: &Value) -> Result<Reply, Error> {
        let path = format!("issues/{number}/labels");
        let request = self.request(Method::POST, &path, format!("labelling #{number}"));
        self.http
            .write(&request.body(json!({"labels": labels})).harmless())
            .await
    }

    /// Puts a label on by its name, which finds the organization's, too.
    async fn put_on_by_name(&self, number: u64, label: &str) -> Result<NamedLabelOutcome, Error> {
        let reply = self.put_on(number, &json!([label])).await?;
        if reply.status != 200 {
            return Ok(NamedLabelOutcome::Refused(reply.error().to_string()));
        }
        let on: Vec<Label> = reply.expect_list()?;
        Ok(if on.iter().any(|known| known.name == label) {
            NamedLabelOutcome::Done
        } else {
            NamedLabelOutcome::Missing
        })
    }

    async fn repository_labels(&self) -> Result<Vec<Label>, Error> {
        let request = self.request(Method::GET, "labels", "listing labels");
        self.http.pages(&request, Paging::Counted).await
    }

    /// The labels of the repository's owner; `None`: the token may not read them.
    async fn owners_labels(&self) -> Result<Option<Vec<Label>>, Error> {
        let path = ["orgs", self.owner.as_str(), "labels"];
        let request = Request::new(Method::GET, path, "Gitea: listing the owner's labels");
        match self.http.pages(&request, Paging::Counted).await {
            Ok(labels) => Ok(Some(labels)),
            Err(error) if error.class == Class::Denied => Ok(None),
            // An owner that is a person has none.
            Err(error) if error.status == Some(404) => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// Creates a label. Other runs may concurrently create one of the same name, which the forge
    /// permits: the lowest number counts for all.
    async fn make_label(&self, name: &str) -> Result<NewLabel, Error> {
        let request = self.request(Method::POST, "labels", format!("making the label {name}"));
        let request = request.body(json!({"name": name, "color": "#ededed"}));
        let mut round = 0;
        loop {
            round += 1;
            let made = match self.http.send(&request).await {
                Ok(reply) if reply.status == 201 => Some(reply.expect::<Label>(&[201])?.id),
                Ok(reply) => return Ok(NewLabel::Refused(reply.error().to_string())),
                // Two labels may have one name here: the listing shows whether it was created.
                Err(failure) if failure.unsure && round < self.http.attempts() => {
                    self.http.back_off(round).await;
                    None
                }
                Err(failure) => return Err(failure.error),
            };
            let known = self.repository_labels().await?;
            let of_name = known.iter().filter(|label| label.name == name);
            let lowest = of_name.map(|label| label.id).chain(made).min();
            if let Some(id) = lowest {
                return Ok(NewLabel::Created(id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_mark_drafts() {
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
