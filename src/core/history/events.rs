//! The changes of the set: promotions, rollbacks and manual changes.
//!
//! Pure: indices of sets in, events out. The documentation of the parent module contains the rules.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use super::{
    Kind,
    graph::{Fold, Graph},
    provenance::{Point, first_record},
    sets::Set,
};
use crate::oci::{Digest, Revision};

/// A change of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) commit: usize,
    /// The position in the line of the commit, or of the merge that brought it in.
    pub(super) position: usize,
    pub(super) kind: Kind,
    pub(super) revision: Option<Revision>,
    pub(super) set: usize,
    /// The event that last made the set current before a promotion that returned to it.
    pub(super) returns_to: Option<usize>,
}

/// A claim of the line for digests that belong to another revision, by the positions of its commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConflictingClaim {
    pub(super) commit: usize,
    pub(super) claimed: Revision,
    /// The revision that introduced the digests.
    pub(super) revision: Revision,
    /// The position in the line of the commit that introduced them.
    pub(super) introduced: usize,
}

#[derive(Debug, Default)]
pub(super) struct Events {
    /// Every event of the line and of merged commits.
    pub(super) all: Vec<Event>,
    /// The indices in `all` of the events of the line, oldest first.
    pub(super) line: Vec<usize>,
    /// The latest rollback that undid each set, on the line or on a merged one.
    pub(super) undone_by: Vec<Option<usize>>,
    /// The position in the line of the last newer set.
    pub(super) last_newer: Option<usize>,
    /// The revisions that each set was promoted as on the line.
    pub(super) revisions: Vec<Vec<Revision>>,
    /// The position in the line at which each set first became current.
    pub(super) first: Vec<Option<usize>>,
    pub(super) ignored: Vec<ConflictingClaim>,
}

/// The first commit that pinned a digest.
#[derive(Debug, Clone, Copy)]
struct FirstPin {
    /// The set; `None` in unknown content.
    set: Option<usize>,
}

/// A change of the fold by a merged commit, with the old value.
enum FoldUndo {
    Sequence,
    Last(usize, Option<usize>),
    FirstPin(usize, Digest),
    Revision(usize),
    First(usize),
    IsFirstUnknown,
}

struct SetFold<'a> {
    graph: &'a Graph,
    points: &'a [Point],
    sets: &'a [Set],
    events: Events,
    /// The sets in the order in which they became current, each with its event.
    sequence: Vec<(usize, Option<usize>)>,
    /// The last index of each set in `sequence`.
    last: Vec<Option<usize>>,
    /// The digests that each image had when all of its pins agreed, or in unknown content.
    first_pins: Vec<HashMap<Digest, FirstPin>>,
    is_first_unknown: bool,
    /// The position in the line of the first commit that records the set.
    recorded: Option<usize>,
    changes: Vec<FoldUndo>,
}

/// Finds the events, with one point for each commit. `start`: the position in the line of the first
/// commit of the set. `is_truncated`: whether the past before it is unknown.
pub(super) fn events(
    graph: &Graph,
    points: &[Point],
    sets: &[Set],
    start: usize,
    is_truncated: bool,
) -> Events {
    let images = sets.first().map_or(0, |set| set.0.len());
    let mut fold = SetFold {
        graph,
        points,
        sets,
        events: Events {
            undone_by: vec![None; sets.len()],
            revisions: vec![Vec::new(); sets.len()],
            first: vec![None; sets.len()],
            ..Events::default()
        },
        sequence: Vec::new(),
        last: vec![None; sets.len()],
        first_pins: vec![HashMap::new(); images],
        is_first_unknown: is_truncated,
        recorded: first_record(graph, points, is_truncated),
        changes: Vec::new(),
    };
    graph.fold(start, &mut fold);
    fold.events
}

impl Fold for SetFold<'_> {
    fn visit(&mut self, commit: usize) {
        let point = &self.points[commit];
        let Some(set) = point.set else {
            for (image, digest) in &point.partial_pins {
                self.record_pin(*image, *digest, None);
            }
            return;
        };
        let is_unchanged = match self.sequence.last() {
            Some((last, _)) => *last == set,
            None => self.sets[set].is_empty(),
        };
        // Whether the first readable commit of a truncated line introduced its set is unknown, unless
        // it claims the revision.
        let is_introduced = !self.is_first_unknown || !point.claims.revisions.is_empty();
        if self.is_first_unknown {
            self.is_first_unknown = false;
            self.changes.push(FoldUndo::IsFirstUnknown);
        }
        if is_unchanged {
            self.record_revision(commit, set);
            return;
        }
        let event = is_introduced.then(|| self.add_event(commit, set));
        self.make_current(commit, set, event);
    }

    fn changes(&self) -> usize {
        self.changes.len()
    }

    fn undo(&mut self, changes: usize) {
        for change in self.changes.drain(changes..).rev() {
            match change {
                FoldUndo::Sequence => {
                    self.sequence.pop();
                }
                FoldUndo::Last(set, last) => self.last[set] = last,
                FoldUndo::FirstPin(image, digest) => {
                    self.first_pins[image].remove(&digest);
                }
                FoldUndo::Revision(set) => {
                    self.events.revisions[set].pop();
                }
                FoldUndo::First(set) => self.events.first[set] = None,
                FoldUndo::IsFirstUnknown => self.is_first_unknown = true,
            }
        }
    }
}

impl SetFold<'_> {
    fn add_event(&mut self, commit: usize, set: usize) -> usize {
        let (points, sets) = (self.points, self.sets);
        let (point, content) = (&points[commit], &sets[set]);
        let position = self.graph.positions[commit];
        let is_on_line = self.graph.is_on_line(commit);
        let is_whole = !content.is_empty() && !content.is_mixed();
        let claims = self.valid_claims(commit, set);
        let mut promoted = point.claims.by_title.iter();
        let is_promotion = is_whole && promoted.any(|revision| claims.contains(revision));
        // The start in `sequence` of the undone sets.
        let is_evidence = self.recorded.is_some_and(|recorded| position >= recorded);
        let returns =
            !content.is_empty() && is_evidence && point.has_changed_files && !point.is_override();
        let undone = self.last[set].filter(|_| returns).map(|last| last + 1);
        let kind = match undone {
            Some(_) if !is_promotion => Kind::Rollback,
            _ if is_whole && !claims.is_empty() => Kind::Promote,
            _ => Kind::Manual,
        };
        match kind {
            Kind::Promote => self.add_revisions(set, claims),
            Kind::Rollback if self.events.revisions[set].is_empty() => {
                self.add_revisions(set, claims.into_iter().take(1));
            }
            Kind::Rollback | Kind::Manual => {}
        }
        let event = self.events.all.len();
        let returned = self.last[set].and_then(|last| self.sequence[last].1);
        self.events.all.push(Event {
            commit,
            position,
            kind,
            revision: self.events.revisions[set].first().cloned(),
            set,
            returns_to: returned.filter(|_| kind == Kind::Promote),
        });
        if is_on_line {
            self.events.line.push(event);
        }
        if let Some(start) = undone {
            self.undo_sets(event, start);
        } else if is_on_line && self.is_newer(set) {
            self.events.last_newer = Some(position);
        }
        event
    }

    /// Records the sets that a rollback undid: those of `sequence` from `start`, which follow its own set.
    fn undo_sets(&mut self, rollback: usize, start: usize) {
        let event = &self.events.all[rollback];
        let commit = event.commit;
        let is_on_line = self.graph.is_on_line(commit);
        if !is_on_line && self.points[commit].is_taken {
            // The rollback of the line that was merged counts.
            return;
        }
        let mut undone_sets = HashSet::new();
        for (set, _) in &self.sequence[start..] {
            if !self.sets[*set].is_empty() {
                undone_sets.insert(*set);
            }
        }
        for set in undone_sets {
            let latest = self.events.undone_by[set].map(|latest| self.events.all[latest].position);
            if latest <= Some(self.events.all[rollback].position) {
                self.events.undone_by[set] = Some(rollback);
            }
        }
    }

    /// The claims of a commit for its set, without those for digests that belong to other revisions.
    fn valid_claims(&mut self, commit: usize, set: usize) -> Vec<Revision> {
        let mut owners = Vec::new();
        let mut is_known = true;
        for (image, digests) in self.sets[set].0.iter().enumerate() {
            for digest in digests {
                let pin = self.first_pins[image].get(digest);
                let owning = pin.and_then(|pin| pin.set);
                let revisions = owning.map(|set| &self.events.revisions[set]);
                match (owning, revisions.and_then(|revisions| revisions.first())) {
                    (Some(set), Some(revision)) => {
                        let first = self.events.first[set].unwrap_or_default();
                        owners.push((revision.clone(), first));
                    }
                    _ => is_known = false,
                }
            }
        }
        let mut claims = Vec::new();
        for claimed in &self.points[commit].claims.revisions {
            let mut owners = owners.iter();
            let first = owners.clone().next();
            match owners.find(|(owner, _)| owner != claimed).or(first) {
                Some((revision, introduced))
                    if is_known && !self.events.revisions[set].contains(claimed) =>
                {
                    if self.graph.is_on_line(commit) {
                        self.events.ignored.push(ConflictingClaim {
                            commit,
                            claimed: claimed.clone(),
                            revision: revision.clone(),
                            introduced: *introduced,
                        });
                    }
                }
                _ => claims.push(claimed.clone()),
            }
        }
        claims
    }

    /// Records the revision of a set that a commit claims without changing it, as the adoption of
    /// repin does. A known revision is not replaced, and multiple claims are ambiguous.
    fn record_revision(&mut self, commit: usize, set: usize) {
        let content = &self.sets[set];
        if content.is_empty() || content.is_mixed() {
            return;
        }
        let claims = self.valid_claims(commit, set);
        if let [revision] = claims.as_slice()
            && self.events.revisions[set].is_empty()
        {
            self.add_revisions(set, [revision.clone()]);
            // The last event made this set current, unless the start of the set is unknown.
            if self.graph.is_on_line(commit)
                && let Some(last) = self.events.line.last()
            {
                self.events.all[*last].revision = Some(revision.clone());
            }
        }
    }

    fn add_revisions(&mut self, set: usize, claims: impl IntoIterator<Item = Revision>) {
        for revision in claims {
            if !self.events.revisions[set].contains(&revision) {
                self.events.revisions[set].push(revision);
                self.changes.push(FoldUndo::Revision(set));
            }
        }
    }

    /// Whether the set moves an image that was pinned before to a digest that it never had. A set
    /// that only adds or removes images, or mixes older digests, is not newer.
    fn is_newer(&self, set: usize) -> bool {
        let mut images = self.first_pins.iter().enumerate();
        images.any(|(image, pins)| {
            let digest = self.sets[set].digest(image);
            !pins.is_empty() && digest.is_some_and(|digest| !pins.contains_key(&digest))
        })
    }

    fn make_current(&mut self, commit: usize, set: usize, event: Option<usize>) {
        self.changes.push(FoldUndo::Last(set, self.last[set]));
        self.last[set] = Some(self.sequence.len());
        if self.events.first[set].is_none() {
            self.events.first[set] = Some(self.graph.positions[commit]);
            self.changes.push(FoldUndo::First(set));
        }
        for image in 0..self.first_pins.len() {
            if let Some(digest) = self.sets[set].digest(image) {
                self.record_pin(image, digest, Some(set));
            }
        }
        self.sequence.push((set, event));
        self.changes.push(FoldUndo::Sequence);
    }

    fn record_pin(&mut self, image: usize, digest: Digest, set: Option<usize>) {
        let pin = FirstPin { set };
        if let Some(digests) = self.first_pins.get_mut(image)
            && let Entry::Vacant(vacant) = digests.entry(digest)
        {
            vacant.insert(pin);
            self.changes.push(FoldUndo::FirstPin(image, digest));
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
