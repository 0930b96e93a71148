//! Creates a commit and its branch in one request, and preserves the pull request of the branch.
//!
//! Gitea 1.26 can replace a branch in one request. On other servers the branch is deleted and
//! recreated; the server closes its pull request from a queue, up to seconds after the deletion. A
//! pull request that is reopened after the branch was recreated shows the old commit and is never
//! checked for conflicts, so it is reopened while the branch is missing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{
    Gitea, MAX_READS, ObjectRow, nullable,
    repository::{is_race, is_rejected, refused, rejected},
};
use crate::{
    base::error::Error,
    forge::{
        BranchState, Edit, Mergeable, NewCommit, PublishOutcome, Pull, PullState, Readiness,
        Transition,
    },
};

#[derive(Deserialize)]
struct ChangedFilesRow {
    commit: CommitRow,
}

#[derive(Deserialize)]
struct CommitRow {
    sha: String,
    #[serde(default, deserialize_with = "nullable::list")]
    parents: Vec<ObjectRow>,
}

/// The state of an open pull request after its branch was deleted.
enum AfterDeletion {
    Closed,
    /// Another process recreated the branch.
    Recreated,
    /// It stayed open for longer than the server's queue takes.
    StillOpen,
}

pub(super) struct Destination<'a> {
    /// The branch with the parent of the commit as its head.
    pub(super) from: &'a str,
    /// The branch to create at the commit; `None`: `from` is moved.
    pub(super) to: Option<&'a str>,
    /// Whether an existing branch is replaced.
    pub(super) replace: bool,
}

impl Destination<'_> {
    fn branch(&self) -> &str {
        self.to.unwrap_or(self.from)
    }
}

impl Gitea {
    pub(super) async fn base_moved(&self, new: &NewCommit<'_>) -> Result<bool, Error> {
        self.branch_moved(new.base, &new.parent.commit).await
    }

    pub(super) async fn branch_moved(&self, branch: &str, head: &str) -> Result<bool, Error> {
        let current = self.branch(branch).await?;
        Ok(current.is_none_or(|current| current.commit != head))
    }

    /// Recreates the branch and preserves its pull request. The caller removes the notice from the
    /// body of the pull request afterwards, so that an interrupted run is recognized at any point.
    pub(super) async fn recreate_with_pull(
        &self,
        new: &NewCommit<'_>,
        destination: &Destination<'_>,
        state: &BranchState,
        pull: &Pull,
    ) -> Result<PublishOutcome, Error> {
        let number = pull.number;
        let mut is_open = pull.state == PullState::Open;
        if let BranchState::Behind(head) | BranchState::Diverged(head) = state {
            // The server closes an open pull request when its queue reaches the deletion. The pull
            // request must be open now: otherwise the server could close it after it was reopened.
            if !is_open {
                self.reopen(number).await?;
                is_open = true;
            }
            if let Some(raced) = self.delete_branch(destination.branch(), head).await? {
                return Ok(raced);
            }
        }
        // An earlier attempt of this run waited for the closing and reopened the pull request.
        let was_reopened = *self.reopened.borrow() == Some(number) && *state == BranchState::Absent;
        if is_open && !was_reopened {
            match self
                .wait_for_closing(number)
                .await
                .map_err(may_have_changed)?
            {
                AfterDeletion::Closed => is_open = false,
                AfterDeletion::Recreated => return Ok(raced()),
                AfterDeletion::StillOpen => {}
            }
        }
        if !is_open {
            self.reopen(number).await.map_err(may_have_changed)?;
            *self.reopened.borrow_mut() = Some(number);
        }
        let outcome = self
            .change_files(new, destination)
            .await
            .map_err(may_have_changed)?;
        let outcome = self.wait_for_pull(new, outcome).await?;
        *self.deleted.borrow_mut() = None;
        Ok(outcome)
    }

    /// Reopens a pull request without any other change: Forgejo stores the body before the state, so a
    /// run that is killed in between would leave a closed pull request without the notice.
    async fn reopen(&self, number: u64) -> Result<(), Error> {
        let edit = Edit::transition(Transition::Reopen);
        self.edit_pull(number, &edit).await.map(drop)
    }

    /// Polls until the server has closed a pull request with a deleted branch.
    async fn wait_for_closing(&self, number: u64) -> Result<AfterDeletion, Error> {
        for _ in 0..MAX_READS {
            match self.pull(number).await? {
                Some(pull) if pull.state != PullState::Open => return Ok(AfterDeletion::Closed),
                Some(pull) if pull.head_exists => return Ok(AfterDeletion::Recreated),
                Some(_) => self.http.back_off(1).await,
                None => return Ok(AfterDeletion::Closed),
            }
        }
        Ok(AfterDeletion::StillOpen)
    }

    /// Polls until the pull request has the new commit: open, at this head, and mergeable.
    pub(super) async fn wait_for_pull(
        &self,
        new: &NewCommit<'_>,
        outcome: PublishOutcome,
    ) -> Result<PublishOutcome, Error> {
        let (PublishOutcome::Done(commit), Some(listed)) = (&outcome, new.pull) else {
            return Ok(outcome);
        };
        let number = listed.number;
        let what = format!("Gitea: pull request #{number} ({})", listed.url);
        let mut last = None;
        for _ in 0..MAX_READS {
            let Some(pull) = self.pull(number).await.map_err(may_have_changed)? else {
                break;
            };
            if is_updated(&pull, commit)
                && self.is_at(number, commit).await.map_err(may_have_changed)?
            {
                return Ok(outcome);
            }
            let is_open = pull.state == PullState::Open;
            last = Some(pull);
            if !is_open {
                break;
            }
            self.http.back_off(1).await;
        }
        let reason = match last {
            Some(pull) if pull.state != PullState::Open => {
                return Ok(PublishOutcome::Unsure(
                    "the forge closed the pull request while its branch was being recreated"
                        .to_owned(),
                ));
            }
            Some(pull) if pull.head_commit == *commit => {
                format!("its branch is at {commit}, and the forge does not report it as mergeable")
            }
            _ => format!("the forge does not show its new commit {commit}"),
        };
        Err(may_have_changed(Error::unavailable(what, reason)))
    }

    /// Deletes a branch. The API has no condition on the head, so the head is read right before.
    pub(super) async fn delete_branch(
        &self,
        branch: &str,
        head: &str,
    ) -> Result<Option<PublishOutcome>, Error> {
        if self.branch_moved(branch, head).await? {
            return Ok(Some(raced()));
        }
        let what = format!("deleting the branch {branch} to recreate it from its base");
        let request = self.request(Method::DELETE, &format!("branches/{branch}"), what);
        let reply = match self.http.send(&request).await {
            Ok(reply) => reply,
            Err(failure) if is_race(&failure.error.message) => return Ok(Some(raced())),
            // Only administrators see git's message. If the branch is gone, this run or another one
            // deleted it.
            Err(failure)
                if failure.unsure
                    && self
                        .branch_moved(branch, head)
                        .await
                        .map_err(may_have_changed)? =>
            {
                return Ok(Some(PublishOutcome::Unsure(failure.error.message)));
            }
            Err(failure) => return Err(rejected(failure, branch)),
        };
        match reply.status.as_u16() {
            204 | 404 => Ok(None),
            _ if is_race(&reply.text()) => Ok(Some(raced())),
            _ => Err(refused(&reply)),
        }
    }

    pub(super) async fn change_files(
        &self,
        new: &NewCommit<'_>,
        destination: &Destination<'_>,
    ) -> Result<PublishOutcome, Error> {
        let mut files = Vec::new();
        for file in new.files {
            // `sha`: the server writes nothing if the file has another content. The mode stays.
            files.push(json!({
                "operation": "update", "path": file.path, "sha": file.old,
                "content": STANDARD.encode(&file.content),
            }));
        }
        let mut body = json!({"branch": destination.from, "message": new.message, "files": files});
        if let Some(to) = destination.to {
            body["new_branch"] = to.into();
        }
        if destination.replace {
            body["force_push"] = true.into();
        }
        let branch = destination.branch();
        let what = format!("making the commit on {branch}");
        let request = self.request(Method::POST, "contents", what);
        let reply = match self.http.send(&request.body(body)).await {
            Ok(reply) => reply,
            Err(failure) if is_race(&failure.error.message) => {
                return Ok(PublishOutcome::Raced(failure.error.message));
            }
            Err(failure) if is_rejected(&failure) => return Err(rejected(failure, branch)),
            // The caller checks the state of the branch.
            Err(failure) if failure.unsure => {
                return Ok(PublishOutcome::Unsure(failure.error.message));
            }
            Err(failure) => return Err(failure.error),
        };
        match reply.status.as_u16() {
            200 | 201 => {
                let commit = reply.expect_done::<ChangedFilesRow>(&[200, 201])?.commit;
                Ok(match commit.parents.as_slice() {
                    [parent] if parent.sha == new.parent.commit => PublishOutcome::Done(commit.sha),
                    _ => PublishOutcome::OnMovedBase,
                })
            }
            404 | 409 | 422 if self.base_moved(new).await? => Ok(PublishOutcome::BaseMoved),
            409 | 422 if reply.text().contains("already exists") => {
                Ok(PublishOutcome::Raced(reply.text()))
            }
            _ if is_race(&reply.text()) => Ok(PublishOutcome::Raced(reply.text())),
            409 | 422 => Ok(PublishOutcome::Refused(refused(&reply))),
            _ => Err(refused(&reply)),
        }
    }
}

pub(super) fn raced() -> PublishOutcome {
    PublishOutcome::Raced("another process moved the branch concurrently".to_owned())
}

/// The error of a run that has made a visible change.
pub(super) fn may_have_changed(error: Error) -> Error {
    Error {
        may_have_changed: true,
        ..error
    }
}

/// Whether the pull request shows the commit. The server never reports a draft as mergeable.
fn is_updated(pull: &Pull, commit: &str) -> bool {
    pull.state == PullState::Open
        && pull.head_commit == commit
        && (pull.mergeable == Mergeable::Yes || pull.readiness == Readiness::Draft)
}
