//! What happened along the line: which commits brought a set, and whether by a promote, a rollback
//! or by hand.
//!
//! Pure: sets by number in, events out. The rules are those in the documentation of the module
//! above.

use std::collections::{HashMap, HashSet};

use super::{Kind, sets::Set};
use crate::oci::{Digest, Revision};

/// One commit of the line, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// The number of its set; `None` if its content cannot be read.
    pub(super) set: Option<usize>,
    /// If its content cannot be read: the digests of images that were found in it anyway.
    pub(super) glimpsed: Vec<(usize, Digest)>,
    /// The revisions that it, or what it merged, claims to promote.
    pub(super) claims: Vec<Revision>,
    /// Whether its title says that it is a rollback, where what came before the line is not known.
    pub(super) returns: bool,
}

/// A change of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// The place of the commit in the line.
    pub(super) at: usize,
    pub(super) kind: Kind,
    pub(super) revision: Option<Revision>,
    pub(super) set: usize,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Oldest first.
    pub(super) all: Vec<Event>,
    /// The sets that are held, each with the place in `all` of the rollback that undid it.
    pub(super) held: HashMap<usize, usize>,
    /// The place in the line of the last newer set: what came before it holds nothing any more.
    pub(super) newest: Option<usize>,
    /// The revisions that each set was promoted as.
    pub(super) revisions: Vec<Vec<Revision>>,
    /// The position in the line at which each set first became current.
    pub(super) first: Vec<Option<usize>>,
}

struct Fold<'s> {
    sets: &'s [Set],
    events: Events,
    /// The sets in the order in which they became current.
    came: Vec<usize>,
    /// The last position of each set in `came`.
    last: Vec<Option<usize>>,
    /// The digests that each image had, when all of its pins agreed, or in a commit whose content
    /// cannot be read.
    digests: Vec<HashSet<Digest>>,
}

/// Goes along the line, oldest commit first. `cut`: what came before it is not known.
pub(super) fn events(line: &[Point], sets: &[Set], cut: bool) -> Events {
    let images = sets.first().map_or(0, |set| set.0.len());
    let digests = vec![HashSet::new(); images];
    let mut fold = Fold {
        sets,
        events: Events {
            revisions: vec![Vec::new(); sets.len()],
            first: vec![None; sets.len()],
            ..Events::default()
        },
        came: Vec::new(),
        last: vec![None; sets.len()],
        digests,
    };
    let mut unknown = cut;
    for (at, point) in line.iter().enumerate() {
        let Some(set) = point.set else {
            for (image, digest) in &point.glimpsed {
                if let Some(had) = fold.digests.get_mut(*image) {
                    had.insert(*digest);
                }
            }
            continue;
        };
        let was_unknown = std::mem::take(&mut unknown);
        let unchanged = match fold.came.last() {
            Some(last) => *last == set,
            None => sets[set].is_empty(),
        };
        if unchanged {
            fold.recorded(set, &point.claims);
            continue;
        }
        // Whether the first known commit introduced its set is unknown, unless its message records
        // it.
        if !(was_unknown && point.claims.is_empty()) {
            fold.event(at, set, point);
        }
        fold.in_place(at, set);
    }
    fold.events
}

impl Fold<'_> {
    fn event(&mut self, at: usize, set: usize, point: &Point) {
        let (content, claims) = (&self.sets[set], &point.claims);
        let before = self.last[set].map(|before| before + 1);
        // A set that was current before the line undid all of the line.
        let undone = before.or(point.returns.then_some(0));
        let undone = undone.filter(|_| !content.is_empty());
        let kind = match undone {
            Some(_) => Kind::Rollback,
            None if claims.is_empty() || content.is_empty() || content.is_mixed() => Kind::Manual,
            None => Kind::Promote,
        };
        let known = &mut self.events.revisions[set];
        match kind {
            Kind::Promote => known.extend_from_slice(claims),
            Kind::Rollback if known.is_empty() => known.extend(claims.first().cloned()),
            Kind::Rollback | Kind::Manual => {}
        }
        let revision = known.first().cloned();
        match undone {
            Some(first) => {
                let by = self.events.all.len();
                let undone = self.came[first..]
                    .iter()
                    .filter(|undone| !self.sets[**undone].is_empty());
                self.events.held.extend(undone.map(|undone| (*undone, by)));
                self.events.held.remove(&set);
            }
            None if self.is_newer(set) => {
                self.events.held.clear();
                self.events.newest = Some(at);
            }
            None => {}
        }
        self.events.all.push(Event {
            at,
            kind,
            revision,
            set,
        });
    }

    /// A commit that leaves the set as it is and records its revision, as the adoption of repin does.
    /// It counts once: a set whose revision is known keeps it, and several claims name none.
    fn recorded(&mut self, set: usize, claims: &[Revision]) {
        let content = &self.sets[set];
        let [revision] = claims else { return };
        if content.is_empty() || content.is_mixed() {
            return;
        }
        let known = &mut self.events.revisions[set];
        if !known.is_empty() {
            return;
        }
        known.push(revision.clone());
        // The last event is the one that made this set current, if its beginning is known.
        if let Some(last) = self.events.all.last_mut() {
            last.revision = Some(revision.clone());
        }
    }

    /// Whether the set moves an image that was pinned before to a digest that it never had: a set
    /// that only adds or drops images, or mixes what was there, is no newer one.
    fn is_newer(&self, set: usize) -> bool {
        let had = self.digests.iter().enumerate();
        had.filter(|(_, had)| !had.is_empty()).any(|(image, had)| {
            self.sets[set]
                .digest(image)
                .is_some_and(|digest| !had.contains(&digest))
        })
    }

    fn in_place(&mut self, at: usize, set: usize) {
        self.last[set] = Some(self.came.len());
        self.came.push(set);
        self.events.first[set].get_or_insert(at);
        for (image, had) in self.digests.iter_mut().enumerate() {
            had.extend(self.sets[set].digest(image));
        }
    }
}

#[cfg(test)]
mod tests;
