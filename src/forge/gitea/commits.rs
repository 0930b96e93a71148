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
    Gitea, LOOKS, nullable,
    refusal::{is_race, is_rejected, refused, rejected},
};
use crate::{
    error::Error,
    forge::{
        BranchState, Branches, Edit, Mergeable, NewCommit, NewFile, PublishOutcome, Pull,
        PullRequests, PullState, State, Transition,
    },
};

#[derive(Deserialize)]
struct Answer {
    commit: CommitRow,
}

#[derive(Deserialize)]
struct CommitRow {
    sha: String,
    #[serde(default, deserialize_with = "nullable::list")]
    parents: Vec<ObjectName>,
}

#[derive(Deserialize)]
struct ObjectName {
    sha: String,
}

/// The state of an open pull request whose branch was deleted.
enum Closing {
    /// The server closed it.
    Closed,
    /// Another process recreated the branch.
    Recreated,
    /// It stayed open for longer than the server's queue takes.
    Outlasted,
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

    /// Makes the branch again and keeps its pull request. The caller removes the notice from its
    /// body afterwards: until then, a run that was interrupted at any point is recognized.
    pub(super) async fn carry(
        &self,
        new: &NewCommit<'_>,
        destination: &Destination<'_>,
        was: &BranchState,
        carried: &Pull,
    ) -> Result<PublishOutcome, Error> {
        let branch = destination.to.unwrap_or(destination.from);
        let number = carried.number;
        let mut open = carried.state == PullState::Open;
        if let BranchState::Behind(head) | BranchState::Diverged(head) = was {
            // The server closes what is open when the deletion comes up in its queue. That must
            // be seen, or it would close the pull request at any time later.
            if !open {
                self.reopen(number).await?;
                open = true;
            }
            if let Some(raced) = self.delete_branch(branch, head).await? {
                return Ok(raced);
            }
        }
        // An earlier round of this run saw it closed, and opened it.
        let reopened = *self.reopened.borrow() == Some(number) && *was == BranchState::Absent;
        if open && !reopened {
            match self.closing(number).await.map_err(begun)? {
                Closing::Closed => open = false,
                Closing::Recreated => return Ok(raced()),
                Closing::Outlasted => {}
            }
        }
        if !open {
            self.reopen(number).await.map_err(begun)?;
            *self.reopened.borrow_mut() = Some(number);
        }
        let published = self.change_files(new, destination).await.map_err(begun)?;
        let published = self.follow(new, published).await.map_err(begun)?;
        *self.deleted.borrow_mut() = None;
        Ok(published)
    }

    /// Reopens a pull request and changes nothing else: Forgejo stores the body of a request before
    /// its state, so a run that is killed in between would leave a closed pull request without the
    /// notice.
    async fn reopen(&self, number: u64) -> Result<(), Error> {
        let edit = Edit {
            transition: Some(Transition::Reopen),
            ..Edit::default()
        };
        self.edit_pull(number, &edit).await.map(drop)
    }

    /// Waits until the server has closed a pull request whose branch was deleted.
    async fn closing(&self, number: u64) -> Result<Closing, Error> {
        for _ in 0..LOOKS {
            match self.pull(number).await? {
                Some(pull) if pull.state != PullState::Open => return Ok(Closing::Closed),
                Some(pull) if pull.head_exists => return Ok(Closing::Recreated),
                Some(_) => self.http.back_off(1).await,
                None => return Ok(Closing::Closed),
            }
        }
        Ok(Closing::Outlasted)
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
        let number = carried.number;
        let what = format!("Gitea: pull request #{number} ({})", carried.url);
        let mut last = None;
        for _ in 0..LOOKS {
            let Some(pull) = self.pull(number).await.map_err(begun)? else {
                break;
            };
            if has_followed(&pull, commit) && self.is_shown(number, commit).await.map_err(begun)? {
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
        let what = format!("deleting the branch {branch} to recreate it from its base");
        let request = self.request(Method::DELETE, &format!("branches/{branch}"), what);
        let reply = match self.http.send(&request).await {
            Ok(reply) => reply,
            Err(failure) if is_race(&failure.error.message) => return Ok(Some(raced())),
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
            Err(failure) if is_race(&failure.error.message) => {
                return Ok(PublishOutcome::Raced(failure.error.message));
            }
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
            _ if is_race(&reply.text()) => Ok(PublishOutcome::Raced(reply.text())),
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
