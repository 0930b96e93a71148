//! The holds of a set: the digests that its commits undid.
//!
//! Pure: the digests of each image at each commit in, undone digests out. The questions about holds are in
//! [`super::held`].
//!
//! A commit undoes digests if it changes a pinned file and returns an image to a digest that the image had
//! before: those that the image had since. A merge of the line also undoes the newer digests of another
//! parent, if it keeps the older digest. Neither the title nor the names of the image matter. A commit with
//! the trailer `Repin-Override` undoes nothing. Before the first commit that records the set, a change is
//! neither a promotion nor a rollback.
//!
//! A hold ends with a later commit that pins the digest on purpose: with the trailer `Repin-Override`, or
//! recorded as a rollback.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use super::{
    graph::{Fold, Graph},
    point::{Point, first_record},
    sets::Set,
    walk::ConfigState,
};
use crate::oci::Digest;

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

/// Digests that an image had.
#[derive(Debug, Clone)]
struct State {
    digests: Vec<Digest>,
    /// Whether all pins of the image were read, and agreed.
    is_agreed: bool,
    commit: usize,
}

/// A change of the fold by a merged commit, with the old value.
enum Change {
    State(usize),
    Slot(usize),
}

struct HoldFold<'a> {
    graph: &'a Graph,
    points: &'a [Point],
    /// The merges of the line, by their parents except the first.
    merges: HashMap<usize, Vec<usize>>,
    /// The digests of each slot, in the order in which they became current.
    slots: Vec<Vec<State>>,
    /// The position in the line of the first commit that records the set.
    recorded: Option<usize>,
    changes: Vec<Change>,
    holds: SetHolds,
}

/// Finds the undone digests. `start`: the position in the line of the first commit of the set.
/// `is_truncated`: whether the past before it is unknown.
pub(super) fn find_holds(
    graph: &Graph,
    points: &[Point],
    start: usize,
    is_truncated: bool,
) -> SetHolds {
    let mut merges: HashMap<usize, Vec<usize>> = HashMap::new();
    for merge in &graph.line {
        for parent in graph.other_parents(*merge) {
            merges.entry(*parent).or_default().push(*merge);
        }
    }
    let mut fold = HoldFold {
        graph,
        points,
        merges,
        slots: Vec::new(),
        recorded: first_record(graph, points, is_truncated),
        changes: Vec::new(),
        holds: SetHolds::default(),
    };
    graph.fold(start, &mut fold);
    fold.holds
}

impl Fold for HoldFold<'_> {
    fn visit(&mut self, commit: usize) {
        let points = self.points;
        let point = &points[commit];
        // After the removal of the configuration, its files may belong to another set.
        if point.config == ConfigState::Removed {
            return;
        }
        let Some(pinned) = &point.slots else {
            for (slot, digest) in &point.partial_pins {
                self.push(*slot, vec![*digest], false, commit);
            }
            return;
        };
        let is_evidence = self.is_recorded(commit) && point.has_changed_files;
        self.continue_vanished(pinned);
        let mut returned = Vec::new();
        for (slot, digests) in pinned.0.iter().enumerate() {
            let last = self.slots.get(slot).and_then(|states| states.last());
            let is_agreed = digests.len() == 1;
            let is_same =
                last.is_some_and(|last| last.is_agreed == is_agreed && last.digests == *digests);
            if digests.is_empty() || is_same {
                continue;
            }
            if self.had(slot, digests) {
                returned.extend_from_slice(digests);
            }
            if is_evidence && !point.is_override() {
                self.undo_since(slot, pinned, commit, &|_| true);
            }
            self.push(slot, digests.clone(), is_agreed, commit);
        }
        let digests = if point.claims.is_override {
            pinned.0.iter().flatten().copied().collect()
        } else if point.claims.is_rollback && self.is_recorded_before(commit) {
            returned
        } else {
            Vec::new()
        };
        if !digests.is_empty() {
            self.holds.releases.push(Release { digests, commit });
        }
        for merge in self.merges.get(&commit).cloned().unwrap_or_default() {
            self.compare_with_merge(merge);
        }
    }

    fn changes(&self) -> usize {
        self.changes.len()
    }

    fn undo(&mut self, changes: usize) {
        for change in self.changes.drain(changes..).rev() {
            match change {
                Change::State(slot) => {
                    self.slots[slot].pop();
                }
                Change::Slot(slot) => self.slots[slot].clear(),
            }
        }
    }
}

impl HoldFold<'_> {
    /// Whether this commit or one before records the set.
    fn is_recorded(&self, commit: usize) -> bool {
        self.recorded
            .is_some_and(|recorded| self.graph.positions[commit] >= recorded)
    }

    /// Whether a commit before this one records the set.
    fn is_recorded_before(&self, commit: usize) -> bool {
        self.recorded
            .is_some_and(|recorded| self.graph.positions[commit] > recorded)
    }

    /// Whether a slot had these digests before.
    fn had(&self, slot: usize, digests: &[Digest]) -> bool {
        let mut states = self.slots.get(slot).into_iter().flatten();
        states.any(|state| state.digests == digests)
    }

    /// Continues the digests of an image that has another name and repository, if the old image is gone.
    fn continue_vanished(&mut self, pinned: &Set) {
        for (slot, digests) in pinned.0.iter().enumerate() {
            let is_new = self.slots.get(slot).is_none_or(Vec::is_empty);
            let [digest] = digests.as_slice() else {
                continue;
            };
            if !is_new {
                continue;
            }
            let vanished = self.slots.iter().enumerate().find(|(other, states)| {
                let is_pinned = (pinned.0.get(*other)).is_some_and(|other| !other.is_empty());
                !is_pinned && states.iter().any(|state| state.digests.contains(digest))
            });
            if let Some((_, states)) = vanished {
                let states = states.clone();
                self.grow(slot);
                self.slots[slot] = states;
                self.changes.push(Change::Slot(slot));
            }
        }
    }

    /// Records the digests that a slot had since it last had the pinned one, if it had that before.
    /// `counts`: whether the state of a commit counts.
    fn undo_since(
        &mut self,
        slot: usize,
        pinned: &Set,
        commit: usize,
        counts: &dyn Fn(usize) -> bool,
    ) {
        let Some(digests) = pinned.0.get(slot).filter(|digests| digests.len() == 1) else {
            return;
        };
        let states = self.slots.get(slot).map_or(&[][..], Vec::as_slice);
        let is_pinned = |state: &State| state.is_agreed && state.digests == *digests;
        let start = match states.iter().rposition(is_pinned) {
            Some(last) => last + 1,
            // A rollback to a set before the known commits.
            None if self.points[commit].has_rollback_title => 0,
            None => return,
        };
        let images = &self.points[commit].images;
        let image = images.get(&slot).map(|image| image.name.clone());
        let image = image.unwrap_or_default();
        for state in states[start..].iter().filter(|state| counts(state.commit)) {
            for digest in &state.digests {
                if !pinned.0.iter().flatten().any(|other| other == digest) {
                    self.holds.undone.push(UndoneDigest {
                        digest: *digest,
                        image: image.clone(),
                        commit,
                    });
                }
            }
        }
    }

    /// Records the digests that only the visited parent of a merge had, if the merge keeps older ones.
    fn compare_with_merge(&mut self, merge: usize) {
        let points = self.points;
        let point = &points[merge];
        let Some(pinned) = &point.slots else {
            return;
        };
        if !self.is_recorded(merge) || point.is_override() || point.config == ConfigState::Removed {
            return;
        }
        let graph = self.graph;
        let position = graph.positions[merge];
        let is_merged =
            |commit: usize| graph.positions[commit] == position && !graph.is_on_line(commit);
        for slot in 0..self.slots.len() {
            self.undo_since(slot, pinned, merge, &is_merged);
        }
    }

    fn push(&mut self, slot: usize, digests: Vec<Digest>, is_agreed: bool, commit: usize) {
        self.grow(slot);
        self.slots[slot].push(State {
            digests,
            is_agreed,
            commit,
        });
        self.changes.push(Change::State(slot));
    }

    fn grow(&mut self, slot: usize) {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, Vec::new());
        }
    }
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
        let mut seen = HashSet::new();
        held.retain(|undone| seen.insert((undone.digest, &undone.image)));
        held
    }
}

#[cfg(test)]
mod tests;
