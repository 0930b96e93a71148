//! The order of two builds, from git and from the history of the set.

use std::{
    cmp::Ordering,
    time::{Duration, SystemTime},
};

use super::{Digests, History};
use crate::{
    base::error::Errors,
    git::{Git, GitError},
    oci::Revision,
};

/// The order of a revision and the currently pinned one.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// The revision is pinned now.
    Same,
    Known(KnownOrder),
    Unknown(UnknownOrder),
}

/// The order of a revision and the pinned set, and its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownOrder {
    /// Whether the revision is older than the pinned set.
    pub is_older: bool,
    pub evidence: OrderEvidence,
    /// The revision of the pinned set; `None` if it is unknown.
    pub pinned: Option<Revision>,
}

/// The evidence for the order of two builds, the strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OrderEvidence {
    /// The precedence of the versions.
    Semver,
    /// Ancestry in this clone.
    Clone,
    /// Ancestry in this repository.
    Source(String),
    /// The order in which the sets first became current.
    History,
    /// The creation times of the images.
    Created,
}

/// The reason for which the order of two builds is unknown.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UnknownOrder {
    #[error("{0}")]
    NoHistory(String),
    /// No entry with a known revision has the current digests.
    #[error("the git history does not record the revision of the pinned set")]
    NotInHistory,
    /// The revision may be a commit of another repository.
    #[error(
        "the revision {revision} is not a commit in this clone, and `source` is not configured"
    )]
    NoCommit {
        revision: Revision,
        pinned: Revision,
    },
    /// A fleet has no clone.
    #[error("`source` is not configured")]
    NoSource { pinned: Revision },
    /// At least one of the two revisions is not a commit of the source repository.
    #[error("{pinned}, or the promoted revision, is not a commit of {repository}")]
    NotInSource {
        pinned: Revision,
        repository: String,
    },
    /// The source repository cannot be read.
    #[error("the source cannot be read")]
    SourceUnavailable(Errors),
    #[error("the clone is too shallow to determine the order")]
    Shallow,
}

impl Order {
    /// Whether the revision is known to be older.
    pub(crate) fn is_older(&self) -> bool {
        matches!(self, Self::Known(KnownOrder { is_older: true, .. }))
    }

    /// Whether the images may complete or contradict this order. A commit may record the wrong revision for
    /// other digests.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Same => true,
            Self::Known(known) => !known.is_older,
            Self::Unknown(unknown) => unknown.allows_further_evidence(),
        }
    }

    /// This order, or else that in which the two sets first became current. `current`: the digests of the
    /// pinned set.
    pub(crate) fn or_by_history(
        self,
        history: &History,
        revision: &Revision,
        current: &Digests,
    ) -> Self {
        let Self::Unknown(unknown) = &self else {
            return self;
        };
        if !unknown.allows_further_evidence() {
            return self;
        }
        match history.became_current_before(revision, current) {
            None => self,
            Some(is_older) => Self::Known(KnownOrder {
                is_older,
                evidence: OrderEvidence::History,
                pinned: history.revision_of(current).cloned(),
            }),
        }
    }

    /// This order, or else that of the creation times, if they give one. `label`: the revision in the labels
    /// of the pinned images.
    pub(crate) fn or_by_creation(self, is_older: Option<bool>, label: Option<&Revision>) -> Self {
        match (self, is_older) {
            (Self::Unknown(unknown), Some(is_older)) if unknown.allows_further_evidence() => {
                Self::Known(KnownOrder {
                    is_older,
                    evidence: OrderEvidence::Created,
                    pinned: unknown.pinned().or(label).cloned(),
                })
            }
            (order, _) => order,
        }
    }
}

impl UnknownOrder {
    /// Whether the history of the set and the creation times may determine the order.
    pub(crate) fn allows_further_evidence(&self) -> bool {
        !matches!(self, Self::SourceUnavailable(_) | Self::Shallow)
    }

    /// Whether no commit records the pinned revision, so that the labels of the pinned images may.
    pub(crate) fn is_unrecorded(&self) -> bool {
        matches!(self, Self::NotInHistory | Self::NoHistory(_))
    }

    /// The revision of the pinned set, if it is known.
    pub(crate) fn pinned(&self) -> Option<&Revision> {
        match self {
            Self::NoSource { pinned }
            | Self::NoCommit { pinned, .. }
            | Self::NotInSource { pinned, .. } => Some(pinned),
            _ => None,
        }
    }
}

/// The order of two commits of a clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommitOrder {
    /// Whether the first is an ancestor of the second.
    Known { is_older: bool },
    /// This revision is not a commit of the clone.
    NoCommit(Revision),
    /// The second is not an ancestor in this shallow clone.
    Shallow,
}

impl OrderEvidence {
    /// The item of the check.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Semver => "semver",
            Self::Clone => "clone",
            Self::Source(_) => "source",
            Self::History => "history",
            Self::Created => "created",
        }
    }

    /// The phrase in the detail of the check; contains the item.
    pub(crate) fn phrase(&self) -> String {
        match self {
            Self::Semver => "by semver precedence".to_owned(),
            Self::Clone => "by ancestry in this clone".to_owned(),
            Self::Source(repository) => format!("by ancestry in the source {repository}"),
            Self::History => "by the history of this set".to_owned(),
            Self::Created => "by the times at which the images were created".to_owned(),
        }
    }
}

/// The order of two revisions by the ancestry of their commits in a clone.
pub(crate) fn commit_order(
    git: &Git,
    new: &Revision,
    pinned: &Revision,
) -> Result<CommitOrder, GitError> {
    let Some(new_commit) = git.commit_named(new.as_str())? else {
        return Ok(CommitOrder::NoCommit(new.clone()));
    };
    let Some(pinned_commit) = git.commit_named(pinned.as_str())? else {
        return Ok(CommitOrder::NoCommit(pinned.clone()));
    };
    let is_older = git.is_ancestor(&new_commit, &pinned_commit)?;
    if !is_older && git.is_shallow() {
        return Ok(CommitOrder::Shallow);
    }
    Ok(CommitOrder::Known { is_older })
}

/// 2000-01-01: reproducible builds set creation times such as 1970 or 1980.
const FIRST_TIME: Duration = Duration::from_secs(946_684_800);

/// Whether a creation time is a placeholder of a reproducible build.
pub(crate) fn is_placeholder(time: SystemTime) -> bool {
    time <= SystemTime::UNIX_EPOCH + FIRST_TIME
}

/// Whether every image was created before its pinned one; `None` if a time is unknown or a placeholder, if two
/// times are equal, or if the images disagree. `times`: those of each changed image and of the pinned one.
pub(crate) fn is_created_before(
    times: impl IntoIterator<Item = [Option<SystemTime>; 2]>,
) -> Option<bool> {
    let mut order = None;
    for times in times {
        let [new, pinned] = times.map(|time| time.filter(|time| !is_placeholder(*time)));
        let found = new?.cmp(&pinned?);
        if found.is_eq() || order.is_some_and(|order| order != found) {
            return None;
        }
        order = Some(found);
    }
    order.map(Ordering::is_lt)
}

impl History {
    /// The order of a build and a pinned set whose revision no commit records.
    pub(crate) fn unrecorded(&self) -> UnknownOrder {
        if self.shallow {
            UnknownOrder::Shallow
        } else {
            UnknownOrder::NotInHistory
        }
    }

    /// Whether the set of `revision` first became current before the set with the digests `pinned`;
    /// `None` if one of them was never current, or if a part of the history is unknown.
    pub(crate) fn became_current_before(
        &self,
        revision: &Revision,
        pinned: &Digests,
    ) -> Option<bool> {
        let positions = self.claimed.get(revision).into_iter().flatten();
        let sets: Vec<_> = positions
            .filter_map(|position| self.facts.line_point(*position).set)
            .collect();
        if self.shallow || !self.unreadable.is_empty() {
            return None;
        }
        let first = &self.events.first;
        let new = sets.iter().filter_map(|set| first[*set]).min()?;
        let mut known = self.facts.sets.iter().enumerate();
        let pinned = known
            .find(|(_, set)| set.digests(&self.config) == *pinned)?
            .0;
        match new.cmp(&first[pinned]?) {
            Ordering::Less => Some(true),
            Ordering::Equal => None,
            Ordering::Greater => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::error::Error, oci::Pattern};

    fn revision(text: &str) -> Revision {
        Pattern::parse("[a-z]+").unwrap().revision(text).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + FIRST_TIME + Duration::from_secs(seconds)
    }

    #[test]
    fn unavailable_source_is_not_replaced() {
        let unavailable = Error::unavailable("the source", "HTTP 500");
        for unknown in [
            UnknownOrder::SourceUnavailable(unavailable.into()),
            UnknownOrder::Shallow,
        ] {
            let order = Order::Unknown(unknown).or_by_creation(Some(false), None);
            assert!(matches!(order, Order::Unknown(_)), "{order:?}");
        }
        let pinned = revision("old");
        let order =
            Order::Unknown(UnknownOrder::NoSource { pinned }).or_by_creation(Some(true), None);
        assert!(order.is_older());
    }

    #[test]
    fn creation_times_keep_the_known_revision() {
        let label = revision("label");
        let pinned = || revision("old");
        for (unknown, expected) in [
            (
                UnknownOrder::NoCommit {
                    revision: revision("new"),
                    pinned: pinned(),
                },
                pinned(),
            ),
            (
                UnknownOrder::NotInSource {
                    pinned: pinned(),
                    repository: "acme/app".to_owned(),
                },
                pinned(),
            ),
            (UnknownOrder::NoSource { pinned: pinned() }, pinned()),
            (UnknownOrder::NotInHistory, label.clone()),
        ] {
            let order = Order::Unknown(unknown).or_by_creation(Some(true), Some(&label));
            let Order::Known(known) = order else {
                panic!("{order:?}");
            };
            assert_eq!(known.pinned, Some(expected));
        }
    }

    #[test]
    fn placeholders_are_no_times() {
        let is_older = |times: &[[u64; 2]]| {
            let times = times.iter().map(|pair| pair.map(|time| Some(at(time))));
            is_created_before(times)
        };
        assert!(is_placeholder(at(0)));
        assert!(!is_placeholder(at(1)));
        assert_eq!(is_older(&[[1, 2]]), Some(true));
        assert_eq!(is_older(&[[0, 2]]), None);
        assert_eq!(is_older(&[[2, 2]]), None);
        assert_eq!(is_older(&[[1, 2], [4, 3]]), None);
        assert_eq!(is_older(&[[1, 2], [3, 4]]), Some(true));
    }
}
