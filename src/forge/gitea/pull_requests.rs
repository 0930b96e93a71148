//! Pull requests, labels and comments.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Gitea, ObjectRow, repository::refused};
use crate::{
    base::error::{Class, Error},
    forge::{
        BranchCommit, Comment, CreateOutcome, DraftPrefixes, Edit, EditNames, Item, LabelOutcome,
        Mergeable, MergedPull, NewPull, Poll, Pull, PullState, Pulls, Readiness,
        http::{Paging, Reply, Request},
        shared::{self, AccountRow, CommentRow, MergedRow, OpenReply},
    },
};

/// The default prefixes of drafts (Gitea, `WORK_IN_PROGRESS_PREFIXES`).
const DRAFT: DraftPrefixes = DraftPrefixes(&[DRAFT_PREFIX, "[WIP]"]);

const DRAFT_PREFIX: &str = "WIP:";

/// The accounts of workflow runs on Gitea and Forgejo. Their events start no workflow (`notify` in
/// `services/actions/notifier_helper.go`). Many versions do not find the account, which has no row in the database, and show
/// the one of a deleted user (`LoadAttributes` in `models/issues/pull.go`).
const WORKFLOW_RUNS: [&str; 3] = ["gitea-actions", "forgejo-actions", "Ghost"];

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
    merged_by: Option<AccountRow>,
    mergeable: Option<bool>,
    draft: Option<bool>,
    head: Side,
    base: Side,
    labels: Option<Vec<Label>>,
}

#[derive(Deserialize)]
struct Side {
    /// The branch, also after it was deleted; `ref` is `refs/pull/N/head` then.
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
    object: ObjectRow,
}

impl Side {
    fn exists(&self) -> bool {
        !self.reference.starts_with("refs/pull/")
    }

    fn branch(&self) -> String {
        match &self.label {
            Some(label) if !self.exists() && !label.is_empty() => label.clone(),
            _ => self.reference.clone(),
        }
    }
}

impl Row {
    pub(super) fn pull(self, repository: &str) -> Pull {
        let state = match (self.merged, self.state.as_str()) {
            (true, _) => PullState::Merged(self.merge_commit_sha),
            (false, "open") => PullState::Open,
            (false, _) => PullState::Closed,
        };
        let (title, state_by_title) = DRAFT.split(&self.title);
        // The prefixes are a setting of the server, so its own field takes precedence.
        let readiness = match self.draft {
            Some(true) => Readiness::Draft,
            Some(false) => Readiness::Ready,
            None => state_by_title,
        };
        let mergeable = match (self.mergeable, readiness) {
            (Some(true), _) => Mergeable::Yes,
            (Some(false), Readiness::Ready) => Mergeable::ConflictOrChecking,
            // The server never reports a draft as mergeable.
            _ => Mergeable::Unknown,
        };
        Pull {
            number: self.number,
            url: self.html_url,
            node: String::new(),
            title: title.to_owned(),
            body: self.body.unwrap_or_default(),
            state,
            merged_by: self.merged_by.map(|account| account.merger(&WORKFLOW_RUNS)),
            readiness,
            own: self
                .head
                .repo
                .as_ref()
                .is_some_and(|repo| repo.full_name.eq_ignore_ascii_case(repository)),
            mergeable,
            merge_delay: None,
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

/// The outcome of adding a label by its name.
enum NamedLabelOutcome {
    Done,
    /// Neither the repository nor its organization has the label.
    Missing,
    /// The message of the forge.
    Refused(String),
}

/// The outcome of the creation of a label.
enum LabelCreation {
    /// The id of the label.
    Done(u64),
    /// The message of the forge.
    Refused(String),
}

/// Checks that the server recognized the title as that of a draft or of a ready pull request.
fn check_draft(pull: &Pull, wanted: Readiness) -> Result<(), Error> {
    if pull.readiness == wanted {
        return Ok(());
    }
    let what = format!("Gitea: pull request #{} ({})", pull.number, pull.url);
    let reason = if wanted == Readiness::Draft {
        format!("it is ready for review, although its title starts with `{DRAFT_PREFIX}`")
    } else {
        "it is still a draft".to_owned()
    };
    Err(Error {
        may_have_changed: true,
        ..Error::about(Class::Refused, what, reason)
    }
    .help(format!(
        "add `{DRAFT_PREFIX}` to the server's setting WORK_IN_PROGRESS_PREFIXES, or use --pr ready"
    )))
}

impl Gitea {
    pub(crate) async fn pulls(&self, filter: Pulls<'_>) -> Result<Vec<Pull>, Error> {
        let state = match filter {
            Pulls::Open | Pulls::OpenFrom(_) => "open",
            Pulls::Closed(_) => "closed",
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
        Ok(pulls.filter(|pull| filter.matches(pull)).collect())
    }

    pub(crate) async fn merged_pull(
        &self,
        commit: BranchCommit<'_>,
    ) -> Result<Option<MergedPull>, Error> {
        let id = commit.commit;
        let mut paths = vec![format!("commits/{id}/pull")];
        if let Some(number) = commit.number {
            paths.insert(0, format!("pulls/{number}"));
        }
        for path in paths {
            let what = format!("reading the pull request of commit {id}");
            let request = self.request(Method::GET, &path, what);
            let row: Option<MergedRow<Side>> = self.http.find(&request, &[404]).await?;
            if let Some(row) = row
                && row.merge_commit_sha.as_deref() == Some(id)
                && row.base.branch() == commit.branch
                && let Some(merge) = row.merge()
            {
                return Ok(Some(merge));
            }
        }
        Ok(None)
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

    pub(crate) async fn poll(&self, number: u64, etag: Option<&str>) -> Result<Poll, Error> {
        let what = format!("reading pull request #{number}");
        let request = self.request(Method::GET, &format!("pulls/{number}"), what);
        self.http
            .poll(request, etag, |row: Row| row.pull(&self.full_name()))
            .await
    }

    pub(crate) async fn create_pull(&self, new: &NewPull<'_>) -> Result<CreateOutcome, Error> {
        let title = DRAFT.title(new.title, new.state);
        let body = json!({"title": title, "body": new.body, "head": new.head, "base": new.base});
        let what = format!("opening the pull request of {}", new.head);
        let request = self.request(Method::POST, "pulls", what).body(body);
        let reply = match self.http.open_pull(&request).await? {
            OpenReply::Received(reply) => reply,
            OpenReply::Lost(reason) => return Ok(CreateOutcome::Unsure(reason)),
        };
        match reply.status.as_u16() {
            201 => Ok(CreateOutcome::New(Box::new(
                reply.expect_done::<Row>(&[201])?.pull(&self.full_name()),
            ))),
            423 => Err(refused(&reply)),
            409 => Ok(CreateOutcome::Exists(reply.text())),
            // Pull requests are disabled, or the new branch is not visible everywhere yet.
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

    pub(crate) async fn edit_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error> {
        let what = format!("changing pull request #{number}");
        let spell = |title: &str, state| DRAFT.title(title, state);
        let request = self
            .request(Method::PATCH, &format!("pulls/{number}"), what)
            .body(edit.request_body(&EditNames::STATE, spell));
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

    pub(crate) async fn set_state(&self, pull: &Pull, state: Readiness) -> Result<(), Error> {
        let edit = Edit {
            title: Some((&pull.title, state)),
            ..Edit::default()
        };
        let changed = self.edit_pull(pull.number, &edit).await?;
        let checked = check_draft(&changed, state);
        if checked.is_err() && state == Readiness::Draft {
            // The server has another prefix.
            let edit = Edit {
                title: Some((&pull.title, Readiness::Ready)),
                ..Edit::default()
            };
            self.edit_pull(pull.number, &edit).await?;
        }
        checked
    }

    pub(crate) async fn add_labels(
        &self,
        item: Item,
        labels: &[String],
    ) -> Result<LabelOutcome, Error> {
        let number = item.number();
        let repository_labels = match self.repository_labels().await {
            Err(error) if error.class == Class::Denied => {
                return Ok(LabelOutcome::NotPermitted(format!(
                    "{error} (the token needs write:issue)"
                )));
            }
            labels => labels?,
        };
        let owner_labels = self.owner_labels().await?;
        let mut ids = Vec::new();
        let mut missing = Vec::new();
        for name in labels {
            let known = repository_labels
                .iter()
                .chain(owner_labels.iter().flatten());
            let same_name = known.filter(|label| label.name == *name);
            match same_name.map(|label| label.id).min() {
                Some(id) => ids.push(id),
                None => missing.push(name),
            }
        }
        for name in missing {
            if owner_labels.is_none() {
                // The organization may have the label although this token may not list it.
                match self.add_label_by_name(number, name).await? {
                    NamedLabelOutcome::Done => continue,
                    NamedLabelOutcome::Missing => {}
                    NamedLabelOutcome::Refused(message) => {
                        return Ok(LabelOutcome::NotPermitted(message));
                    }
                }
            }
            match self.create_label(name).await? {
                LabelCreation::Done(id) => ids.push(id),
                LabelCreation::Refused(message) => return Ok(LabelOutcome::NotPermitted(message)),
            }
        }
        if ids.is_empty() {
            return Ok(LabelOutcome::Done);
        }
        let reply = self.post_labels(number, &json!(ids)).await?;
        Ok(shared::label_outcome(&reply))
    }

    pub(crate) async fn comments(&self, item: Item) -> Result<Vec<Comment>, Error> {
        let number = item.number();
        // The listing has no pages.
        let path = format!("issues/{number}/comments");
        let request = self.request(
            Method::GET,
            &path,
            format!("reading the comments of #{number}"),
        );
        let rows: Vec<CommentRow> = self.http.send(&request).await?.expect_list()?;
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

    /// Whether `refs/pull/N/head`, the commit that the server shows for a pull request, is `commit`. The
    /// field `head.sha` is the head of the branch instead, which may differ: a queue of the server moves this
    /// reference after a push moved the branch.
    pub(crate) async fn shows(&self, number: u64, commit: &str) -> Result<bool, Error> {
        let name = format!("refs/pull/{number}/head");
        let what = format!("reading the head of pull request #{number}");
        let request = self.request(Method::GET, &format!("git/{name}"), what);
        // The server lists every ref with this prefix.
        let refs: Option<Option<Vec<RefRow>>> = self.http.find(&request, &[404]).await?;
        let refs = refs.flatten().unwrap_or_default();
        let found = refs.iter().find(|row| row.name == name);
        Ok(found.is_none_or(|row| row.object.sha == commit))
    }

    async fn post_labels(&self, number: u64, labels: &Value) -> Result<Reply, Error> {
        let path = format!("issues/{number}/labels");
        let request = self.request(Method::POST, &path, format!("labeling #{number}"));
        self.http
            .write(&request.body(json!({"labels": labels})).repeatable())
            .await
    }

    /// Adds a label by its name, which also finds labels of the organization.
    async fn add_label_by_name(&self, number: u64, name: &str) -> Result<NamedLabelOutcome, Error> {
        let reply = self.post_labels(number, &json!([name])).await?;
        if reply.status != 200 {
            return Ok(NamedLabelOutcome::Refused(reply.error().to_string()));
        }
        let labels: Vec<Label> = reply.expect_list()?;
        Ok(if labels.iter().any(|label| label.name == name) {
            NamedLabelOutcome::Done
        } else {
            NamedLabelOutcome::Missing
        })
    }

    async fn repository_labels(&self) -> Result<Vec<Label>, Error> {
        let request = self.request(Method::GET, "labels", "listing labels");
        self.http.pages(&request, Paging::Counted).await
    }

    /// The labels of the repository's owner; `None` if the token may not read them.
    async fn owner_labels(&self) -> Result<Option<Vec<Label>>, Error> {
        let path = ["orgs", self.owner.as_str(), "labels"];
        let request = Request::new(Method::GET, path, "Gitea: listing the owner's labels");
        match self.http.pages(&request, Paging::Counted).await {
            Ok(labels) => Ok(Some(labels)),
            Err(error) if error.class == Class::Denied => Ok(None),
            // Only organizations have labels.
            Err(error) if error.status == Some(404) => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// Creates a label. Concurrent runs may create labels of the same name, so every run uses the lowest
    /// id.
    async fn create_label(&self, name: &str) -> Result<LabelCreation, Error> {
        let request = self.request(Method::POST, "labels", format!("making the label {name}"));
        let request = request.body(json!({"name": name, "color": "#ededed"}));
        let mut attempt = 0;
        loop {
            attempt += 1;
            let created = match self.http.send(&request).await {
                Ok(reply) if reply.status == 201 => Some(reply.expect::<Label>(&[201])?.id),
                Ok(reply) => return Ok(LabelCreation::Refused(reply.error().to_string())),
                // The listing shows whether the label was created.
                Err(failure) if failure.unsure && attempt < self.http.policy().attempts => {
                    self.http.back_off(attempt).await;
                    None
                }
                Err(failure) => return Err(failure.error),
            };
            let labels = self.repository_labels().await?;
            let same_name = labels.iter().filter(|label| label.name == name);
            if let Some(id) = same_name.map(|label| label.id).chain(created).min() {
                return Ok(LabelCreation::Done(id));
            }
        }
    }
}
