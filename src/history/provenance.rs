//! Questions about one set: was it promoted, and was it undone?

use super::{Digests, Entry, History, line::Event, walk::Content};
use crate::{
    git::ObjectId,
    oci::{Digest, Revision},
};

/// The evidence that makes a set available for rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoted {
    /// The latest commit of the line that promoted it, or went back to it.
    pub commit: ObjectId,
    /// When that was committed (ISO 8601).
    pub date: String,
    /// The digest of every image that must be pinned.
    pub images: Digests,
    /// The commit that first brought this set into place: its tree holds the contracts that the set
    /// was promoted under, where `commit` may be a rollback among the contracts of the set that it
    /// undid. [`super::commit_config`] and [`crate::git::Git::file`] read them.
    pub contracts: ObjectId,
}

/// What history knows about a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// It was promoted.
    Found(Promoted),
    /// `require: [content]`: only the digests that the revision's tags now resolve to can identify
    /// the set; call [`History::provenance_of`] with them.
    ByContent,
    /// No commit of the line promoted this revision, or pinned these digests.
    Never,
    /// The revision was promoted, but its set lacks a currently configured image.
    Lacks {
        /// The latest commit that claims it.
        commit: ObjectId,
        /// The obstacles.
        gaps: Vec<Gap>,
    },
    /// The clone is too shallow to determine it.
    Shallow,
}

/// Why a commit's content is not available for rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// A configured image that was not pinned then.
    NotPinned(String),
    /// An image whose pins disagreed.
    Mixed(String, Vec<Digest>),
    /// The commit's own configuration cannot be read, for this reason.
    Unreadable(String),
}

/// Whether a set is held after a rollback.
#[derive(Debug, Clone, Copy)]
pub enum Hold<'h> {
    /// Nothing does.
    Free,
    /// The set was undone.
    Held {
        /// The rollback that undid it.
        rollback: &'h Entry,
        /// The set that was undone, as it last became current; `None` if that was before the start
        /// of the clone.
        undone: Option<&'h Entry>,
    },
    /// None is known, but the clone is too shallow to know all.
    Shallow,
}

/// A set that a rollback undid, and that promote refuses for that reason.
#[derive(Debug, Clone, Copy)]
pub struct HeldSet<'h> {
    /// The revision that it was promoted as, if history knows it; a set may have several.
    pub revision: Option<&'h Revision>,
    /// The rollback that undid it.
    pub rollback: &'h Entry,
    /// The set as it last became current; `None` if that was before the start of the clone.
    pub undone: Option<&'h Entry>,
}

impl History {
    /// Every set that is held: those of the latest rollback first, newer ones first.
    pub fn holds(&self) -> Vec<HeldSet<'_>> {
        let mut held: Vec<_> = self.events.held.iter().collect();
        held.sort_by_key(|(set, by)| std::cmp::Reverse((**by, self.undone(**set, **by))));
        let mut holds = Vec::new();
        for (set, by) in held {
            let of_revision = |revision| HeldSet {
                revision,
                rollback: self.entry_at(*by),
                undone: self.undone(*set, *by).map(|at| self.entry_at(at)),
            };
            match &self.events.revisions[*set][..] {
                [] => holds.push(of_revision(None)),
                revisions => holds.extend(revisions.iter().map(|one| of_revision(Some(one)))),
            }
        }
        holds
    }

    /// The event with which a set last became current before the event `by`.
    fn undone(&self, set: usize, by: usize) -> Option<usize> {
        let before = &self.events.all[..by];
        before.iter().rposition(|event| event.set == set)
    }

    /// Whether `revision` was promoted, and with which digests. The latest commit that claims it
    /// and pins every configured image wins.
    pub fn provenance(&self, revision: &Revision) -> Provenance {
        if !self.config.provenance.require_title {
            return if self.has_whole_set() {
                Provenance::ByContent
            } else {
                self.absent()
            };
        }
        let mut lacking = None;
        for at in self
            .claimed
            .get(revision)
            .into_iter()
            .flatten()
            .rev()
            .copied()
        {
            // What a merge whose side was cut off seems to have brought may belong to an older one.
            let sure = !self.known.doubtful.contains(&at)
                || self.known.commits[at].claims.contains(revision);
            match self.whole_set(at) {
                Some(set) if !sure || self.may_be_outdone(at, set) => return Provenance::Shallow,
                Some(set) => return Provenance::Found(self.promoted(at, set)),
                None => lacking = lacking.or(Some(at)),
            }
        }
        match lacking {
            Some(at) if !self.shallow => Provenance::Lacks {
                commit: self.known.commits[at].id,
                gaps: self.gaps(at),
            },
            _ => self.absent(),
        }
    }

    /// Whether a later commit may have promoted the same revision with another set, unseen.
    fn may_be_outdone(&self, at: usize, set: usize) -> bool {
        let later = self.known.doubtful.range(at + 1..);
        later
            .filter_map(|later| self.whole_set(*later))
            .any(|other| other != set)
    }

    /// The set of a commit of the line, if it is whole.
    fn whole_set(&self, at: usize) -> Option<usize> {
        self.known.line[at].set.filter(|set| self.is_whole(*set))
    }

    /// Whether exactly these digests were pinned together by a commit of the line: for sets without
    /// a title. Images with `pins: 0` in the current configuration do not matter.
    pub fn provenance_of(&self, digests: &Digests) -> Provenance {
        let same = |event: &&Event| self.is_whole(event.set) && self.agrees(event.set, digests);
        let event = self.events.all.iter().rev().find(same);
        // In a shallow clone, the set of the first commit was current too, whichever commit
        // introduced it.
        let first = || {
            self.known.line.iter().position(|point| {
                point
                    .set
                    .is_some_and(|set| self.is_whole(set) && self.agrees(set, digests))
            })
        };
        match event.map(|event| event.at).or_else(first) {
            Some(at) => self.known.line[at].set.map_or(Provenance::Never, |set| {
                Provenance::Found(self.promoted(at, set))
            }),
            None => self.absent(),
        }
    }

    /// Whether a rollback undid a set of this revision, and no newer set came since.
    pub fn held(&self, revision: &Revision) -> Hold<'_> {
        self.hold(|set| self.events.revisions[set].contains(revision))
    }

    /// Whether a rollback undid the set with these digests, and no newer set came since: for sets
    /// whose revision history does not know.
    pub fn held_set(&self, digests: &Digests) -> Hold<'_> {
        self.hold(|set| self.is_whole(set) && self.agrees(set, digests))
    }

    /// The revision of the set with these digests: that of the newest entry which agrees on every
    /// image that both have.
    pub fn revision_of(&self, digests: &Digests) -> Option<&Revision> {
        let agrees = |event: &&Event| {
            let set = &self.known.sets[event.set];
            let theirs = set.digests(&self.config);
            let mut common = theirs
                .iter()
                .filter_map(|(name, digest)| Some((digest, digests.get(name)?)))
                .peekable();
            !set.is_mixed()
                && common.peek().is_some()
                && common.all(|(theirs, ours)| theirs == ours)
        };
        let mut agreeing = self.events.all.iter().rev().filter(agrees);
        agreeing.find_map(|event| event.revision.as_ref())
    }

    fn hold(&self, is_it: impl Fn(usize) -> bool) -> Hold<'_> {
        let held = self.events.held.iter().filter(|(set, _)| is_it(**set));
        // A revision may have several sets: the one that was in place last counts.
        let last = |(set, by): &(&usize, &usize)| (**by, self.undone(**set, **by));
        let Some((set, by)) = held.max_by_key(last) else {
            return if self.shallow {
                Hold::Shallow
            } else {
                Hold::Free
            };
        };
        Hold::Held {
            rollback: self.entry_at(*by),
            undone: self.undone(*set, *by).map(|at| self.entry_at(at)),
        }
    }

    /// The entry of an event: entries are the events, newest first.
    fn entry_at(&self, event: usize) -> &Entry {
        let entries = self.entries();
        &entries[entries.len() - 1 - event]
    }

    fn agrees(&self, set: usize, digests: &Digests) -> bool {
        self.known.sets[set]
            .digests(&self.config)
            .iter()
            .all(|(name, digest)| digests.get(name) == Some(digest))
    }

    fn has_whole_set(&self) -> bool {
        self.known
            .line
            .iter()
            .any(|point| point.set.is_some_and(|set| self.is_whole(set)))
    }

    fn absent(&self) -> Provenance {
        if self.shallow {
            Provenance::Shallow
        } else {
            Provenance::Never
        }
    }

    fn promoted(&self, at: usize, set: usize) -> Promoted {
        let commit = &self.known.commits[at];
        let first = self.events.first[set].unwrap_or(at);
        Promoted {
            commit: commit.id,
            date: commit.said.date(),
            images: self.known.sets[set].digests(&self.config),
            contracts: self.known.commits[first].id,
        }
    }

    fn gaps(&self, at: usize) -> Vec<Gap> {
        if let Content::Unreadable(why, _) = &self.known.commits[at].content {
            return vec![Gap::Unreadable(why.why.to_string())];
        }
        let Some(set) = self.known.line[at].set else {
            return Vec::new();
        };
        let images = self
            .config
            .images
            .iter()
            .enumerate()
            .filter(|(_, image)| image.pins > 0);
        let gap = |(at, image): (usize, &crate::config::Image)| {
            let digests = &self.known.sets[set].0[at];
            match digests.len() {
                0 => Some(Gap::NotPinned(image.name.clone())),
                1 => None,
                _ => Some(Gap::Mixed(image.name.clone(), digests.clone())),
            }
        };
        images.filter_map(gap).collect()
    }
}
