//! Which of two builds is the later one, by git's ancestry.

use super::{Digests, History};
use crate::{
    git::{Git, GitError},
    oci::Revision,
};

/// The order of a revision and the pinned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// It is the one that is pinned.
    Same,
    /// It is no ancestor of the one that is pinned.
    NotOlder {
        /// The revision pinned now.
        pinned: Revision,
    },
    /// It is an ancestor of the one that is pinned: a late build.
    Older {
        /// The revision pinned now.
        pinned: Revision,
    },
    /// Unknown.
    Unknown(NoOrder),
}

/// Why the order of two builds is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoOrder {
    /// No entry with a known revision has the digests that are pinned now.
    #[error("history does not record the revision of the pinned set")]
    NotInHistory,
    /// A revision that names no commit of this clone: perhaps one of another repository.
    #[error("the revision {0} is not a commit in this clone")]
    NoCommit(Revision),
    /// The fleet declares no repository whose history orders builds.
    #[error("`fleet.source` is not configured")]
    NoSource {
        /// The revision pinned now.
        pinned: Revision,
    },
    /// One of both revisions is not a commit of the source repository.
    #[error("{pinned}, or the promoted revision, is not a commit of {repository}")]
    NotInSource {
        /// The revision pinned now.
        pinned: Revision,
        /// The source repository.
        repository: String,
    },
    /// The clone is too shallow.
    #[error("the clone is too shallow to determine the order")]
    Shallow,
}

impl History {
    /// Determines the order of `revision` and the set with the digests `pinned`, which are those of
    /// the work tree or of a branch.
    pub fn order(
        &self,
        git: &Git,
        revision: &Revision,
        pinned: &Digests,
    ) -> Result<Order, GitError> {
        let Some(now) = self.revision_of(pinned) else {
            let reason = if self.shallow {
                NoOrder::Shallow
            } else {
                NoOrder::NotInHistory
            };
            return Ok(Order::Unknown(reason));
        };
        if now == revision {
            return Ok(Order::Same);
        }
        let unknown = |revision: &Revision| Ok(Order::Unknown(NoOrder::NoCommit(revision.clone())));
        let Some(new) = git.commit_named(revision.as_str())? else {
            return unknown(revision);
        };
        let Some(old) = git.commit_named(now.as_str())? else {
            return unknown(now);
        };
        Ok(match git.is_ancestor(&new, &old)? {
            true => Order::Older {
                pinned: now.clone(),
            },
            false if git.is_shallow() => Order::Unknown(NoOrder::Shallow),
            false => Order::NotOlder {
                pinned: now.clone(),
            },
        })
    }
}
