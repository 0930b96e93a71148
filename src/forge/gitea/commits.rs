//! One commit and the branch at it, in one request, and what becomes of the branch's pull request.
//!
//! Where the server can replace a branch, one request does it. Elsewhere the branch is deleted and
//! made again, and the server closes its pull request from a queue, up to seconds after the branch
//! is gone. A pull request that is opened again after the branch is back shows the old commit and is
//! never checked for conflicts; so it is opened while the branch is missing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Gitea, LOOKS,
    refusal::{is_rejected, refused, rejected},
};
use crate::{
    error::Error,
    forge::{
        BranchState, Branches, CarriedPull, Edit, Mergeable, NewCommit, NewFile, PublishOutcome,
        Pull, PullRequests, PullState, State, Transition,
    },
};

#[derive(Deserialize)]
struct Answer {
    commit: CommitRow,
}

#[derive(Deserialize)]
struct CommitRow {
    sha: String,
    #[serde(default)]
    parents: Vec<ObjectName>,
}

#[derive(Deserialize)]
struct ObjectName {
    sha: String,
}

/// Where a commit goes.
pub(super) struct Destination<'a> {
    pub(super) from: &'a str,
    /// The branch that is made at it; `None`: `from` itself.
    pub(super) to: Option<&'a str>,
    pub(super) replace: bool,
}

impl Gitea {
    pub(super) async fn base_moved(&self, new: &NewCommit<'_>) -> Result<bool, Error> {
        self.is_elsewhere(new.base, &new.parent.commit).await
    }

    pub(super) async fn is_elsewhere(&self, branch: &str, head: &str) -> Result<bool, Error> {
        Ok(self
            .branch(branch)
            .await?
            .is_none_or(|now| now.commit != head))
    }

    /// Makes the branch again and keeps its pull request.
    pub(super) async fn carry(
        &self,
        new: &NewCommit<'_>,
        destination: &Destination<'_>,
        was: &BranchState,
        carried: CarriedPull<'_>,
    ) -> Result<PublishOutcome, Error> {
        let branch = destination.to.unwrap_or(destination.from);
        let number = carried.pull.number;
        let mut open = carried.pull.state == PullState::Open;
        if let BranchState::Behind(head) | BranchState::Diverged(head) = was {
            // The server closes what is open when the deletion comes up in its queue. That must
            // be seen, or it would close the pull request at any time later.
            if !open {
                self.reopen(number, None).await?;
                open = true;
            }
            if let Some(raced) = self.delete_branch(branch, head).await? {
                return Ok(raced);
            }
        }
        // An earlier round of this run saw it closed, and opened it.
        let reopened = *self.reopened.borrow() == Some(number) && *was == BranchState::Absent;
        let closed = !open || reopened || self.is_closed_in_time(number).await.map_err(begun)?;
        if closed && !reopened {
            let edited = self.reopen(number, Some(carried.body)).await;
            edited.map_err(begun)?;
            *self.reopened.borrow_mut() = Some(number);
        }
        let published = self.change_files(new, destination).await.map_err(begun)?;
        let published = self.follow(new, published).await.map_err(begun)?;
        *self.deleted.borrow_mut() = None;
        if !closed && matches!(published, PublishOutcome::Done(_)) {
            let edit = Edit {
                body: Some(carried.body),
                ..Edit::default()
            };
            self.edit_pull(number, &edit).await.map_err(begun)?;
        }
        Ok(published)
    }

    async fn reopen(&self, number: u64, body: Option<&str>) -> Result<(), Error> {
        let edit = Edit {
            body,
            transition: Some(Transition::Reopen),
            title: None,
        };
        self.edit_pull(number, &edit).await.map(drop)
    }

    /// Waits until the server has closed a pull request whose branch is gone; `false`: it did not
    /// in time.
    async fn is_closed_in_time(&self, number: u64) -> Result<bool, Error> {
        for _ in 0..LOOKS {
            let pull = self.pull(number).await?;
            if pull.is_none_or(|pull| pull.state != PullState::Open) {
                return Ok(true);
            }
            self.http.back_off(1).await;
        }
        Ok(false)
    }

    /// Waits until the pull request has taken the new commit in: open, at this head, and without
    /// a conflict.
    pub(super) async fn follow(
        &self,
        new: &NewCommit<'_>,
        published: PublishOutcome,
    ) -> Result<PublishOutcome, Error> {
        let (PublishOutcome::Done(commit), Some(carried)) = (&published, new.pull) else {
            return Ok(published);
        };
        let number = carried.pull.number;
        let what = format!("Gitea: pull request #{number} ({})", carried.pull.url);
        let mut last = None;
        for _ in 0..LOOKS {
            let Some(pull) = self.pull(number).await.map_err(begun)? else {
                break;
            };
            if has_followed(&pull, commit) {
                return Ok(published);
            }
            let closed = pull.state != PullState::Open;
            last = Some(pull);
            if closed {
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
        Err(begun(Error::unavailable(what, reason)))
    }

    /// The forge cannot delete a branch on condition of its head, so the head is read right before.
    pub(super) async fn delete_branch(
        &self,
        branch: &str,
        head: &str,
    ) -> Result<Option<PublishOutcome>, Error> {
        if self.is_elsewhere(branch, head).await? {
            return Ok(Some(raced()));
        }
        let what = format!("deleting the branch {branch}to recreate it from its base");
        let request = self.request(Method::DELETE, &format!("branches/{branch}"), what);
        let reply = self.http.send(&request).await;
        let reply = reply.map_err(|failure| rejected(failure, branch))?;
        match reply.status.as_u16() {
            204 | 404 => Ok(None),
            _ => Err(refused(&reply)),
        }
    }

    pub(super) async fn change_files(
        &self,
        new: &NewCommit<'_>,
        destination: &Destination<'_>,
    ) -> Result<PublishOutcome, Error> {
        let update = |file: &NewFile| {
            // The content that it has: if that is another by now, nothing is written. The mode
            // stays.
            json!({"operation": "update", "path": file.path, "sha": file.old, "content": STANDARD.encode(&file.content)})
        };
        let files: Vec<Value> = new.files.iter().map(update).collect();
        let mut body = json!({"branch": destination.from, "message": new.message, "files": files});
        if let Some(to) = destination.to {
            body["new_branch"] = to.into();
        }
        if destination.replace {
            body["force_push"] = true.into();
        }
        let branch = destination.to.unwrap_or(destination.from);
        let request = self.request(
            Method::POST,
            "contents",
            format!("making the commit on {branch}"),
        );
        let reply = match self.http.send(&request.body(body)).await {
            Ok(reply) => reply,
            Err(failure) if is_rejected(&failure) => return Err(rejected(failure, branch)),
            // The caller reads how the branch is now.
            Err(failure) if failure.unsure => {
                return Ok(PublishOutcome::Unsure(failure.error.message));
            }
            Err(failure) => return Err(failure.error),
        };
        match reply.status.as_u16() {
            200 | 201 => {
                let made = reply.expect_done::<Answer>(&[200, 201])?.commit;
                let right = made.parents.len() == 1 && made.parents[0].sha == new.parent.commit;
                Ok(if right {
                    PublishOutcome::Done(made.sha)
                } else {
                    PublishOutcome::OnMovedBase
                })
            }
            404 | 409 | 422 if self.base_moved(new).await? => Ok(PublishOutcome::BaseMoved),
            409 | 422 if reply.text().contains("already exists") => {
                Ok(PublishOutcome::Raced(reply.text()))
            }
            409 | 422 => Ok(PublishOutcome::Refused(refused(&reply))),
            _ => Err(refused(&reply)),
        }
    }
}

pub(super) fn raced() -> PublishOutcome {
    PublishOutcome::Raced("another process moved the branch concurrently".to_owned())
}

/// An error after something that people can see was done.
pub(super) fn begun(error: Error) -> Error {
    Error {
        begun: true,
        ..error
    }
}

/// A draft reads as not mergeable whatever its branch holds.
fn has_followed(pull: &Pull, commit: &str) -> bool {
    pull.state == PullState::Open
        && pull.head_commit == commit
        && (pull.mergeable == Mergeable::Yes || pull.draft == State::Draft)
}
