//! The objects of a commit, and the branch that is moved to it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Github, refusal, signed_commits::CommitAttempt};
use crate::{
    error::Error,
    forge::{NewCommit, NewFile, PublishOutcome, http::Request},
};

/// The objects of a commit that was made, by what they were made from.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    parent: String,
    message: String,
    files: Vec<WrittenFile>,
    made: CommitAttempt,
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WrittenFile {
    path: String,
    mode: String,
    /// The name of its content.
    content: String,
}

impl From<&NewFile> for WrittenFile {
    fn from(file: &NewFile) -> Self {
        Self {
            path: file.path.clone(),
            mode: file.mode.clone(),
            content: file.new.clone(),
        }
    }
}

impl Objects {
    fn of(new: &NewCommit<'_>, made: CommitAttempt) -> Self {
        Self {
            parent: new.parent.commit.clone(),
            message: new.message.to_owned(),
            files: new.files.iter().map(WrittenFile::from).collect(),
            made,
        }
    }

    fn is_signed(&self) -> bool {
        matches!(self.made, CommitAttempt::Commit { signed: true, .. })
    }

    fn is_for(&self, new: &NewCommit<'_>) -> bool {
        let files = new.files.iter().map(WrittenFile::from);
        self.parent == new.parent.commit
            && self.message == new.message
            && files.eq(self.files.iter().cloned())
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
    /// The commit's objects, which are invisible until a branch is at them. A run makes them
    /// once, however often the branch is tried. `sign`: the branch for which GitHub signs the commit.
    pub(super) async fn objects(
        &self,
        new: &NewCommit<'_>,
        sign: Option<&str>,
    ) -> Result<CommitAttempt, Error> {
        let known = self.made.borrow().clone();
        let known = known.filter(|known| known.is_for(new));
        if let Some(known) = known.filter(|known| sign.is_none() || known.is_signed()) {
            return Ok(known.made);
        }
        let made = match sign {
            Some(branch) => self.sign_commit(new, branch).await?,
            None => self.make_objects(new).await?,
        };
        if matches!(made, CommitAttempt::Commit { .. }) {
            *self.made.borrow_mut() = Some(Objects::of(new, made.clone()));
        }
        Ok(made)
    }

    async fn make_objects(&self, new: &NewCommit<'_>) -> Result<CommitAttempt, Error> {
        let tree = self.make_tree(new).await?;
        let body = json!({"message": new.message, "tree": tree, "parents": [new.parent.commit]});
        let made = self
            .put_object(new, "git/commits", "making the commit", body)
            .await?;
        // GitHub signs what an app commits in its own name, and nothing else that is made this way.
        Ok(CommitAttempt::Commit {
            id: made.sha,
            signed: made.verification.is_some_and(|it| it.verified),
        })
    }

    /// Makes the tree: with the contents in the request where the tree's own name then shows that the
    /// forge stored them as they are, and content by content otherwise.
    async fn make_tree(&self, new: &NewCommit<'_>) -> Result<String, Error> {
        if let Some(expected) = new.surveyed.and_then(|base| base.tree) {
            let mut entries = Vec::new();
            for file in new.files {
                entries.push(match std::str::from_utf8(&file.content) {
                    Ok(text) => {
                        json!({"path": file.path, "mode": file.mode, "type": "blob", "content": text})
                    }
                    Err(_) => self.put_blob(new, file).await?,
                });
            }
            let tree = self.put_tree(new, entries).await?;
            if tree == expected {
                return Ok(tree);
            }
        }
        let mut entries = Vec::new();
        for file in new.files {
            entries.push(self.put_blob(new, file).await?);
        }
        self.put_tree(new, entries).await
    }

    async fn put_tree(&self, new: &NewCommit<'_>, entries: Vec<Value>) -> Result<String, Error> {
        let body = json!({"base_tree": new.parent.tree, "tree": entries});
        self.put(new, "git/trees", "making the tree", body).await
    }

    /// Sends a content, and returns its entry in the tree.
    async fn put_blob(&self, new: &NewCommit<'_>, file: &NewFile) -> Result<Value, Error> {
        let body = json!({"content": STANDARD.encode(&file.content), "encoding": "base64"});
        let id = self
            .put(new, "git/blobs", "sending a file's content", body)
            .await?;
        if id == file.new {
            return Ok(json!({"path": file.path, "mode": file.mode, "type": "blob", "sha": id}));
        }
        Err(Error::unavailable(
            format!("GitHub: sending {}", file.path),
            "the forge stored different content than was sent",
        ))
    }

    async fn put(
        &self,
        new: &NewCommit<'_>,
        path: &str,
        what: &str,
        body: Value,
    ) -> Result<String, Error> {
        Ok(self.put_object(new, path, what, body).await?.sha)
    }

    async fn put_object(
        &self,
        new: &NewCommit<'_>,
        path: &str,
        what: &str,
        body: Value,
    ) -> Result<Object, Error> {
        let request = self.request(Method::POST, path, what).body(body).harmless();
        let reply = self.http.send(&request).await?;
        if reply.status == 201 {
            return reply.expect(&[201]);
        }
        // A content has no path yet: what is missing for it is not the permission for workflows.
        Err(if path == "git/blobs" {
            refusal::unwritable(&reply)
        } else {
            refusal::of_commit(new, &reply)
        })
    }

    pub(super) async fn create_branch(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        commit: String,
    ) -> Result<PublishOutcome, Error> {
        let body = json!({"ref": format!("refs/heads/{branch}"), "sha": commit});
        // A second time is refused, since the branch exists.
        let request = self
            .request(
                Method::POST,
                "git/refs",
                format!("creating the branch {branch}"),
            )
            .body(body);
        self.placed(new, &request.harmless(), branch, commit).await
    }

    pub(super) async fn forward_branch(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        commit: String,
    ) -> Result<PublishOutcome, Error> {
        let body = json!({"sha": commit, "force": false});
        let path = format!("git/refs/heads/{branch}");
        let request = self
            .request(Method::PATCH, &path, format!("moving the branch {branch}"))
            .body(body);
        self.placed(new, &request, branch, commit).await
    }

    /// For servers that cannot move a branch from a given commit: read once more, and moved.
    pub(super) async fn force_branch(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
        from: &str,
        commit: String,
    ) -> Result<PublishOutcome, Error> {
        if self
            .branch_head(branch)
            .await?
            .is_none_or(|branch| branch.head.commit != from)
        {
            return Ok(PublishOutcome::Raced(
                "the branch was moved concurrently".to_owned(),
            ));
        }
        let body = json!({"sha": commit, "force": true});
        let path = format!("git/refs/heads/{branch}");
        let request = self
            .request(Method::PATCH, &path, format!("moving the branch {branch}"))
            .body(body);
        self.placed(new, &request, branch, commit).await
    }

    async fn placed(
        &self,
        new: &NewCommit<'_>,
        request: &Request,
        branch: &str,
        commit: String,
    ) -> Result<PublishOutcome, Error> {
        let reply = self.http.write(request).await?;
        match reply.status.as_u16() {
            200 | 201 => Ok(PublishOutcome::Done(commit)),
            409 | 422 if refusal::is_race(&reply.text()) => Ok(PublishOutcome::Raced(reply.text())),
            422 if refusal::lacks_workflows(new, &reply) => Err(refusal::of_commit(new, &reply)),
            // It is a race only if the branch moved, which the caller finds out: the text tells
            // rules, protections and races apart for few of them ("Reference update failed").
            409 | 422 => Ok(PublishOutcome::Refused(refusal::of_branch(
                reply.error(),
                branch,
            ))),
            _ => Err(refusal::of_commit(new, &reply)),
        }
    }
}
