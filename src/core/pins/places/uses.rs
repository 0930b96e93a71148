//! The aliases and merges through which entries use one scalar.

use std::collections::HashSet;

use super::{
    values::{Field, Via},
    yaml::{Document, Id},
};

/// How entries use one scalar.
#[derive(Default)]
pub(super) struct Uses {
    entries: HashSet<Id>,
    /// Whether it is written in one of them.
    pub(super) own: bool,
    /// The aliases and merges through which they use it.
    via: HashSet<Id>,
}

impl Uses {
    pub(super) fn add(&mut self, entry: Id, field: Field) {
        self.entries.insert(entry);
        self.own |= matches!(field.via, Via::Own);
        self.via.extend(field.via.node());
    }

    /// An alias that none of the entries uses: of the scalar or, if it is written in no entry, of the mapping
    /// that contains it.
    pub(super) fn unknown_alias(&self, document: &Document<'_>, scalar: Id) -> Option<Id> {
        let mut aliases = document.aliases_of(scalar).iter();
        let unknown = aliases.find(|alias| !self.via.contains(alias)).copied();
        if unknown.is_some() || self.own {
            return unknown;
        }
        let mapping = document.ancestors(scalar).nth(1)?;
        let is_merged = |alias: Id| {
            // `<<: *mapping` or `<<: [*mapping]`
            let mut above = document.ancestors(alias).skip(1).take(2);
            above.any(|node| self.entries.contains(&node))
        };
        let mut aliases = document.aliases_of(mapping).iter().copied();
        aliases.find(|alias| !is_merged(*alias))
    }
}
