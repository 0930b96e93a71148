//! The states of sets in lists.

use super::{History, HistoryEntry};

/// The state of the set of an entry. Every list shows exactly one: a rollback may return to a held set, but
/// a list that called it available would recommend what an operator undid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryState {
    Current,
    /// A rollback undid the set.
    Held,
    /// Available for rollback.
    Available,
    Superseded,
}

impl EntryState {
    /// The name in pages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Held => "held",
            Self::Available => "available",
            Self::Superseded => "superseded",
        }
    }

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
        } else if self.hold_in_list(&entry.images).is_some() {
            EntryState::Held
        } else if entry.can_roll_back {
            EntryState::Available
        } else {
            EntryState::Superseded
        }
    }

    /// The newest available set before the current one, to which an operator would return first.
    pub(crate) fn newest_available(&self) -> Option<&HistoryEntry> {
        let mut entries = self.entries().iter();
        entries.find(|entry| self.state(entry) == EntryState::Available)
    }
}
