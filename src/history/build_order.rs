//! The order of two builds, by the ancestry of their commits in git.

use super::{Digests, History};
use crate::{
    git::{Git, GitError},
    oci::Revision,
};

/// The order of a revision and the currently pinned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// The revision is pinned now.
    Same,
    /// The revision is not an ancestor of the pinned one.
    NotOlder {
        pinned: Revision,
    },
    /// The revision is an ancestor of the pinned one: an older build.
    Older {
        pinned: Revision,
    },
    Unknown(UnknownOrder),
}

/// The reason for which the order of two builds is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownOrder {
    /// No entry with a known revision has the current digests.
    #[error("history does not record the revision of the pinned set")]
    NotInHistory,
    /// The revision may be a commit of another repository.
    #[error("the revision {0} is not a commit in this clone")]
    NoCommit(Revision),
    /// The fleet declares no repository whose history orders builds.
    #[error("`fleet.source` is not configured")]
    NoSource { pinned: Revision },
    /// One of both revisions is not a commit of the source repository.
    #[error("{pinned}, or the promoted revision, is not a commit of {repository}")]
    NotInSource {
        pinned: Revision,
        repository: String,
    },
    #[error("the clone is too shallow to determine the order")]
    Shallow,
}

impl History {
    /// Determines the order of `revision` and the set with the digests `current`, in a work tree or on
    /// a branch.
    pub(crate) fn order(
        &self,
        git: &Git,
        revision: &Revision,
        current: &Digests,
    ) -> Result<Order, GitError> {
        let Some(pinned) = self.revision_of(current) else {
            let reason = if self.shallow {
                UnknownOrder::Shallow
            } else {
                UnknownOrder::NotInHistory
            };
            return Ok(Order::Unknown(reason));
        };
        if pinned == revision {
            return Ok(Order::Same);
        }
        let no_commit =
            |revision: &Revision| Ok(Order::Unknown(UnknownOrder::NoCommit(revision.clone())));
        let Some(new) = git.commit_named(revision.as_str())? else {
            return no_commit(revision);
        };
        let Some(old) = git.commit_named(pinned.as_str())? else {
            return no_commit(pinned);
        };
        let pinned = pinned.clone();
        Ok(if git.is_ancestor(&new, &old)? {
            Order::Older { pinned }
        } else if git.is_shallow() {
            Order::Unknown(UnknownOrder::Shallow)
        } else {
            Order::NotOlder { pinned }
        })
    }
}
