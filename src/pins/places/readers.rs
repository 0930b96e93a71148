//! Readers that differ in which of several entries with one key they take.

use std::collections::HashSet;

use super::{Sight, What};

/// Refuses what readers of a document with duplicate keys see differently: `sights` are those of a
/// reader that takes the first entry with a key, `last` those of one that takes the last entry.
pub(super) fn reconcile(sights: &mut Vec<Sight>, last: Vec<Sight>) {
    const WHY: &str = "a duplicate key in this document decides whose digest this is: YAML forbids it, and readers take the first or the last one";
    let pin =
        |sight: &Sight| matches!(sight.what, What::Pin { .. }).then_some((sight.at, sight.image));
    let seen_by = |sights: &[Sight]| sights.iter().filter_map(pin).collect::<HashSet<_>>();
    let (by_first, by_last) = (seen_by(sights), seen_by(&last));
    for sight in sights.iter_mut() {
        if pin(sight).is_some_and(|pin| !by_last.contains(&pin)) {
            sight.what = What::Refused(WHY.to_owned());
        }
    }
    for sight in last {
        match &sight.what {
            What::Pin { .. } => {
                if pin(&sight).is_some_and(|pin| !by_first.contains(&pin)) {
                    let what = What::Refused(WHY.to_owned());
                    sights.push(Sight { what, ..sight });
                }
            }
            What::Refused(why) => {
                let known = |other: &Sight| {
                    other.at == sight.at
                        && matches!(&other.what, What::Refused(known) if known == why)
                };
                if !sights.iter().any(known) {
                    sights.push(sight);
                }
            }
        }
    }
}
