//! The changes of the set along the line: promotions, rollbacks and manual changes.
//!
//! Pure: indices of sets in, events out. The documentation of the parent module contains the rules.

use std::collections::{HashMap, HashSet};

use super::{Kind, sets::Set};
use crate::oci::{Digest, Revision};

/// The set and the claims of one commit of the line.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// The index of the set; `None` if the content is unknown.
    pub(super) set: Option<usize>,
    /// The digests of images that were found in unknown content.
    pub(super) partial_pins: Vec<(usize, Digest)>,
    /// The revisions that the commit, or a commit that it merged, claims to promote.
    pub(super) claims: Vec<Revision>,
    /// Whether the title is that of a rollback, if earlier commits are unknown.
    pub(super) has_rollback_title: bool,
}

/// A change of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// The index of the commit in the line.
    pub(super) index: usize,
    pub(super) kind: Kind,
    pub(super) revision: Option<Revision>,
    pub(super) set: usize,
}

#[derive(Debug, Default)]
pub(super) struct Events {
    /// All events, oldest first.
    pub(super) all: Vec<Event>,
    /// The held sets, each with the index in `all` of the rollback that undid it.
    pub(super) held: HashMap<usize, usize>,
    /// The index in the line of the last newer set, which ended every earlier hold.
    pub(super) last_newer: Option<usize>,
    /// The revisions that each set was promoted as.
    pub(super) revisions: Vec<Vec<Revision>>,
    /// The index in the line at which each set first became current.
    pub(super) first: Vec<Option<usize>>,
}

struct Fold<'s> {
    sets: &'s [Set],
    events: Events,
    /// The sets in the order in which they became current.
    sequence: Vec<usize>,
    /// The last position of each set in `sequence`.
    last: Vec<Option<usize>>,
    /// The digests that each image had when all of its pins agreed, or in unknown content.
    digests: Vec<HashSet<Digest>>,
}

/// Finds the events of the line, oldest commit first. `is_truncated`: earlier commits are unknown.
pub(super) fn events(line: &[Point], sets: &[Set], is_truncated: bool) -> Events {
    let images = sets.first().map_or(0, |set| set.0.len());
    let mut fold = Fold {
        sets,
        events: Events {
            revisions: vec![Vec::new(); sets.len()],
            first: vec![None; sets.len()],
            ..Events::default()
        },
        sequence: Vec::new(),
        last: vec![None; sets.len()],
        digests: vec![HashSet::new(); images],
    };
    let mut is_first_unknown = is_truncated;
    for (index, point) in line.iter().enumerate() {
        let Some(set) = point.set else {
            for (image, digest) in &point.partial_pins {
                if let Some(digests) = fold.digests.get_mut(*image) {
                    digests.insert(*digest);
                }
            }
            continue;
        };
        let is_unchanged = match fold.sequence.last() {
            Some(last) => *last == set,
            None => sets[set].is_empty(),
        };
        // Whether the first readable commit of a truncated line introduced its set is unknown, unless
        // it claims the revision.
        let is_introduced = !(is_first_unknown && point.claims.is_empty());
        is_first_unknown = false;
        if is_unchanged {
            fold.record_revision(set, &point.claims);
            continue;
        }
        if is_introduced {
            fold.add_event(index, set, point);
        }
        fold.make_current(index, set);
    }
    fold.events
}

impl Fold<'_> {
    fn add_event(&mut self, index: usize, set: usize, point: &Point) {
        let (content, claims) = (&self.sets[set], &point.claims);
        // The start in `sequence` of the undone sets. A rollback to a set before the line undid the
        // whole line.
        let undone = match self.last[set] {
            _ if content.is_empty() => None,
            Some(last) => Some(last + 1),
            None => point.has_rollback_title.then_some(0),
        };
        let kind = match undone {
            Some(_) => Kind::Rollback,
            None if claims.is_empty() || content.is_empty() || content.is_mixed() => Kind::Manual,
            None => Kind::Promote,
        };
        let revisions = &mut self.events.revisions[set];
        match kind {
            Kind::Promote => revisions.extend_from_slice(claims),
            Kind::Rollback if revisions.is_empty() => revisions.extend(claims.first().cloned()),
            Kind::Rollback | Kind::Manual => {}
        }
        let revision = revisions.first().cloned();
        if let Some(start) = undone {
            let rollback = self.events.all.len();
            for undone in &self.sequence[start..] {
                if !self.sets[*undone].is_empty() {
                    self.events.held.insert(*undone, rollback);
                }
            }
            self.events.held.remove(&set);
        } else if self.is_newer(set) {
            self.events.held.clear();
            self.events.last_newer = Some(index);
        }
        self.events.all.push(Event {
            index,
            kind,
            revision,
            set,
        });
    }

    /// Records the revision of a set that a commit claims without changing it, as the adoption of
    /// repin does. A known revision is not replaced, and multiple claims are ambiguous.
    fn record_revision(&mut self, set: usize, claims: &[Revision]) {
        let content = &self.sets[set];
        let [revision] = claims else { return };
        if content.is_empty() || content.is_mixed() {
            return;
        }
        let revisions = &mut self.events.revisions[set];
        if !revisions.is_empty() {
            return;
        }
        revisions.push(revision.clone());
        // The last event made this set current, unless the start of the set is unknown.
        if let Some(last) = self.events.all.last_mut() {
            last.revision = Some(revision.clone());
        }
    }

    /// Whether the set moves an image that was pinned before to a digest that it never had. A set
    /// that only adds or removes images, or mixes older digests, is not newer.
    fn is_newer(&self, set: usize) -> bool {
        let mut images = self.digests.iter().enumerate();
        images.any(|(image, digests)| {
            let digest = self.sets[set].digest(image);
            !digests.is_empty() && digest.is_some_and(|digest| !digests.contains(&digest))
        })
    }

    fn make_current(&mut self, index: usize, set: usize) {
        self.last[set] = Some(self.sequence.len());
        self.sequence.push(set);
        self.events.first[set].get_or_insert(index);
        for (image, digests) in self.digests.iter_mut().enumerate() {
            digests.extend(self.sets[set].digest(image));
        }
    }
}

#[cfg(test)]
mod tests;
