//! Commits that GitHub signs, for branches that require signed commits.
//!
//! `createCommitOnBranch` commits to an existing branch, so the caller pushes a temporary branch first. The branch
//! of the pull request is then moved to the commit.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;

use super::{Github, graphql::Response};
use crate::{
    base::{
        error::{Class, Error},
        untrusted::plain,
    },
    forge::{CommitSigner, FileMode, Sign, SignedAttempt, SignedCommit, workflows},
    git::NewFile,
};

/// The mode of every file that GitHub signs.
const REGULAR: &str = "100644";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateCommitData {
    create_commit_on_branch: Option<CreatedRow>,
}

#[derive(Deserialize)]
struct CreatedRow {
    commit: Option<NewCommitRow>,
}

#[derive(Deserialize)]
struct NewCommitRow {
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
        if self.sign == Sign::Never {
            let hint = "set forge.sign to auto, or to git, which signs with the key of git";
            return Some(("forge.sign is never".to_owned(), hint.to_owned()));
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
            format!(
                "set forge.sign to git, which signs with the key of git, or make {} a regular file",
                plain(path)
            ),
        ))
    }

    /// The signer of a commit of these files for `base`; `protected`: whether the protection of the base requires
    /// signatures, if that is known.
    pub(crate) async fn commit_signer(
        &self,
        base: &str,
        files: &[NewFile],
        protected: Option<bool>,
    ) -> Result<CommitSigner, Error> {
        if self.sign == Sign::Git {
            return Ok(CommitSigner::User);
        }
        if !self.requires_signatures(base, protected).await? {
            return Ok(CommitSigner::Nobody);
        }
        let modes = files.iter().map(|file| FileMode {
            path: &file.path,
            mode: &file.mode,
        });
        match self.sign_obstacle(modes) {
            None => Ok(CommitSigner::Forge),
            Some((reason, hint)) => Err(unsigned(base, &reason).help(hint)),
        }
    }

    /// Creates a commit on a branch that is at its parent.
    pub(crate) async fn sign_commit(&self, new: &SignedCommit<'_>) -> Result<SignedAttempt, Error> {
        let additions: Vec<_> = new
            .files
            .iter()
            .map(|file| json!({"path": file.path, "contents": STANDARD.encode(&file.content)}))
            .collect();
        let (headline, body) = new.message.split_once('\n').unwrap_or((new.message, ""));
        let input = json!({
            "branch": {"repositoryNameWithOwner": new.repository, "branchName": new.branch},
            "expectedHeadOid": new.parent,
            "message": {"headline": headline, "body": body.trim()},
            "fileChanges": {"additions": additions},
        });
        let what = format!("making a signed commit for {}", new.base);
        let mutation = include_str!("queries/create_commit.graphql");
        let response: Response<CreateCommitData> = self.mutate(mutation, input, &what).await?;
        let what = format!("GitHub: {what}");
        if let Some(error) = response.errors.first() {
            let message = self.http.clean(&error.message);
            let workflows = new
                .files
                .iter()
                .any(|file| workflows::is_workflow(&file.path));
            return match error.kind.as_str() {
                // "Expected branch to point to "…" but it did not. Pull and try again."
                "STALE_DATA" | "NOT_FOUND" => Ok(SignedAttempt::Raced(message)),
                "FORBIDDEN" if workflows => Err(workflows::missing_permission(&what, &message)),
                "FORBIDDEN" => Err(Error::about(Class::Denied, what, message)
                    .help("give the token `contents: write`")),
                _ => Err(Error::about(Class::Refused, what, message)),
            };
        }
        let created = response.data.and_then(|data| data.create_commit_on_branch);
        let commit = created
            .and_then(|created| created.commit)
            .ok_or_else(|| Error::unavailable(what, "the response contains no commit"))?;
        if !commit.signature.is_some_and(|signature| signature.is_valid) {
            let reason = "the server did not sign the commit that it created";
            return Err(unsigned(new.base, reason)
                .help("ask an administrator of the server to set up web commit signing"));
        }
        Ok(SignedAttempt::Commit(commit.oid))
    }
}

/// The refusal of a commit without a signature by a base that requires one.
fn unsigned(base: &str, reason: &str) -> Error {
    let what = format!("GitHub: committing for {base}");
    let reason = format!("{base} requires signed commits, and {reason}");
    Error::about(Class::Refused, what, reason)
}
