//! Merge requests.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{
    ANOTHER_TOKEN, Gitlab,
    issues::joined_labels,
    merge_status::{self, MergeStatus},
};
use crate::{
    base::{
        error::{Class, Error},
        untrusted::short,
    },
    forge::{
        BranchCommit, CreateOutcome, DraftPrefixes, Edit, EditNames, Item, Mergeable, MergedPull,
        NewPull, Poll, Pull, PullState, Pulls, Readiness,
        http::{Paging, Request},
        shared::{AccountRow, OpenReply},
    },
};

/// The maximum width of an unknown word, in columns.
const WORD_WIDTH: usize = 60;

/// The prefixes of drafts (<https://docs.gitlab.com/user/project/merge_requests/drafts/>).
const DRAFT: DraftPrefixes = DraftPrefixes(&["Draft:", "[Draft]", "(Draft)", "Draft -"]);

#[derive(Deserialize)]
pub(super) struct Row {
    iid: u64,
    web_url: String,
    title: String,
    description: Option<String>,
    pub(super) state: String,
    draft: Option<bool>,
    source_branch: String,
    target_branch: String,
    source_project_id: Option<u64>,
    #[serde(default)]
    labels: Vec<String>,
    /// The head of the source branch; it may lag behind a push for seconds.
    sha: Option<String>,
    merge_commit_sha: Option<String>,
    squash_commit_sha: Option<String>,
    detailed_merge_status: Option<String>,
    has_conflicts: Option<bool>,
    pub(super) merge_error: Option<String>,
    merge_when_pipeline_succeeds: Option<bool>,
    merged_at: Option<String>,
    merge_user: Option<AccountRow>,
    diff_refs: Option<DiffRefs>,
    rebase_in_progress: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct NumberRow {
    pub(super) iid: u64,
}

#[derive(Deserialize)]
struct DiffRefs {
    start_sha: Option<String>,
}

impl Row {
    pub(super) fn pull(self, project: u64) -> Pull {
        let (status, reason) = self.status();
        let has_reason = !matches!(status, MergeStatus::Ready | MergeStatus::Check);
        let merge_delay = has_reason.then_some(reason);
        let state = match self.state.as_str() {
            "merged" => PullState::Merged(self.merge_commit()),
            // GitLab locks a merge request while it merges it.
            "opened" | "locked" => PullState::Open,
            _ => PullState::Closed,
        };
        let (title, state_by_title) = DRAFT.split(&self.title);
        let readiness = match self.draft {
            Some(true) => Readiness::Draft,
            Some(false) => Readiness::Ready,
            None => state_by_title,
        };
        let mergeable = match status {
            MergeStatus::Conflict => Mergeable::Conflict,
            _ if self.has_conflicts == Some(true) => Mergeable::Conflict,
            MergeStatus::Rebase => Mergeable::Behind,
            MergeStatus::Ready => Mergeable::Yes,
            MergeStatus::Check => Mergeable::Checking,
            MergeStatus::Pipeline
            | MergeStatus::Change
            | MergeStatus::Edit
            | MergeStatus::Unknown => Mergeable::Unknown,
        };
        Pull {
            number: self.iid,
            url: self.web_url,
            node: String::new(),
            title: title.to_owned(),
            body: self.description.unwrap_or_default(),
            state,
            readiness,
            head: self.source_branch,
            head_commit: self.sha.unwrap_or_default(),
            own: self.source_project_id == Some(project),
            base: self.target_branch,
            base_commit: self
                .diff_refs
                .and_then(|refs| refs.start_sha)
                .unwrap_or_default(),
            labels: self.labels,
            mergeable,
            merge_delay,
            head_exists: true,
            merged_by: self.merge_user.map(|user| user.merger(&[])),
        }
    }

    /// Its status, and the reason.
    pub(super) fn status(&self) -> (MergeStatus, String) {
        if self.rebase_in_progress == Some(true) {
            return (MergeStatus::Check, "GitLab is rebasing it".to_owned());
        }
        let word = self.detailed_merge_status.as_deref().unwrap_or_default();
        if let Some((status, reason)) = merge_status::parse(word) {
            return (status, reason.to_owned());
        }
        let reason = format!("GitLab reports `{}`", short(word, WORD_WIDTH));
        (MergeStatus::Unknown, reason)
    }

    pub(super) fn is_at(&self, commit: &str) -> bool {
        self.sha.as_deref() == Some(commit)
    }

    pub(super) fn is_scheduled(&self) -> bool {
        self.merge_when_pipeline_succeeds == Some(true)
    }

    /// The commit that brought it to its target branch: with `ff`, its head stays.
    fn merge_commit(&self) -> Option<String> {
        let commits = [&self.merge_commit_sha, &self.squash_commit_sha, &self.sha];
        commits.into_iter().find_map(Clone::clone)
    }
}

impl Gitlab {
    pub(crate) async fn pulls(&self, filter: Pulls<'_>) -> Result<Vec<Pull>, Error> {
        let request = self
            .request(Method::GET, &["merge_requests"], "listing merge requests")
            .await?;
        let request = match filter {
            Pulls::Open => request.query("state", "opened"),
            Pulls::OpenFrom(head) => request
                .query("state", "opened")
                .query("source_branch", head),
            Pulls::Closed(head) => request.query("state", "all").query("source_branch", head),
        };
        let rows: Result<Vec<Row>, Error> = self.http.pages(&request, Paging::NextPage).await;
        let project = self.project().await?;
        // GitLab refuses the listing if merge requests are disabled.
        let rows = match (rows, project.unusable()) {
            (Err(error), Some(reason)) if error.class == Class::Denied => return Err(reason),
            (rows, _) => rows?,
        };
        let project = project.id;
        let pulls = rows.into_iter().map(|row| row.pull(project));
        Ok(pulls.filter(|pull| filter.matches(pull)).collect())
    }

    pub(crate) async fn pull(&self, number: u64) -> Result<Option<Pull>, Error> {
        let row = self.row(number).await?;
        let project = self.project().await?.id;
        Ok(row.map(|row| row.pull(project)))
    }

    /// The number of the open merge request of the project's branch `head` at `commit`. Of several, that into
    /// `base`.
    pub(crate) async fn number_of(
        &self,
        head: &str,
        commit: &str,
        base: &str,
    ) -> Result<Option<u64>, Error> {
        // Without merge requests, their listing is refused.
        if self.project().await?.unusable().is_some() {
            return Ok(None);
        }
        let mut pulls = self.pulls(Pulls::OpenFrom(head)).await?;
        pulls.retain(|pull| pull.head_commit == commit);
        let into_base = pulls.iter().find(|pull| pull.base == base);
        Ok(into_base.or(pulls.first()).map(|pull| pull.number))
    }

    pub(super) async fn row(&self, number: u64) -> Result<Option<Row>, Error> {
        self.http.find(&self.reading(number).await?, &[404]).await
    }

    /// The request for a merge request.
    async fn reading(&self, number: u64) -> Result<Request, Error> {
        let request = self.of_item(Method::GET, Item::Pull(number), &[], "reading");
        Ok(request.await?.query("include_rebase_in_progress", true))
    }

    pub(crate) async fn poll(&self, number: u64, etag: Option<&str>) -> Result<Poll, Error> {
        let request = self.reading(number).await?;
        let project = self.project().await?.id;
        self.http
            .poll(request, etag, |row: Row| row.pull(project))
            .await
    }

    /// The subjects of GitLab's merges contain no number, and a number in another subject is usually that of
    /// an issue.
    pub(crate) async fn merged_pull(
        &self,
        commit: BranchCommit<'_>,
    ) -> Result<Option<MergedPull>, Error> {
        let id = commit.commit;
        let what = format!("reading the merge requests of commit {id}");
        let path = ["repository", "commits", id, "merge_requests"];
        let request = self.request(Method::GET, &path, what).await?;
        let rows: Vec<Row> = self.http.pages(&request, Paging::NextPage).await?;
        let row = rows.into_iter().find(|row| {
            let made = [&row.merge_commit_sha, &row.squash_commit_sha, &row.sha];
            row.state == "merged"
                && row.target_branch == commit.branch
                && made.into_iter().flatten().any(|made| made == id)
        });
        Ok(row.and_then(|row| {
            Some(MergedPull {
                number: row.iid,
                date: row.merged_at?,
                by: row.merge_user.map(|user| user.login),
            })
        }))
    }

    pub(crate) async fn create_pull(&self, new: &NewPull<'_>) -> Result<CreateOutcome, Error> {
        let project = self.project().await?;
        let mut body = json!({
            "source_branch": new.head, "target_branch": new.base,
            "title": DRAFT.title(new.title, new.state), "description": new.body,
            "remove_source_branch": project.remove_source_branch_after_merge == Some(true),
            "squash": self.squashes(project),
        });
        if !new.labels.is_empty() {
            body["labels"] = joined_labels(new.labels).into();
        }
        let what = format!("opening the merge request of {}", new.head);
        let request = self.request(Method::POST, &["merge_requests"], what);
        let reply = match self.http.open_pull(&request.await?.body(body)).await? {
            OpenReply::Received(reply) => reply,
            OpenReply::Lost(reason) => return Ok(CreateOutcome::Unsure(reason)),
        };
        let text = reply.text();
        match reply.status.as_u16() {
            201 => {
                let pull = reply.expect_done::<Row>(&[201])?.pull(project.id);
                Box::pin(self.with_state(pull, new)).await
            }
            409 if text.contains("already exists") => Ok(CreateOutcome::Exists(text)),
            // The new branch is not visible everywhere yet.
            400 | 404 | 409 | 422 if text.contains("does not exist") => {
                Ok(CreateOutcome::NotYet(text))
            }
            // 422: the token's owner may not read the target project or push to the source branch.
            403 | 422 => Err(reply.error().help(ANOTHER_TOKEN)),
            400 => Err(reply.error().class(Class::Refused)),
            _ => Err(reply.error()),
        }
    }

    /// Corrects the state of a new merge request: a title that begins like a draft makes it one.
    async fn with_state(&self, pull: Pull, new: &NewPull<'_>) -> Result<CreateOutcome, Error> {
        if pull.readiness != new.state {
            let titled = Pull {
                title: new.title.to_owned(),
                ..pull.clone()
            };
            self.set_state(&titled, new.state).await?;
        }
        let readiness = new.state;
        Ok(CreateOutcome::New(Box::new(Pull { readiness, ..pull })))
    }

    pub(crate) async fn edit_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error> {
        let spell = |title: &str, state| DRAFT.title(title, state);
        let body = edit.request_body(&EditNames::EVENT, spell);
        let request = self.of_item(Method::PUT, Item::Pull(number), &[], "changing");
        let reply = self.http.write(&request.await?.body(body)).await?;
        let project = self.project().await?.id;
        match reply.status.as_u16() {
            200 => Ok(reply.expect_done::<Row>(&[200])?.pull(project)),
            // One that was merged, or whose branch has another one, is not reopened.
            400 | 409 => Err(reply.error().class(Class::Refused)),
            403 => Err(reply.error().help(ANOTHER_TOKEN)),
            _ => Err(reply.error()),
        }
    }

    pub(crate) async fn set_state(&self, pull: &Pull, state: Readiness) -> Result<(), Error> {
        let edit = Edit {
            title: Some((&pull.title, state)),
            ..Edit::default()
        };
        let changed = self.edit_pull(pull.number, &edit).await?;
        if changed.readiness == state {
            return Ok(());
        }
        let what = format!("GitLab: merge request !{} ({})", pull.number, pull.url);
        let reason = "its title begins like that of a draft";
        Err(Error {
            may_have_changed: true,
            ..Error::about(Class::Refused, what, reason)
        }
        .help("change promote.title or rollback.title, or use --pr draft"))
    }

    pub(crate) async fn shows(&self, number: u64, head: &str) -> Result<bool, Error> {
        let row = self.row(number).await?;
        Ok(row.is_some_and(|row| row.is_at(head)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_status_is_escaped_and_short() {
        let word = format!("moon\u{1b}[31m\n{}", "x".repeat(5000));
        let row: Row = serde_json::from_value(json!({
            "iid": 1, "web_url": "https://git.example/a/b/-/merge_requests/1", "title": "one",
            "state": "opened", "source_branch": "x", "target_branch": "main",
            "detailed_merge_status": word,
        }))
        .unwrap();
        let (status, reason) = row.status();
        assert_eq!(status, MergeStatus::Unknown);
        assert!(
            reason.starts_with("GitLab reports `moon\\u{1b}[31m\\nxxx"),
            "{reason}"
        );
        assert!(reason.chars().count() < 100, "{reason}");
    }

    #[test]
    fn unfinished_check_is_no_conflict() {
        for (status, has_conflicts, rebases, expected) in [
            ("mergeable", false, false, Mergeable::Yes),
            ("checking", false, false, Mergeable::Checking),
            ("unchecked", false, false, Mergeable::Checking),
            ("preparing", true, false, Mergeable::Conflict),
            ("conflict", true, false, Mergeable::Conflict),
            ("need_rebase", false, false, Mergeable::Behind),
            ("need_rebase", false, true, Mergeable::Checking),
            ("not_approved", false, false, Mergeable::Unknown),
        ] {
            let row: Row = serde_json::from_value(json!({
                "iid": 1, "web_url": "https://git.example/a/b/-/merge_requests/1", "title": "one",
                "state": "opened", "source_branch": "x", "target_branch": "main",
                "detailed_merge_status": status, "has_conflicts": has_conflicts,
                "rebase_in_progress": rebases,
            }))
            .unwrap();
            assert_eq!(row.pull(7).mergeable, expected, "{status}");
        }
    }
}
