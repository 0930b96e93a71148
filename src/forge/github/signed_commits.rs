//! Commits that GitHub signs, for branches that require signed commits.
//!
//! `createCommitOnBranch` commits to an existing branch, so the commit is made on a temporary
//! branch, which is deleted at once. The commit stays what it is without a branch, as one made
//! object by object does, and the pull request's branch is then put at it like at any other: it
//! is never at anything but a whole commit, and a pull request is never without commits, which
//! would close it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::json;

use super::{Github, is_workflow, refusal};
use crate::{
    config::Sign,
    error::{Class, Error},
    forge::{FileMode, NewCommit},
    untrusted::plain,
};

/// The one mode that GitHub writes when it signs.
const REGULAR: &str = "100644";

/// A commit that no branch is at yet.
#[derive(Debug, Clone)]
pub(super) enum CommitAttempt {
    /// It is made.
    Commit {
        /// Its name.
        id: String,
        /// Whether GitHub verified its signature.
        signed: bool,
    },
    /// Another run makes one for the same branch; the server's message.
    Raced(String),
}

impl Github {
    /// Why GitHub cannot be asked to sign a commit of these files, and what to
    /// do.
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
        let (why, hint) = self.sign_obstacle(modes(new)).unwrap_or_else(|| {
            let hint = "ask an administrator of the server to set up web commit signing";
            let why = "the server did not sign the commit that it created";
            (why.to_owned(), hint.to_owned())
        });
        let what = format!("GitHub: committing for {}", new.base);
        let why = format!("{} requires signed commits, and {why}", new.base);
        Error::about(Class::Refused, what, why).help(hint)
    }

    /// Makes a commit that GitHub signs; `branch`: the branch that will be put at it.
    pub(super) async fn sign_commit(
        &self,
        new: &NewCommit<'_>,
        branch: &str,
    ) -> Result<CommitAttempt, Error> {
        // One name for all runs: what an interrupted run left is taken over and deleted. Of two runs
        // at once the later finds the branch moved or gone, and reads again.
        let temporary = format!("repin/signing/{branch}");
        if let Some(raced) = self.lay_out(new, &temporary).await? {
            return Ok(raced);
        }
        let made = self.commit_on(new, &temporary).await;
        if !matches!(made, Ok(CommitAttempt::Raced(_))) {
            self.clear_away(&temporary).await?;
        }
        made
    }

    /// Puts the temporary branch at the commit's parent.
    async fn lay_out(
        &self,
        new: &NewCommit<'_>,
        name: &str,
    ) -> Result<Option<CommitAttempt>, Error> {
        let sha = &new.parent.commit;
        let what = format!("making the temporary branch {name}");
        let body = json!({"ref": format!("refs/heads/{name}"), "sha": sha});
        let create = self.request(Method::POST, "git/refs", &what).body(body);
        let reply = self.http.send(&create.harmless()).await?;
        if reply.status == 201 {
            return Ok(None);
        }
        if reply.status != 422 || !reply.text().contains("already exists") {
            return Err(refusal::of_commit(new, &reply));
        }
        let body = json!({"sha": sha, "force": true});
        let path = format!("git/refs/heads/{name}");
        let reset = self.request(Method::PATCH, &path, what).body(body);
        let reply = self.http.send(&reset.harmless()).await?;
        match reply.status.as_u16() {
            200 | 201 => Ok(None),
            422 if reply.text().contains("does not exist") => {
                Ok(Some(CommitAttempt::Raced(reply.text())))
            }
            _ => Err(refusal::of_commit(new, &reply)),
        }
    }

    async fn commit_on(&self, new: &NewCommit<'_>, name: &str) -> Result<CommitAttempt, Error> {
        let query = "mutation($input:CreateCommitOnBranchInput!)\
                     {createCommitOnBranch(input:$input){commit{oid signature{isValid}}}}";
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
        let answer = self.mutate(query, input, &what).await?;
        let what = format!("GitHub: {what}");
        if let Some(error) = answer.first_error() {
            let message = self.http.clean(&error.message);
            let workflows = new.files.iter().any(|file| is_workflow(&file.path));
            return match error.kind.as_str() {
                // "Expected branch to point to "…" but it did not. Pull and try again."
                "STALE_DATA" | "NOT_FOUND" => Ok(CommitAttempt::Raced(message)),
                "FORBIDDEN" if workflows => Err(refusal::no_workflows(&what, &message)),
                "FORBIDDEN" => Err(Error::about(Class::Denied, what, message)
                    .help("give the token `contents: write`")),
                _ => Err(Error::about(Class::Refused, what, message)),
            };
        }
        let commit = &answer.data()["createCommitOnBranch"]["commit"];
        let id = commit["oid"]
            .as_str()
            .ok_or_else(|| Error::unavailable(what, "the response contains no commit"))?;
        Ok(CommitAttempt::Commit {
            id: id.to_owned(),
            signed: commit["signature"]["isValid"] == true,
        })
    }

    /// Deletes the temporary branch; another run may have done so.
    async fn clear_away(&self, name: &str) -> Result<(), Error> {
        let what = format!("deleting the temporary branch {name}");
        let path = format!("git/refs/heads/{name}");
        let request = self.request(Method::DELETE, &path, what).harmless();
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
