//! The provenance of a set.

use std::{collections::BTreeMap, sync::Arc};

use super::{Digests, History, walk::Content};
use crate::{
    config::SetPath,
    git::ObjectId,
    oci::{Digest, Revision},
};

/// The evidence that makes a set available for rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promoted {
    /// The latest commit of the line that promoted the set or rolled back to it.
    pub commit: ObjectId,
    /// The committer date (ISO 8601).
    pub date: String,
    /// The digest of every image that must be pinned.
    pub images: Digests,
    /// The commit that first made the set current: its tree contains the contracts under which the set
    /// was promoted, whereas `commit` may be a rollback with the contracts of the set that it undid.
    /// [`super::commit_config`] and [`crate::git::Git::file`] read them.
    pub contracts: ObjectId,
    /// The path of the configuration at that commit, if it was renamed since. [`super::promoted_config`]
    /// reads it.
    pub former_path: Option<SetPath>,
    pub introduced: Arc<Introduced>,
}

/// For each image, the commits that introduced its digests.
pub(crate) type Introduced = BTreeMap<String, BTreeMap<Digest, ObjectId>>;

/// The result of looking up a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Provenance {
    Found(Promoted),
    /// `require: [content]`: only the digests that the revision's tags now resolve to can identify
    /// the set; call [`History::provenance_of`] with them.
    ByContent,
    /// No commit of the line promoted this revision, or pinned these digests.
    Never,
    /// The revision was promoted, but its set lacks a currently configured image.
    Incomplete {
        /// The latest commit that claims the revision.
        commit: ObjectId,
        gaps: Vec<Gap>,
    },
    /// A commit claims this revision for digests of another one.
    OtherRevision {
        commit: ObjectId,
        revision: Revision,
        /// The commit that introduced the digests.
        introduced: ObjectId,
    },
    /// Unknown, because the clone is too shallow.
    Shallow,
}

/// The reason for which a commit's content is not available for rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gap {
    /// The commit does not pin a configured image.
    NotPinned(String),
    /// The pins of an image disagree.
    Mixed(String, Vec<Digest>),
    /// The commit's configuration cannot be read, for this reason.
    Unreadable(String),
}

impl History {
    /// The provenance of `revision`: the latest commit that claims it and pins every configured image.
    pub(crate) fn provenance(&self, revision: &Revision) -> Provenance {
        if !self.config.provenance.requires_title() {
            let mut sets = self.facts.line_sets().filter_map(|(_, set)| set);
            return if sets.any(|set| self.is_whole(set)) {
                Provenance::ByContent
            } else {
                self.not_found()
            };
        }
        let mut incomplete = None;
        for index in self.claimed.get(revision).into_iter().flatten().rev() {
            let index = *index;
            // The merged claims of a doubtful commit may belong to an older merge.
            let claims = &self.facts.line_commit(index).claims;
            let is_certain =
                !self.facts.doubtful.contains(&index) || claims.revisions.contains(revision);
            match self.whole_set(index) {
                Some(set) if !is_certain || self.may_be_replaced(index, set) => {
                    return Provenance::Shallow;
                }
                Some(set) => return Provenance::Found(self.promoted(index, set)),
                None => incomplete = incomplete.or(Some(index)),
            }
        }
        match incomplete {
            Some(index) if !self.shallow => Provenance::Incomplete {
                commit: self.facts.line_commit(index).id,
                gaps: self.gaps(index),
            },
            _ => match self
                .ignored_claims()
                .iter()
                .rev()
                .find(|claim| claim.claimed == revision)
            {
                Some(claim) if !self.shallow => Provenance::OtherRevision {
                    commit: claim.commit,
                    revision: claim.revision.clone(),
                    introduced: claim.introduced,
                },
                _ => self.not_found(),
            },
        }
    }

    /// Whether a later doubtful commit may have promoted the same revision with another set.
    fn may_be_replaced(&self, index: usize, set: usize) -> bool {
        let later = self.facts.doubtful.range(index + 1..);
        later
            .filter_map(|later| self.whole_set(*later))
            .any(|other| other != set)
    }

    /// The set of a commit of the line, if it is whole.
    fn whole_set(&self, index: usize) -> Option<usize> {
        let set = self.facts.line_point(index).set;
        set.filter(|set| self.is_whole(*set))
    }

    /// The provenance of a set without a title: a commit of the line that pinned exactly these digests
    /// together. Images with `pins: 0` in the current configuration are ignored.
    pub(crate) fn provenance_of(&self, digests: &Digests) -> Provenance {
        let is_same = |set: usize| self.is_whole(set) && self.agrees(set, digests);
        for event in self.line_events().rev() {
            if is_same(event.set) {
                return Provenance::Found(self.promoted(event.position, event.set));
            }
        }
        // In a shallow clone, the set of the first commit has no event.
        for (index, set) in self.facts.line_sets() {
            if let Some(set) = set
                && is_same(set)
            {
                return Provenance::Found(self.promoted(index, set));
            }
        }
        self.not_found()
    }

    /// The revision of the set with these digests: that of the newest entry with equal digests for all
    /// common images.
    pub(crate) fn revision_of(&self, digests: &Digests) -> Option<&Revision> {
        for event in self.line_events().rev() {
            let set = &self.facts.sets[event.set];
            let Some(revision) = &event.revision else {
                continue;
            };
            if set.is_mixed() {
                continue;
            }
            let mut has_common = false;
            let mut has_different = false;
            for (name, digest) in &set.digests(&self.config) {
                if let Some(other) = digests.get(name) {
                    has_common = true;
                    has_different |= digest != other;
                }
            }
            if has_common && !has_different {
                return Some(revision);
            }
        }
        None
    }

    fn agrees(&self, set: usize, digests: &Digests) -> bool {
        self.facts.sets[set]
            .digests(&self.config)
            .iter()
            .all(|(name, digest)| digests.get(name) == Some(digest))
    }

    fn not_found(&self) -> Provenance {
        if self.shallow {
            Provenance::Shallow
        } else {
            Provenance::Never
        }
    }

    fn promoted(&self, index: usize, set: usize) -> Promoted {
        let commit = self.facts.line_commit(index);
        let first = self.events.first[set].unwrap_or(index);
        Promoted {
            commit: commit.id,
            date: commit.info.date(),
            images: self.facts.sets[set].digests(&self.config),
            contracts: self.facts.line_commit(first).id,
            former_path: self.facts.former_path(first),
            introduced: Arc::clone(self.introduced.get_or_init(|| self.introduced().into())),
        }
    }

    fn introduced(&self) -> Introduced {
        let mut introduced = Introduced::new();
        let first = self.events.first.iter().enumerate();
        let oldest_first: BTreeMap<_, _> = first
            .filter_map(|(set, index)| Some(((*index)?, set)))
            .collect();
        for (index, set) in oldest_first {
            for (name, digest) in self.facts.sets[set].digests(&self.config) {
                let commit = self.facts.line_commit(index).id;
                let commits = introduced.entry(name).or_default();
                commits.entry(digest).or_insert(commit);
            }
        }
        introduced
    }

    fn gaps(&self, index: usize) -> Vec<Gap> {
        if let Content::Unknown(unknown, _) = &self.facts.line_commit(index).content {
            return vec![Gap::Unreadable(unknown.reason.to_string())];
        }
        let Some(set) = self.facts.line_point(index).set else {
            return Vec::new();
        };
        let mut gaps = Vec::new();
        let digests = self.facts.sets[set].0.iter();
        for (image, digests) in self.config.images.iter().zip(digests) {
            if image.pins == 0 {
                continue;
            }
            match digests.len() {
                0 => gaps.push(Gap::NotPinned(image.name.clone())),
                1 => {}
                _ => gaps.push(Gap::Mixed(image.name.clone(), digests.clone())),
            }
        }
        gaps
    }
}
