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

mod head;

use std::{
    cell::OnceCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use super::{
    Digests, History,
    changes::Unreadable,
    graph::{Fold, Graph},
    provenance::{Point, first_record},
    pulls,
    sets::Set,
    walk::ConfigState,
};
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
pub(super) fn find_holds(
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
