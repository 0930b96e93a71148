//! Makes the commit of a pull request on the head of its base, and moves the branch of the pull request to it.

use super::content::{Content, ForgeRepository, PushOutcome, object_id};
use crate::{
    base::error::Error,
    forge::{CommitSigner, Repo, SignedAttempt, SignedCommit},
    git::{Comparison, NewCommit, NewFile, ObjectId, RefUpdate},
};

/// The start of the names of temporary branches, on which a forge makes commits that it signs.
const TEMPORARY: &str = "repin/signing/";

/// A commit, and the branch that receives it.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommitOnBase<'a> {
    pub repo: &'a Repo,
    /// The base branch.
    pub base: &'a str,
    /// Its head, the parent of the commit.
    pub parent: &'a str,
    pub branch: &'a str,
    /// The head of the branch; `None`: it does not exist.
    pub old: Option<&'a str>,
    pub message: &'a str,
    /// The files that change.
    pub files: &'a [NewFile],
    /// Whether the protection of the base, without rule sets, requires signed commits, if that is known.
    pub protection_requires_signatures: Option<bool>,
}

impl CommitOnBase<'_> {
    /// Makes the commit and moves the branch, if neither the branch nor the base moved since they were read.
    pub(super) async fn publish(&self, repository: &ForgeRepository) -> Result<PushOutcome, Error> {
        let ForgeRepository { forge, content } = repository;
        let (base, files) = (self.base, self.files);
        let signer = forge
            .commit_signer(base, files, self.protection_requires_signatures)
            .await?;
        let own = self.commit(content, signer)?;
        if signer == CommitSigner::Forge {
            return self.publish_signed(repository, &own).await;
        }
        let updates = [
            self.update(&own)?,
            unmoved(self.base, object_id(self.parent)?),
        ];
        content.push(&updates, &self.paths(), forge.name()).await
    }

    /// The commit, which is unsigned if the forge signs it.
    fn commit(&self, content: &Content, signer: CommitSigner) -> Result<String, Error> {
        let mut new = NewCommit {
            parent: object_id(self.parent)?,
            message: self.message.to_owned(),
            files: self.files.to_vec(),
            seconds: 0,
            is_signed: signer == CommitSigner::User,
        };
        let commit = content.commit(new.clone())?;
        if self.old != Some(&*commit) {
            return Ok(commit);
        }
        // A push of the same commit would not make the forge check its pull request again.
        new.seconds = 1;
        content.commit(new)
    }

    fn update(&self, commit: &str) -> Result<RefUpdate, Error> {
        Ok(RefUpdate {
            branch: self.branch.to_owned(),
            old: self.old.map(object_id).transpose()?,
            new: Some(object_id(commit)?),
        })
    }

    fn paths(&self) -> Vec<&str> {
        self.files.iter().map(|file| &*file.path).collect()
    }

    /// Lets the forge make the commit on a temporary branch, verifies that it has the content of `own`, and moves the
    /// branch to it.
    async fn publish_signed(
        &self,
        repository: &ForgeRepository,
        own: &str,
    ) -> Result<PushOutcome, Error> {
        let ForgeRepository { forge, content } = repository;
        // All runs use one name, so that the branch of an interrupted run is reused and deleted. The later of two
        // concurrent runs finds the branch moved or deleted, and restarts.
        let temporary = format!("{TEMPORARY}{}", self.branch);
        let parent = object_id(self.parent)?;
        let begin = RefUpdate {
            branch: temporary.clone(),
            old: content.listed(&temporary).await?,
            new: Some(parent),
        };
        match content.push(&[begin], &[], forge.name()).await? {
            PushOutcome::Done => {}
            outcome => return Ok(outcome),
        }
        let signed = forge
            .sign_commit(&SignedCommit {
                repository: &self.repo.full_name,
                branch: &temporary,
                parent: self.parent,
                base: self.base,
                message: self.message,
                files: self.files,
            })
            .await;
        let commit = match signed {
            Ok(SignedAttempt::Commit(commit)) => commit,
            Ok(SignedAttempt::Raced(reason)) => return Ok(PushOutcome::Raced(reason)),
            Err(error) => {
                delete(repository, &temporary).await;
                return Err(error);
            }
        };
        content.fetch(&[&temporary]).await?;
        if content.head(&temporary).await?.as_ref() != Some(&commit) {
            let reason = "another run moved the temporary branch for signed commits";
            return Ok(PushOutcome::Raced(reason.to_owned()));
        }
        let signed = object_id(&commit)?;
        if !self.is_equal(content, &temporary, own).await? {
            delete(repository, &temporary).await;
            let what = format!("{}: making a signed commit for {}", forge.name(), self.base);
            return Err(Error::unavailable(
                what,
                "the forge made a commit with other content",
            ));
        }
        let updates = [
            self.update(&commit)?,
            unmoved(self.base, parent),
            RefUpdate {
                branch: temporary.clone(),
                old: Some(signed),
                new: None,
            },
        ];
        let outcome = content.push(&updates, &self.paths(), forge.name()).await;
        if !matches!(outcome, Ok(PushOutcome::Done | PushOutcome::Unsure(_))) {
            delete(repository, &temporary).await;
        }
        outcome
    }

    /// Whether the commit on `branch` changes what the commit `own` changes, directly after its parent.
    async fn is_equal(&self, content: &Content, branch: &str, own: &str) -> Result<bool, Error> {
        let Comparison::Related(made) = content.compare(self.parent, branch).await? else {
            return Ok(false);
        };
        let parents = made.commits.iter().map(|commit| commit.parents.as_slice());
        let is_alone = parents.eq([[self.parent.to_owned()].as_slice()]);
        let (made, own) = (content.tree(&made.head)?, content.tree(own)?);
        Ok(is_alone && made.entries == own.entries)
    }
}

/// A branch that must not move before the other updates.
fn unmoved(branch: &str, commit: ObjectId) -> RefUpdate {
    RefUpdate {
        branch: branch.to_owned(),
        old: Some(commit),
        new: Some(commit),
    }
}

/// Deletes a temporary branch. The next run deletes what remains.
async fn delete(repository: &ForgeRepository, branch: &str) {
    let ForgeRepository { forge, content } = repository;
    if let Ok(Some(commit)) = content.listed(branch).await {
        let update = RefUpdate {
            branch: branch.to_owned(),
            old: Some(commit),
            new: None,
        };
        drop(content.push(&[update], &[], forge.name()).await);
    }
}
