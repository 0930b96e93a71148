//! Revisions as tables show them.

use std::{collections::BTreeSet, ops::Bound};

use crate::git::ObjectId;

/// The fewest characters that a revision is cut to.
const SHORTEST: usize = 12;

/// The fewest digits of a revision, at least `SHORTEST`, that no other of `listed` begins with. A
/// revision that is not a commit's name stays whole, since no command expands it.
pub fn abbreviated(revision: &str, listed: &BTreeSet<&str>) -> String {
    if ObjectId::parse(revision.as_bytes()).is_none() {
        return revision.to_owned();
    }
    let before = listed.range::<&str, _>(..&revision).next_back();
    let after = listed
        .range::<&str, _>((Bound::Excluded(&revision), Bound::Unbounded))
        .next();
    let alike = |other: &&str| {
        let digits = revision.bytes().zip(other.bytes());
        digits.take_while(|(one, other)| one == other).count()
    };
    let most = before.into_iter().chain(after).map(alike).max();
    let length = most.map_or(SHORTEST, |most| SHORTEST.max(most + 1));
    revision.get(..length).unwrap_or(revision).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_are_unique_among_the_listed() {
        let near = format!("{}{}", "a".repeat(20), "b".repeat(20));
        let far = format!("c{}", "a".repeat(39));
        let twin = "a".repeat(40);
        let listed = BTreeSet::from([twin.as_str(), &near, &far, "v1.20.3-candidate"]);
        let short = |revision: &str| abbreviated(revision, &listed);
        assert_eq!(short(&twin), twin[..21]);
        assert_eq!(short(&near), near[..21]);
        assert_eq!(short(&far), far[..SHORTEST]);
        assert_eq!(short("v1.20.3-candidate"), "v1.20.3-candidate");
    }
}
