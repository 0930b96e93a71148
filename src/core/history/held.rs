//! Questions about holds: whether digests are held, and which sets are.
//!
//! A hold belongs to a digest, under whatever name it is pinned. It counts fully in the set in which the
//! rollback happened, and everywhere if that set or the image in it no longer exists under its name: it may
//! have been moved, renamed or split. While both exist, other sets are only warned.

use std::collections::{HashMap, HashSet};

use super::{Digests, History, holds::is_released};
use crate::{
    config::SetPath,
    git::ObjectId,
    oci::{Digest, Revision},
};

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

    /// The hold of the latest set that a commit records for a revision; without one, of no digest.
    pub(crate) fn recorded_hold(&self, revision: &Revision) -> Hold {
        let claiming = self.claimed.get(revision).into_iter().flatten().rev();
        let mut sets = claiming.filter_map(|position| self.facts.line_point(*position).set);
        let digests = sets
            .next()
            .map(|set| self.facts.sets[set].digests(&self.config));
        self.hold(&digests.unwrap_or_default(), &Digests::new())
    }

    /// The hold of the digests that the files of a head pin, in place of those of this branch. `head`: the
    /// history of the head.
    pub(crate) fn hold_of_head(&self, head: &Self, digests: &Digests) -> Hold {
        let mut hold = self.hold(digests, digests);
        hold.is_shallow |= head.shallow;
        for image in std::mem::take(&mut hold.held) {
            if head.is_released(&image.hold) {
                hold.released.push(image);
            } else {
                hold.held.push(image);
            }
        }
        // The head may have removed the set or the image in which a digest was undone.
        for image in std::mem::take(&mut hold.held_elsewhere) {
            match head.held_digest(&image.hold.digest) {
                Some(known) if !known.is_elsewhere => hold.held.push(HeldImage {
                    hold: known.clone(),
                    ..image
                }),
                Some(_) | None => hold.held_elsewhere.push(image),
            }
        }
        hold
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

    /// The digests of the current set of the branch.
    fn current_digests(&self) -> Option<Digests> {
        let set = self.facts.current_set()?;
        Some(self.facts.sets[set].digests(&self.config))
    }

    /// The hold of a digest: that which counts here, the latest first.
    fn held_digest(&self, digest: &Digest) -> Option<&HeldDigest> {
        let held = self.held_by_digest.get(digest)?;
        let mut held = held.iter().map(|index| &self.held[*index]);
        let first = held.next()?;
        Some(if first.is_elsewhere {
            held.find(|held| !held.is_elsewhere).unwrap_or(first)
        } else {
            first
        })
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
