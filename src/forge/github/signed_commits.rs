//! Commits that GitHub signs, for branches that require signed commits.
//!
//! `createCommitOnBranch` commits to an existing branch, so the commit is created on a temporary
//! branch, which is deleted immediately. The commit exists without a branch, like a commit that is
//! created object by object, and the branch of the pull request is then moved to it. So the branch is
//! never at an incomplete commit, and the pull request never without commits, which would close it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Github, graphql::Response, is_workflow, repository};
use crate::{
    base::{
        error::{Class, Error},
        untrusted::plain,
    },
    forge::{FileMode, NewCommit, Sign},
};

/// The mode of every file that GitHub signs.
const REGULAR: &str = "100644";

/// The outcome of creating a commit that no branch refers to.
#[derive(Debug, Clone)]
pub(super) enum CommitAttempt {
    Commit {
        id: String,
        /// Whether GitHub verified its signature.
        signed: bool,
    },
    /// Another run creates a commit for the same branch; the message of the server.
    Raced(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateCommitData {
    create_commit_on_branch: Option<CreatedRow>,
}

#[derive(Deserialize)]
struct CreatedRow {
    commit: Option<CommitRow>,
}

#[derive(Deserialize)]
struct CommitRow {
    oid: String,
    signature: Option<SignatureRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignatureRow {
    is_valid: bool,
}

impl Github {
    /// The obstacle to a signature of GitHub on a commit of these files, and the remedy.
    pub(super) fn sign_obstacle<'f>(
        &self,
        files: impl IntoIterator<Item = FileMode<'f>>,
    ) -> Option<(String, String)> {
        const APP: &str = "use the token of an app (GITHUB_TOKEN is one), whose commits GitHub signs whatever they contain";
        if self.sign == Sign::Never {
            let hint = format!("set forge.sign to auto, or {APP}");
            return Some(("forge.sign is never".to_owned(), hint));
        }
        let mut files = files.into_iter();
        let FileMode { path, mode } = files.find(|file| file.mode != REGULAR)?;
        let reason = format!(
            "GitHub signs only commits of regular files (mode {REGULAR}), and {} has mode {}",
            plain(path),
            plain(mode)
        );
        Some((
            reason,
            format!("{APP}, or make {} a regular file", plain(path)),
        ))
    }

    /// The refusal of a commit without a signature by a base that requires one.
    pub(super) fn unsigned(&self, new: &NewCommit<'_>) -> Error {
        let (reason, hint) = self.sign_obstacle(modes(new)).unwrap_or_else(|| {
            let hint = "ask an administrator of the server to set up web commit signing";
            let reason = "the server did not sign the commit that it created";
            (reason.to_owned(), hint.to_owned())
        });
        let what = format!("GitHub: committing for {}", new.base);
        let reason = format!("{} requires signed commits, and {reason}", new.base);
        Error::about(Class::Refused, what, reason).help(hint)
    }

    /// Creates a commit that GitHub signs; `branch`: the branch that will be moved to it.
    pub(super) async fn sign_commit(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
    ) -> Result<CommitAttempt, Error> {
        // All runs use one name, so that the branch of an interrupted run is reused and deleted.
        // The later of two concurrent runs finds the branch moved or deleted, and restarts.
        let temporary = format!("repin/signing/{branch}");
        if let Some(raced) = self.create_temporary_branch(new, &temporary).await? {
            return Ok(raced);
        }
        let attempt = self.commit_on(new, &temporary).await;
        if !matches!(attempt, Ok(CommitAttempt::Raced(_))) {
            self.delete_temporary_branch(&temporary).await?;
        }
        attempt
    }

    /// Creates the temporary branch at the parent of the commit, or moves it there.
    async fn create_temporary_branch(
        &self,
        new: &NewCommit<'_>,
        name: &str,
    ) -> Result<Option<CommitAttempt>, Error> {
        let sha = &new.parent.commit;
        let what = format!("making the temporary branch {name}");
        let body = json!({"ref": format!("refs/heads/{name}"), "sha": sha});
        let create = self.request(Method::POST, "git/refs", &what).body(body);
        let reply = self.http.send(&create.repeatable()).await?;
        if reply.status == 201 {
            return Ok(None);
        }
        if reply.status != 422 || !reply.text().contains("already exists") {
            return Err(repository::of_commit(new, &reply));
        }
        let body = json!({"sha": sha, "force": true});
        let path = format!("git/refs/heads/{name}");
        let reset = self.request(Method::PATCH, &path, what).body(body);
        let reply = self.http.send(&reset.repeatable()).await?;
        match reply.status.as_u16() {
            200 | 201 => Ok(None),
            422 if reply.text().contains("does not exist") => {
                Ok(Some(CommitAttempt::Raced(reply.text())))
            }
            _ => Err(repository::of_commit(new, &reply)),
        }
    }

    async fn commit_on(&self, new: &NewCommit<'_>, name: &str) -> Result<CommitAttempt, Error> {
        let additions: Vec<_> = new
            .files
            .iter()
            .map(|file| json!({"path": file.path, "contents": STANDARD.encode(&file.content)}))
            .collect();
        let (headline, body) = new.message.split_once('\n').unwrap_or((new.message, ""));
        let input = json!({
            "branch": {"repositoryNameWithOwner": new.repo.full_name, "branchName": name},
            "expectedHeadOid": new.parent.commit,
            "message": {"headline": headline, "body": body.trim()},
            "fileChanges": {"additions": additions},
        });
        let what = format!("making a signed commit for {}", new.base);
        let mutation = include_str!("queries/create_commit.graphql");
        let response: Response<CreateCommitData> = self.mutate(mutation, input, &what).await?;
        let what = format!("GitHub: {what}");
        if let Some(error) = response.errors.first() {
            let message = self.http.clean(&error.message);
            let workflows = new.files.iter().any(|file| is_workflow(&file.path));
            return match error.kind.as_str() {
                // "Expected branch to point to "…" but it did not. Pull and try again."
                "STALE_DATA" | "NOT_FOUND" => Ok(CommitAttempt::Raced(message)),
                "FORBIDDEN" if workflows => Err(repository::no_workflows(&what, &message)),
                "FORBIDDEN" => Err(Error::about(Class::Denied, what, message)
                    .help("give the token `contents: write`")),
                _ => Err(Error::about(Class::Refused, what, message)),
            };
        }
        let created = response.data.and_then(|data| data.create_commit_on_branch);
        let commit = created
            .and_then(|created| created.commit)
            .ok_or_else(|| Error::unavailable(what, "the response contains no commit"))?;
        Ok(CommitAttempt::Commit {
            id: commit.oid,
            signed: commit.signature.is_some_and(|signature| signature.is_valid),
        })
    }

    /// Deletes the temporary branch; another run may have done so.
    async fn delete_temporary_branch(&self, name: &str) -> Result<(), Error> {
        let what = format!("deleting the temporary branch {name}");
        let path = format!("git/refs/heads/{name}");
        let request = self.request(Method::DELETE, &path, what).repeatable();
        let reply = self.http.send(&request).await?;
        match reply.status.as_u16() {
            204 | 404 => Ok(()),
            422 if reply.text().contains("does not exist") => Ok(()),
            _ => Err(reply
                .error()
                .help("let the token delete branches below repin/, and delete this one")),
        }
    }
}

/// The paths and modes of a commit's files.
pub(super) fn modes<'n>(new: &'n NewCommit<'_>) -> impl Iterator<Item = FileMode<'n>> {
    let files = new.files.iter();
    files.map(|file| FileMode {
        path: &file.path,
        mode: &file.mode,
    })
}
