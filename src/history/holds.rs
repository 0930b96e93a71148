//! The holds of sets that rollbacks undid.

use std::{
    cell::LazyCell,
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, HashSet},
};

use super::{
    History, HistoryEntry, LineFacts, UnknownPast,
    events::{Events, Undone},
};
use crate::oci::{Pattern, Revision};

/// Whether a set is held after a rollback.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hold<'h> {
    Free,
    Held {
        /// The rollback that undid the set.
        rollback: &'h HistoryEntry,
    },
    /// No hold is known, but the clone is too shallow to know all.
    Shallow,
    /// No hold is known, but the past of the set is unknown.
    UnknownPast(&'h UnknownPast),
}

/// A set that a rollback undid, which `promote` refuses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldSet<'h> {
    /// A revision that the set was promoted as, if it is known.
    pub revision: Option<&'h Revision>,
    /// The rollback that undid the set.
    pub rollback: &'h HistoryEntry,
    /// The entry with which the set last became current; `None` if that was before the start of the
    /// clone.
    pub undone: Option<&'h HistoryEntry>,
}

impl History {
    /// Every held set, those of the latest rollback first, newer sets first. A set has an item for each
    /// of its revisions.
    pub(crate) fn holds(&self) -> Vec<HeldSet<'_>> {
        let mut sets = Vec::new();
        for hold in &self.holds {
            let set = HeldSet {
                revision: None,
                rollback: self.entry_of(hold.rollback),
                undone: hold.event.map(|event| self.entry_of(event)),
            };
            if hold.revisions.is_empty() {
                sets.push(set);
            }
            for revision in &hold.revisions {
                sets.push(HeldSet {
                    revision: Some(revision),
                    ..set
                });
            }
        }
        sets
    }

    /// The hold of a revision that a rollback undid, even if the current set would end it.
    pub(crate) fn prolonged_hold(&self, revision: &Revision) -> Hold<'_> {
        let undone = self.events.undone.iter();
        let undone = undone.filter(|undone| undone.revisions.contains(revision));
        match undone.max_by_key(|undone| self.events.all[undone.rollback].position) {
            Some(undone) => Hold::Held {
                rollback: self.entry_of(undone.rollback),
            },
            None => self.hold(revision),
        }
    }

    /// The latest hold of a set that satisfies a condition: a revision may have multiple sets.
    pub(super) fn latest_hold(&self, is_wanted: impl Fn(&Undone) -> bool) -> Hold<'_> {
        match self.holds.iter().find(|hold| is_wanted(hold)) {
            Some(hold) => Hold::Held {
                rollback: self.entry_of(hold.rollback),
            },
            None if self.shallow => Hold::Shallow,
            None => self.unknown_past().map_or(Hold::Free, Hold::UnknownPast),
        }
    }
}

/// The undone sets that are held at the tip, those of the latest rollback first. Each set occurs once.
///
/// A hold is over while each image that the rollback changed has a newer digest.
pub(super) fn holds(facts: &LineFacts, events: &Events, pattern: &Pattern) -> Vec<Undone> {
    let current = facts.current_set();
    let mut undone: Vec<&Undone> = (events.undone.iter())
        .filter(|undone| Some(undone.set) != current)
        .collect();
    undone.sort_by_key(|undone| {
        let rollback = &events.all[undone.rollback];
        let is_on_line = facts.graph.is_on_line(rollback.commit);
        Reverse((rollback.position, is_on_line, undone.event, undone.set))
    });
    let newer = newer_than_current(facts, events, &undone, pattern);
    let mut sets = HashSet::new();
    let mut holds = Vec::new();
    for undone in undone {
        let mut revisions = undone.revisions.iter();
        let is_held = !is_replaced(facts, undone) || revisions.any(|name| newer.contains(name));
        if is_held && sets.insert(undone.set) {
            holds.push(undone.clone());
        }
    }
    holds
}

/// Whether each image that the rollback changed has a digest that became current after the undone one.
fn is_replaced(facts: &LineFacts, undone: &Undone) -> bool {
    let Some(current) = facts.current_set() else {
        return false;
    };
    let (current, set) = (&facts.sets[current], &facts.sets[undone.set]);
    let mut images = undone.images.iter();
    let has_other_digests = images.all(|image| {
        let digest = current.digest(*image);
        digest.is_some_and(|digest| !set.0[*image].contains(&digest))
    });
    undone.is_followed && has_other_digests
}

/// The revisions of undone sets that are higher versions than that of the current set, or descend from it:
/// newer builds, although the current set became current later.
fn newer_than_current<'u>(
    facts: &LineFacts,
    events: &Events,
    undone: &[&'u Undone],
    pattern: &Pattern,
) -> HashSet<&'u Revision> {
    let mut newer = HashSet::new();
    let current = facts.current_set().map(|set| &events.revisions[set]);
    let Some(current) = current.and_then(|revisions| revisions.first()) else {
        return newer;
    };
    let revisions = || undone.iter().flat_map(|undone| &undone.revisions);
    if pattern.is_semver() {
        let is_newer = |revision: &&Revision| {
            pattern.cmp_precedence(revision, current) == Some(Ordering::Greater)
        };
        newer.extend(revisions().filter(is_newer));
        return newer;
    }
    // Without an undone set, nothing is computed.
    let indices = LazyCell::new(|| {
        let commits = facts.commits.iter().enumerate();
        let indices = commits.map(|(index, commit)| (commit.id.to_string(), index));
        indices.collect::<BTreeMap<_, _>>()
    });
    // A revision may be an abbreviated id.
    let named = |revision: &Revision| {
        let name = revision.as_str();
        if !pattern.may_be_commit(name) {
            return None;
        }
        let mut found = indices.range(name.to_owned()..);
        let (_, index) = found.next().filter(|(id, _)| id.starts_with(name))?;
        let is_ambiguous = found.next().is_some_and(|(id, _)| id.starts_with(name));
        (!is_ambiguous).then_some(*index)
    };
    let descendants =
        LazyCell::new(|| named(current).map(|current| facts.graph.descendants(current)));
    for revision in revisions() {
        if let (Some(index), Some(descendants)) = (named(revision), &*descendants)
            && descendants[index]
        {
            newer.insert(revision);
        }
    }
    newer
}
