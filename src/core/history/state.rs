//! The states of sets in lists.

use super::{Digests, History, HistoryEntry};
use crate::base::text::words;

words! {
    /// The state of the set of an entry. Every list shows exactly one: a rollback may return to a held set, but
    /// a list that called it available would recommend what an operator undid.
    #[derive(PartialOrd, Ord)]
    pub(crate) enum EntryState {
        Current = "current",
        /// A rollback undid the set.
        Held = "held",
        /// Available for rollback.
        Available = "available",
        Superseded = "superseded",
    }
}

impl EntryState {
    /// The mark in tables.
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::Current => "*",
            Self::Held => "!",
            Self::Available => "<",
            Self::Superseded => "",
        }
    }
}

impl History {
    pub(crate) fn state(&self, entry: &HistoryEntry) -> EntryState {
        if entry.current {
            EntryState::Current
        } else if self.hold_in_list(&entry.images).is_some() || self.is_partly_undone(&entry.images)
        {
            EntryState::Held
        } else if entry.can_roll_back {
            EntryState::Available
        } else {
            EntryState::Superseded
        }
    }

    /// Whether a rollback undid a digest of a set, and the set was not current again since then. `promote` and `rollback` only warn
    /// if the other digests are not held, but no list recommends it.
    fn is_partly_undone(&self, images: &Digests) -> bool {
        let mut events = self.line_events().rev().zip(self.entries());
        let Some((event, _)) = events.find(|(_, entry)| entry.images == *images) else {
            return false;
        };
        let current = self.current_digests().unwrap_or_default();
        let mut changed = images
            .iter()
            .filter(|(name, digest)| current.get(*name) != Some(*digest));
        changed.any(|(_, digest)| {
            let mut holds = self.holds_of(digest);
            holds.any(|hold| !hold.is_elsewhere && hold.position > event.position)
        })
    }

    /// The newest available set before the current one, to which an operator would return first. `None` in a shallow
    /// clone: a missing commit may show that a rollback undid the set.
    pub(crate) fn newest_available(&self) -> Option<&HistoryEntry> {
        if self.shallow {
            return None;
        }
        let mut entries = self.entries().iter();
        entries.find(|entry| self.state(entry) == EntryState::Available)
    }
}
