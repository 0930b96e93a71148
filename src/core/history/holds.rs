//! The holds of a set: the digests that its commits undid.
//!
//! They are found by a pure function: the digests of each image at each commit in, undone digests out.
//!
//! A commit undoes digests if it changes a pinned file and returns an image to a digest that the image had
//! before: those that the image had since. A merge also undoes the newer digests of another parent, if it
//! keeps the older digest. Neither the title nor the names of the image matter. A commit with
//! the trailer `Repin-Override` undoes nothing. Before the first commit that records the set, a change is
//! neither a promotion nor a rollback.
//!
//! A hold ends with a later commit that pins the digest on purpose: with the trailer `Repin-Override`, or
//! recorded as a rollback to its revision.
//!
//! [`History`] answers the questions: whether digests are held, and which sets are.
//!
//! A hold belongs to a digest, under whatever name it is pinned. It counts fully in the set in which the
//! rollback happened, and everywhere if that set or the image in it no longer exists under its name: it may
//! have been moved, renamed or split. While both exist, other sets are only warned.

mod fold;
mod head;

pub(super) use fold::find_holds;

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use super::{Digests, History, changes::Unreadable, graph::Graph};
use crate::{
    config::SetPath,
    git::ObjectId,
    oci::{Digest, Revision},
};

/// A digest that a commit undid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UndoneDigest {
    pub(super) digest: Digest,
    /// The name of the image in the configuration of the commit.
    pub(super) image: String,
    pub(super) commit: usize,
}

/// A commit that pins digests on purpose, although they may be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) digests: Vec<Digest>,
    pub(super) commit: usize,
}

/// The undone digests of a set, and the commits that end holds.
#[derive(Debug, Default)]
pub(super) struct SetHolds {
    pub(super) undone: Vec<UndoneDigest>,
    pub(super) releases: Vec<Release>,
}

/// Whether a commit pins a digest on purpose after the commit that undid it.
pub(super) fn is_released(
    releases: &[Release],
    graph: &Graph,
    digest: Digest,
    undone_by: usize,
) -> bool {
    let mut releases = releases.iter();
    releases.any(|release| {
        release.digests.contains(&digest) && graph.is_ancestor(undone_by, release.commit)
    })
}

impl SetHolds {
    /// The digests that are held at the tip, those of the latest commit first.
    pub(super) fn held(&self, graph: &Graph) -> Vec<&UndoneDigest> {
        let mut held = Vec::new();
        for undone in &self.undone {
            if !is_released(&self.releases, graph, undone.digest, undone.commit) {
                held.push(undone);
            }
        }
        held.sort_by_key(|undone| {
            let is_on_line = graph.is_on_line(undone.commit);
            Reverse((graph.positions[undone.commit], is_on_line))
        });
        held
    }
}

/// A digest that a commit undid, and that no later commit pins on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldDigest {
    pub digest: Digest,
    /// The set in which the commit undid the digest.
    pub set: SetPath,
    /// The name of the image in that set.
    pub image: String,
    pub commit: ObjectId,
    /// The committer date (ISO 8601).
    pub date: String,
    /// Whether the set and the image still exist in the branch, and another set asks.
    pub is_elsewhere: bool,
    /// Whether a merge brought the commit in with a history of its own: its set is not the one that now has its path.
    pub is_imported: bool,
    /// The position of the commit in the line, or that of the merge that brought it in; the largest number for a commit that
    /// only another branch contains.
    pub position: usize,
}

/// An image whose digest is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldImage {
    pub name: String,
    pub hold: HeldDigest,
}

/// The hold of a set of digests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold {
    /// The images whose digests are held, and that would change.
    pub held: Vec<HeldImage>,
    /// The images that would change to digests that another set undid.
    pub held_elsewhere: Vec<HeldImage>,
    /// The images that are pinned to held digests already.
    pub pinned: Vec<HeldImage>,
    /// The images whose holds the commits of the head end.
    pub released: Vec<HeldImage>,
    /// The number of the other images that would change.
    pub free: usize,
    /// Whether the clone is too shallow to know all holds.
    pub is_shallow: bool,
    /// A commit with unknown content that may have undone the digests.
    pub blind_spot: Option<Box<Unreadable>>,
}

impl Hold {
    /// Whether every image that would change has a held digest.
    pub(crate) fn is_held(&self) -> bool {
        let others = self.free + self.held_elsewhere.len() + self.released.len();
        !self.held.is_empty() && others == 0
    }

    /// The latest commit that undid one of the digests.
    pub(crate) fn latest(&self) -> Option<&HeldDigest> {
        let groups = [
            &self.held,
            &self.pinned,
            &self.held_elsewhere,
            &self.released,
        ];
        groups.into_iter().flatten().map(|image| &image.hold).next()
    }
}

/// A set that is held.
#[derive(Debug, Clone)]
pub(crate) struct HeldSet<'h> {
    /// A revision that the set was promoted as, if it is known.
    pub revision: Option<&'h Revision>,
    /// The digests of the set.
    pub images: Digests,
    /// The latest commit that undid it.
    pub hold: HeldDigest,
}

impl History {
    /// The hold of a set with these digests. `pinned`: the digests that the files pin. Only images that
    /// differ from them or from the current set of the branch would change.
    pub(crate) fn hold(&self, digests: &Digests, pinned: &Digests) -> Hold {
        let current = self.current_digests();
        let mut hold = Hold {
            is_shallow: self.shallow,
            blind_spot: self.blind_spot().cloned().map(Box::new),
            ..Hold::default()
        };
        for (name, digest) in digests {
            let is_changed = [Some(pinned), current.as_ref()]
                .into_iter()
                .flatten()
                .any(|known| known.get(name) != Some(digest));
            let image = self.held_digest(digest).map(|hold| HeldImage {
                name: name.clone(),
                hold: hold.clone(),
            });
            match image {
                Some(image) if !is_changed => hold.pinned.push(image),
                Some(image) if image.hold.is_elsewhere => hold.held_elsewhere.push(image),
                Some(image) => hold.held.push(image),
                None => hold.free += usize::from(is_changed),
            }
        }
        hold
    }

    /// The hold of the latest set that a commit records for a revision; without one, of no digest. `pinned`: as in [`Self::hold`].
    pub(crate) fn recorded_hold(&self, revision: &Revision, pinned: &Digests) -> Hold {
        let claiming = self.claimed.get(revision).into_iter().flatten().rev();
        let mut sets = claiming.filter_map(|position| self.facts.line_point(*position).set);
        let digests = sets
            .next()
            .map(|set| self.facts.sets[set].digests(&self.config));
        self.hold(&digests.unwrap_or_default(), pinned)
    }

    /// The hold of a build that no job may promote: its promotion would be refused, or a rollback undid its set as it was. An
    /// image that was added since then does not release the others.
    pub(crate) fn hold_for_jobs(
        &self,
        revision: Option<&Revision>,
        digests: &Digests,
        pinned: &Digests,
    ) -> Option<HeldDigest> {
        let recorded = revision.map(|revision| self.recorded_hold(revision, pinned));
        let mut holds = [self.hold(digests, pinned)].into_iter().chain(recorded);
        holds.find(Hold::is_held)?.latest().cloned()
    }

    /// Adds the holds by commits that only another branch contains. Digests that this branch holds or released are left
    /// out: the other one may have merged the same rollback.
    pub(crate) fn add_holds(&mut self, other: &Self) {
        let is_known = |digest: &Digest| {
            let mut releases = self.releases.iter();
            self.held_by_digest.contains_key(digest)
                || releases.any(|release| release.digests.contains(digest))
        };
        let held = other.held.iter();
        let added = held.filter(|held| !self.contains(&held.commit) && !is_known(&held.digest));
        let added = added.cloned().map(|held| HeldDigest {
            position: usize::MAX,
            ..held
        });
        let added: Vec<_> = added.collect();
        self.held.splice(..0, added);
        self.held_by_digest = by_digest(&self.held);
    }

    /// Whether a commit of this set pins a held digest on purpose, after the commit that undid it.
    pub(super) fn is_released(&self, held: &HeldDigest) -> bool {
        let mut commits = self.facts.commits.iter();
        let commit = commits.position(|commit| commit.id == held.commit);
        commit.is_some_and(|commit| {
            is_released(&self.releases, &self.facts.graph, held.digest, commit)
        })
    }

    /// The hold of a set of the branch in lists: if each digest that differs from those of the current set is
    /// held, or each one of the current set itself.
    pub(crate) fn hold_in_list(&self, digests: &Digests) -> Option<HeldDigest> {
        let current = self.current_digests().unwrap_or_default();
        let mut hold = self.hold(digests, &current);
        if hold.is_held() {
            return hold.held.into_iter().next().map(|image| image.hold);
        }
        hold.pinned.retain(|image| !image.hold.is_elsewhere);
        if hold.pinned.len() != digests.len() {
            return None;
        }
        hold.pinned.into_iter().next().map(|image| image.hold)
    }

    /// The last commit that undid an image of a set; `None` if each of its images was undone, because a rollback of the
    /// whole set is an event.
    pub(super) fn undone_part(&self, digests: &Digests) -> Option<&UndoneDigest> {
        let is_undone = |digest: &Digest| self.undone.iter().any(|undone| undone.digest == *digest);
        if digests.values().all(is_undone) {
            return None;
        }
        let undone = self.undone.iter();
        let undone = undone.filter(|undone| digests.values().any(|one| *one == undone.digest));
        undone.max_by_key(|undone| self.facts.graph.positions[undone.commit])
    }

    /// The digests of the current set of the branch.
    pub(super) fn current_digests(&self) -> Option<Digests> {
        let set = self.facts.current_set()?;
        Some(self.facts.sets[set].digests(&self.config))
    }

    /// The hold of a digest: that which counts here, the latest first.
    fn held_digest(&self, digest: &Digest) -> Option<&HeldDigest> {
        let here = self.holds_of(digest).find(|held| !held.is_elsewhere);
        here.or_else(|| self.holds_of(digest).next())
    }

    /// Every hold of a digest, those of the latest commit of each set first.
    pub(super) fn holds_of(&self, digest: &Digest) -> impl Iterator<Item = &HeldDigest> {
        let held = self.held_by_digest.get(digest).into_iter().flatten();
        held.map(|index| &self.held[*index])
    }

    /// Every held set, those of the latest commits first. A set has an item for each of its revisions.
    pub(crate) fn held_sets(&self) -> Vec<HeldSet<'_>> {
        let mut sets = Vec::new();
        let mut seen = HashSet::new();
        for event in self.events.all.iter().rev() {
            let digests = self.facts.sets[event.set].digests(&self.config);
            if digests.is_empty() || !seen.insert(event.set) {
                continue;
            }
            let Some(hold) = self.hold_in_list(&digests) else {
                continue;
            };
            let set = HeldSet {
                revision: None,
                images: digests,
                hold,
            };
            let revisions = &self.events.revisions[event.set];
            if revisions.is_empty() {
                sets.push(set.clone());
            }
            for revision in revisions {
                sets.push(HeldSet {
                    revision: Some(revision),
                    ..set.clone()
                });
            }
        }
        let order: HashMap<_, _> = (self.held.iter().enumerate())
            .map(|(order, held)| ((held.commit, held.digest), order))
            .collect();
        sets.sort_by_key(|set| order.get(&(set.hold.commit, set.hold.digest)).copied());
        sets
    }
}

/// The numbers of the holds of each digest.
pub(super) fn by_digest(held: &[HeldDigest]) -> HashMap<Digest, Vec<usize>> {
    let mut numbers: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (number, held) in held.iter().enumerate() {
        numbers.entry(held.digest).or_default().push(number);
    }
    numbers
}

#[cfg(test)]
mod tests;
