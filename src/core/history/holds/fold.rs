//! The fold over the commits of a set that finds its holds.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::{Release, SetHolds, UndoneDigest};
use crate::{
    core::history::{
        graph::{Fold, Graph},
        provenance::{Point, first_record},
        pulls,
        sets::Set,
        walk::ConfigState,
    },
    oci::Digest,
};

/// Digests that an image had.
#[derive(Debug, Clone)]
struct State {
    digests: Vec<Digest>,
    /// Whether the configuration of the commit was read.
    is_read: bool,
    commit: usize,
}

/// A change of the fold by a merged commit, with the old value.
enum HoldUndo {
    State(usize),
    Slot(usize, Vec<State>),
}

struct HoldFold<'a> {
    graph: &'a Graph,
    points: &'a [Point],
    /// The merges, by their parents except the first.
    merges: HashMap<usize, Vec<usize>>,
    /// The digests of each slot, in the order in which they became current.
    slots: Vec<Vec<State>>,
    /// The position in the line of the first commit that records the set.
    recorded: Option<usize>,
    changes: Vec<HoldUndo>,
    holds: SetHolds,
}

/// Finds the undone digests. `start`: the position in the line of the first commit of the set.
/// `is_truncated`: whether the past before it is unknown.
pub(in crate::core::history) fn find_holds(
    graph: &Graph,
    points: &[Point],
    start: usize,
    is_truncated: bool,
) -> SetHolds {
    let mut merges: HashMap<usize, Vec<usize>> = HashMap::new();
    for merge in 0..points.len() {
        for parent in graph.other_parents(merge) {
            merges.entry(*parent).or_default().push(merge);
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
        let point = &self.points[commit];
        // After the removal of the configuration, its files may belong to another set.
        if point.config != ConfigState::Removed {
            match &point.slots {
                Some(pinned) => self.visit_pins(commit, pinned),
                None => self.visit_partial_pins(commit),
            }
        }
        for merge in self.merges.get(&commit).cloned().unwrap_or_default() {
            self.compare_with_merge(merge, commit);
        }
    }

    fn changes(&self) -> usize {
        self.changes.len()
    }

    fn undo(&mut self, changes: usize) {
        for change in self.changes.drain(changes..).rev() {
            match change {
                HoldUndo::State(slot) => {
                    self.slots[slot].pop();
                }
                HoldUndo::Slot(slot, states) => self.slots[slot] = states,
            }
        }
    }
}

impl HoldFold<'_> {
    /// A commit whose configuration was not read: every digest that it pins counts as used before.
    fn visit_partial_pins(&mut self, commit: usize) {
        let mut slots: BTreeMap<usize, BTreeSet<Digest>> = BTreeMap::new();
        for (slot, digest) in &self.points[commit].partial_pins {
            slots.entry(*slot).or_default().insert(*digest);
        }
        for (slot, digests) in slots {
            self.push(slot, digests.into_iter().collect(), false, commit);
        }
    }

    fn visit_pins(&mut self, commit: usize, pinned: &Set) {
        let points = self.points;
        let point = &points[commit];
        let parent = self.graph.first_parent(commit);
        let can_undo = self.is_recorded(commit) && !point.is_override();
        let continued = self.continue_vanished(pinned, parent);
        let replaced = pulls::replaced(self.graph, points, commit);
        let mut returned = Vec::new();
        for (slot, digests) in pinned.0.iter().enumerate() {
            let last = self.slots.get(slot).and_then(|states| states.last());
            let is_same = last.is_some_and(|last| last.is_read && last.digests == *digests);
            if digests.is_empty() || is_same {
                continue;
            }
            if self.had(slot, digests) {
                returned.push(digests);
            }
            // The files may have changed while no configuration showed this image, under any name.
            let is_back = parent.is_some_and(|parent| !points[parent].shows(slot))
                && !continued.contains(&slot);
            if can_undo && (point.has_changed_files || is_back) {
                self.undo_since(slot, pinned, commit, parent, &|_| true);
            }
            let pulled = pulls::digests(self.graph, points, &replaced, slot, digests);
            if pulled.is_empty() {
                self.push(slot, digests.clone(), true, commit);
            }
            for (digests, commit) in pulled {
                self.push(slot, digests.clone(), true, commit);
            }
        }
        let digests = if point.claims.is_override {
            pinned.0.iter().flatten().copied().collect()
        } else if !point.claims.rolled_back.is_empty() {
            returned.retain(|digests| self.was_promoted_as(digests, commit));
            returned.into_iter().flatten().copied().collect()
        } else {
            Vec::new()
        };
        if !digests.is_empty() {
            self.holds.releases.push(Release { digests, commit });
        }
    }

    /// Whether this commit or one before records the set.
    fn is_recorded(&self, commit: usize) -> bool {
        self.recorded
            .is_some_and(|recorded| self.graph.positions[commit] >= recorded)
    }

    /// Whether a commit before this one records a revision that this one rolls back to, with these digests of an image.
    fn was_promoted_as(&self, digests: &[Digest], commit: usize) -> bool {
        let rolled_back = &self.points[commit].claims.rolled_back;
        self.points.iter().enumerate().any(|(earlier, point)| {
            let mut revisions = point.claims.revisions.iter();
            // The image may have had another name.
            let pinned = point.slots.as_ref();
            earlier != commit
                && revisions.any(|revision| rolled_back.contains(revision))
                && pinned.is_some_and(|pinned| pinned.0.iter().any(|other| other == digests))
                && self.graph.is_ancestor(earlier, commit)
        })
    }

    /// Whether a slot had these digests before.
    fn had(&self, slot: usize, digests: &[Digest]) -> bool {
        let mut states = self.slots.get(slot).into_iter().flatten();
        states.any(|state| state.digests == digests)
    }

    /// Continues the digests of an image that has another name and repository, or its former ones again, if the image of
    /// the commit before is gone; returns their slots.
    fn continue_vanished(&mut self, pinned: &Set, before: Option<usize>) -> Vec<usize> {
        let mut continued = Vec::new();
        let points = self.points;
        let before = before.and_then(|commit| points[commit].slots.as_ref());
        for (slot, digests) in pinned.0.iter().enumerate() {
            if digests.is_empty() {
                continue;
            }
            let is_new = self.slots.get(slot).is_none_or(Vec::is_empty);
            let is_back = before.is_some_and(|before| !before.has(slot));
            if !is_new && !is_back {
                continue;
            }
            let vanished = self.slots.iter().enumerate().find(|(other, states)| {
                !pinned.has(*other)
                    && (is_new || before.is_some_and(|before| before.has(*other)))
                    && digests
                        .iter()
                        .all(|digest| states.iter().any(|state| state.digests.contains(digest)))
            });
            if let Some((_, states)) = vanished {
                let states = states.clone();
                self.grow(slot);
                let own = self.slots[slot].clone();
                self.slots[slot].extend(states);
                self.changes.push(HoldUndo::Slot(slot, own));
                continued.push(slot);
            }
        }
        continued
    }

    /// Records the digests that a slot had since it last had the pinned ones, if it had those before. `parent`: the one
    /// with the newer digests. `counts`: whether the state of a commit counts.
    fn undo_since(
        &mut self,
        slot: usize,
        pinned: &Set,
        commit: usize,
        parent: Option<usize>,
        counts: &dyn Fn(usize) -> bool,
    ) {
        let Some(digests) = pinned.0.get(slot).filter(|digests| !digests.is_empty()) else {
            return;
        };
        let mut states = self.slots.get(slot).map_or(&[][..], Vec::as_slice);
        // A commit that was not read may have been the one that returned to these digests.
        while let [earlier @ .., last] = states
            && !last.is_read
            && last.digests == *digests
        {
            states = earlier;
        }
        let mut before = states.iter();
        let Some(last) = before.rposition(|state| state.digests == *digests) else {
            return;
        };
        let had = |commit: Option<usize>, slot: usize, digest: &Digest| {
            let pinned = commit.and_then(|commit| self.points[commit].slots.as_ref());
            pinned.is_some_and(|pinned| pinned.pins(slot, digest))
        };
        let returned_to = Some(states[last].commit);
        // Another image that keeps a digest from before the return, or that takes it over, proves that it is wanted.
        let is_wanted = |digest: &Digest| {
            let mut slots = pinned.0.iter().enumerate();
            slots.any(|(other, digests)| {
                let is_kept = || had(returned_to, other, digest) || !had(parent, other, digest);
                digests.contains(digest) && (other == slot || is_kept())
            })
        };
        let images = &self.points[commit].images;
        let image = images.get(&slot).map(|image| image.name.clone());
        let image = image.unwrap_or_default();
        for state in &states[last + 1..] {
            for digest in &state.digests {
                if counts(state.commit) && !is_wanted(digest) {
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
    fn compare_with_merge(&mut self, merge: usize, parent: usize) {
        let points = self.points;
        let point = &points[merge];
        let Some(pinned) = &point.slots else {
            return;
        };
        if !self.is_recorded(merge) || point.is_override() || point.config == ConfigState::Removed {
            return;
        }
        let (graph, reached) = (self.graph, OnceCell::new());
        let first = graph.first_parent(merge);
        let is_merged = |commit: usize| {
            first.is_none_or(|first| !reached.get_or_init(|| graph.reached_by(first))[commit])
        };
        self.continue_vanished(pinned, Some(parent));
        for slot in 0..self.slots.len() {
            self.undo_since(slot, pinned, merge, Some(parent), &is_merged);
        }
    }

    fn push(&mut self, slot: usize, digests: Vec<Digest>, is_read: bool, commit: usize) {
        self.grow(slot);
        self.slots[slot].push(State {
            digests,
            is_read,
            commit,
        });
        self.changes.push(HoldUndo::State(slot));
    }

    fn grow(&mut self, slot: usize) {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, Vec::new());
        }
    }
}
