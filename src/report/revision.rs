//! Short forms of revisions for tables.

use std::{collections::BTreeSet, ops::Bound};

use crate::git::ObjectId;

/// The minimum length of an abbreviated revision.
const LENGTH_MIN: usize = 12;

/// Shortens a revision to a prefix, of at least `LENGTH_MIN` digits, that is unique among `listed`. Only
/// commit ids are shortened, because no command expands the prefix of another revision.
pub(crate) fn abbreviated(revision: &str, listed: &BTreeSet<&str>) -> String {
    if ObjectId::parse(revision.as_bytes()).is_none() {
        return revision.to_owned();
    }
    let before = listed.range::<&str, _>(..&revision).next_back();
    let after = listed
        .range::<&str, _>((Bound::Excluded(&revision), Bound::Unbounded))
        .next();
    let most = before
        .into_iter()
        .chain(after)
        .map(|other| {
            let digits = revision.bytes().zip(other.bytes());
            digits.take_while(|(one, other)| one == other).count()
        })
        .max();
    let length = most.map_or(LENGTH_MIN, |most| LENGTH_MIN.max(most + 1));
    revision.get(..length).unwrap_or(revision).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_are_unique() {
        let near = format!("{}{}", "a".repeat(20), "b".repeat(20));
        let far = format!("c{}", "a".repeat(39));
        let full = "a".repeat(40);
        let listed = BTreeSet::from([full.as_str(), &near, &far, "v1.20.3-candidate"]);
        let short = |revision: &str| abbreviated(revision, &listed);
        assert_eq!(short(&full), full[..21]);
        assert_eq!(short(&near), near[..21]);
        assert_eq!(short(&far), far[..LENGTH_MIN]);
        assert_eq!(short("v1.20.3-candidate"), "v1.20.3-candidate");
    }
}
