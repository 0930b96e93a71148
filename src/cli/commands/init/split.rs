//! The places that a first configuration proposes: kustomize and Helm, where entries with digests
//! were found.

use std::collections::{BTreeMap, BTreeSet};

use super::Chosen;
use crate::{
    config::RelPath,
    files::WorkTree,
    pins::{Finder, KUSTOMIZE, discover::narrow},
    report::starter::StarterPlace,
};

/// The kinds that are proposed, by their numbers in a first look.
const KINDS: [(usize, &str); 2] = [(KUSTOMIZE, "kustomize"), (KUSTOMIZE + 1, "helm")];

/// The places for the images that were chosen. A file with an entry that would be refused is left
/// out, with where and why.
pub(super) fn places(tree: &WorkTree, chosen: &Chosen<'_>, finder: &Finder) -> Vec<StarterPlace> {
    let place = |(number, kind): (usize, &'static str)| {
        let refused = refused(chosen, number);
        let pins = chosen.members.iter().flat_map(|seen| &seen.pins);
        let held = pins.filter(|pin| {
            let split = pin.what.split.as_ref();
            split.is_some_and(|split| split.place == number)
        });
        let files: BTreeSet<RelPath> = held
            .map(|pin| (*pin.file).clone())
            .filter(|file| !refused.contains_key(file))
            .collect();
        let left_out: Vec<String> = refused.into_values().collect();
        // A glob that is wider than the files could match what is left out.
        let files = if left_out.is_empty() {
            narrow::narrow(tree, &files, finder)
        } else {
            files.iter().filter_map(narrow::exactly).collect()
        };
        StarterPlace {
            kind,
            files,
            left_out,
        }
    };
    let places = KINDS.into_iter().map(place);
    places
        .filter(|place| !(place.files.is_empty() && place.left_out.is_empty()))
        .collect()
}

/// The files with entries that would be refused, and of each the first.
fn refused(chosen: &Chosen<'_>, place: usize) -> BTreeMap<RelPath, String> {
    let mut files = BTreeMap::new();
    for refused in chosen.members.iter().flat_map(|seen| &seen.refused) {
        if refused.what.place == place {
            let (file, what) = (&refused.file, &refused.what);
            let line = || format!("{file}:{}:{}: {}", what.line, what.column, what.why);
            files.entry((**file).clone()).or_insert_with(line);
        }
    }
    files
}
