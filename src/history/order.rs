//! Which of two builds is the later one, by git's ancestry.

use super::{Digests, History};
use crate::{
    git::{Git, GitError},
    oci::Revision,
};

/// How a revision stands to the one that is pinned now.
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
    /// It can't be told.
    Unknown(NoOrder),
}

/// Why the order of two builds can't be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoOrder {
    /// No entry with a known revision has the digests that are pinned now.
    #[error("history does not know the revision of the set that is pinned now")]
    NotInHistory,
    /// A revision that names no commit of this clone: perhaps one of another repository.
    #[error("the revision {0} is no commit in this clone")]
    NoCommit(Revision),
    /// The clone ends before the answer.
    #[error("the clone is too shallow to tell")]
    Shallow,
}

impl History {
    /// How `revision` stands to the set with the digests `pinned`, which are those of the work tree
    /// or of a branch.
    pub fn order(
        &self,
        git: &Git,
        revision: &Revision,
        pinned: &Digests,
    ) -> Result<Order, GitError> {
        let Some(now) = self.revision_of(pinned) else {
            let why = if self.shallow {
                NoOrder::Shallow
            } else {
                NoOrder::NotInHistory
            };
            return Ok(Order::Unknown(why));
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
