//! Creates the objects of a commit, and moves a branch to it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Github, repository, signed_commits::CommitAttempt};
use crate::{
    base::error::Error,
    forge::{NewCommit, NewFile, PublishOutcome, http::Request},
};

/// A commit that was created, and the data that it was created from.
#[derive(Debug, Clone)]
pub(super) struct CreatedCommit {
    parent: String,
    message: String,
    files: Vec<NewFile>,
    attempt: CommitAttempt,
}

impl CreatedCommit {
    fn is_signed(&self) -> bool {
        matches!(self.attempt, CommitAttempt::Commit { signed: true, .. })
    }

    fn is_for(&self, new: &NewCommit<'_>) -> bool {
        self.parent == new.parent.commit && self.message == new.message && self.files == new.files
    }
}

#[derive(Deserialize)]
struct Object {
    sha: String,
    verification: Option<Verification>,
}

#[derive(Deserialize)]
struct Verification {
    #[serde(default)]
    verified: bool,
}

impl Github {
    /// Creates a commit, which is invisible until a branch is moved to it. A run creates it once for all
    /// attempts to move the branch. `sign`: the branch for which GitHub signs the commit.
    pub(super) async fn create_commit(
        &self,
        new: &NewCommit<'_>,
        sign: Option<&str>,
    ) -> Result<CommitAttempt, Error> {
        if let Some(created) = &*self.created.borrow()
            && created.is_for(new)
            && (sign.is_none() || created.is_signed())
        {
            return Ok(created.attempt.clone());
        }
        let attempt = match sign {
            Some(branch) => self.sign_commit(new, branch).await?,
            None => self.create_objects(new).await?,
        };
        if matches!(attempt, CommitAttempt::Commit { .. }) {
            *self.created.borrow_mut() = Some(CreatedCommit {
                parent: new.parent.commit.clone(),
                message: new.message.to_owned(),
                files: new.files.to_vec(),
                attempt: attempt.clone(),
            });
        }
        Ok(attempt)
    }

    async fn create_objects(&self, new: &NewCommit<'_>) -> Result<CommitAttempt, Error> {
        let tree = self.create_tree(new).await?;
        let body = json!({"message": new.message, "tree": tree, "parents": [new.parent.commit]});
        let commit = self
            .create_object(new, "git/commits", "making the commit", body)
            .await?;
        // Of the commits that are created object by object, GitHub signs only those of apps.
        Ok(CommitAttempt::Commit {
            id: commit.sha,
            signed: commit
                .verification
                .is_some_and(|verification| verification.verified),
        })
    }

    /// Creates the tree. If the expected id is known, the request contains the contents, because the id
    /// of the tree then shows that the forge stored them unchanged. Otherwise every content is sent
    /// separately.
    async fn create_tree(&self, new: &NewCommit<'_>) -> Result<String, Error> {
        if let Some(expected) = new.surveyed.and_then(|base| base.tree) {
            let mut entries = Vec::new();
            for file in new.files {
                entries.push(match std::str::from_utf8(&file.content) {
                    Ok(text) => json!({
                        "path": file.path, "mode": file.mode, "type": "blob", "content": text,
                    }),
                    Err(_) => self.create_blob(new, file).await?,
                });
            }
            let tree = self.post_tree(new, entries).await?;
            if tree == expected {
                return Ok(tree);
            }
        }
        let mut entries = Vec::new();
        for file in new.files {
            entries.push(self.create_blob(new, file).await?);
        }
        self.post_tree(new, entries).await
    }

    async fn post_tree(&self, new: &NewCommit<'_>, entries: Vec<Value>) -> Result<String, Error> {
        let body = json!({"base_tree": new.parent.tree, "tree": entries});
        let tree = self.create_object(new, "git/trees", "making the tree", body);
        Ok(tree.await?.sha)
    }

    /// Creates a blob, and returns its entry in the tree.
    async fn create_blob(&self, new: &NewCommit<'_>, file: &NewFile) -> Result<Value, Error> {
        let body = json!({"content": STANDARD.encode(&file.content), "encoding": "base64"});
        let blob = self
            .create_object(new, "git/blobs", "sending a file's content", body)
            .await?;
        if blob.sha == file.new {
            return Ok(json!({
                "path": file.path, "mode": file.mode, "type": "blob", "sha": blob.sha,
            }));
        }
        Err(Error::unavailable(
            format!("GitHub: sending {}", file.path),
            "the forge stored different content than was sent",
        ))
    }

    async fn create_object(
        &self,
        new: &NewCommit<'_>,
        path: &str,
        what: &str,
        body: Value,
    ) -> Result<Object, Error> {
        let request = self
            .request(Method::POST, path, what)
            .body(body)
            .repeatable();
        let reply = self.http.send(&request).await?;
        if reply.status == 201 {
            return reply.expect(&[201]);
        }
        // A blob has no path, so the missing permission is not that for workflows.
        Err(if path == "git/blobs" {
            repository::unwritable(&reply)
        } else {
            repository::of_commit(new, &reply)
        })
    }

    pub(super) async fn create_branch(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        commit: String,
    ) -> Result<PublishOutcome, Error> {
        let body = json!({"ref": format!("refs/heads/{branch}"), "sha": commit});
        let what = format!("creating the branch {branch}");
        // A repeated request is refused, because the branch exists by then.
        let request = self
            .request(Method::POST, "git/refs", what)
            .body(body)
            .repeatable();
        self.update_branch(new, &request, branch, commit).await
    }

    pub(super) async fn forward_branch(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        commit: String,
    ) -> Result<PublishOutcome, Error> {
        self.move_branch(new, branch, commit, false).await
    }

    /// Moves a branch on a server without conditional moves: the branch is read right before.
    pub(super) async fn force_branch(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        from: &str,
        commit: String,
    ) -> Result<PublishOutcome, Error> {
        let current = self.branch_head(branch).await?;
        if current.is_none_or(|current| current.head.commit != from) {
            return Ok(PublishOutcome::Raced(
                "the branch was moved concurrently".to_owned(),
            ));
        }
        self.move_branch(new, branch, commit, true).await
    }

    async fn move_branch(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        commit: String,
        force: bool,
    ) -> Result<PublishOutcome, Error> {
        let path = format!("git/refs/heads/{branch}");
        let request = self
            .request(Method::PATCH, &path, format!("moving the branch {branch}"))
            .body(json!({"sha": commit, "force": force}));
        self.update_branch(new, &request, branch, commit).await
    }

    async fn update_branch(
        &self,
        new: &NewCommit<'_>,
        request: &Request,
        branch: &str,
        commit: String,
    ) -> Result<PublishOutcome, Error> {
        let reply = self.http.write(request).await?;
        match reply.status.as_u16() {
            200 | 201 => Ok(PublishOutcome::Done(commit)),
            409 | 422 if repository::is_race(&reply.text()) => {
                Ok(PublishOutcome::Raced(reply.text()))
            }
            422 if repository::lacks_workflows(new, &reply) => {
                Err(repository::of_commit(new, &reply))
            }
            // A rule, a protection or a race: messages such as "Reference update failed" do not
            // distinguish them, so the caller checks whether the branch moved.
            409 | 422 => Ok(PublishOutcome::Refused(repository::of_branch(
                reply.error(),
                branch,
            ))),
            _ => Err(repository::of_commit(new, &reply)),
        }
    }
}
