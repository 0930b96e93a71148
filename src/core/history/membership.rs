//! Whether the branch that counts contains the commit that a set was built from.

use std::cell::OnceCell;

use super::History;
use crate::{
    base::error::Errors,
    git::{Git, GitError, ObjectId},
    oci::Revision,
};

/// Whether the branch that counts contains a revision.
#[derive(Debug, Clone)]
pub(crate) enum Membership {
    Merged,
    Unmerged {
        /// The branch, in messages.
        branch: String,
    },
    Unknown(UnknownMembership),
}

/// The reason for which the membership of a revision is unknown.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UnknownMembership {
    #[error("the revision is not a commit")]
    NoCommit,
    /// The images may be built from another repository.
    #[error(
        "no revision of this set is a commit of this repository, and `source` is not configured"
    )]
    NoSource,
    #[error("the clone is too shallow")]
    Shallow,
    #[error("the source cannot be read")]
    SourceUnavailable(Errors),
}

impl History {
    /// Whether the promoted branch contains a revision. A commit that the clone does not contain is not merged if the
    /// images are built from this repository: then a recorded revision, or one of `related`, is a commit of the clone.
    pub(crate) fn membership(
        &self,
        git: &Git,
        revision: &Revision,
        related: &[&str],
        is_built_here: &OnceCell<bool>,
    ) -> Result<Membership, GitError> {
        let commit = git.commit_named(revision.as_str())?;
        if let Some(commit) = &commit
            && git.is_ancestor(commit, &self.branch.tip)?
        {
            return Ok(Membership::Merged);
        }
        if commit.is_none() {
            let is_known = match is_built_here.get() {
                Some(is_known) => *is_known,
                None => self.contains_any(git, related)?,
            };
            if !is_built_here.get_or_init(|| is_known) {
                return Ok(Membership::Unknown(UnknownMembership::NoSource));
            }
        }
        Ok(if git.is_shallow() {
            Membership::Unknown(UnknownMembership::Shallow)
        } else {
            let branch = self.branch.name.clone();
            Membership::Unmerged { branch }
        })
    }

    /// Whether a recorded revision, or one of `related`, is a commit of the clone.
    fn contains_any(&self, git: &Git, related: &[&str]) -> Result<bool, GitError> {
        let recorded = self.claimed.keys().map(Revision::as_str);
        let texts = recorded.chain(related.iter().copied());
        let mut ids: Vec<_> = texts
            .filter_map(|text| ObjectId::parse(text.as_bytes()))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(git.missing(&ids)?.len() < ids.len())
    }
}
