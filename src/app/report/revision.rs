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

/// Shortens the digests in a text, such as those in the detail of a check.
pub(crate) fn with_short_digests(text: &str) -> String {
    const PREFIX: &str = "sha256:";
    let mut parts = text.split(PREFIX);
    let mut shortened = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        shortened += PREFIX;
        shortened += match digits {
            64 => &part[..LENGTH_MIN],
            _ => &part[..digits],
        };
        shortened += &part[digits..];
    }
    shortened
}

/// Shortens the commit ids in a text, such as those in the titles of promotions.
pub(crate) fn with_short_ids(text: &str) -> String {
    let mut shortened = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, word) = rest.split_at(start);
        let end = word.find(|c: char| !c.is_ascii_alphanumeric());
        let (word, after) = word.split_at(end.unwrap_or(word.len()));
        shortened.push_str(before);
        shortened.push_str(match ObjectId::parse(word.as_bytes()) {
            Some(_) => &word[..LENGTH_MIN],
            None => word,
        });
        rest = after;
    }
    shortened + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_in_a_text_are_shortened() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(
            with_short_digests(&format!("x@{digest}, {digest}: sha256:0a1")),
            "x@sha256:0a0a0a0a0a0a, sha256:0a0a0a0a0a0a: sha256:0a1"
        );
        assert_eq!(with_short_digests("none"), "none");
    }

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

    #[test]
    fn only_commit_ids_are_shortened() {
        let [id, long] = ["a".repeat(40), "a".repeat(41)];
        let text = format!("promote: é @{id} ({id}), {long} #1");
        let expected = format!("promote: é @aaaaaaaaaaaa (aaaaaaaaaaaa), {long} #1");
        assert_eq!(with_short_ids(&text), expected);
        assert_eq!(with_short_ids(&id), id[..LENGTH_MIN]);
        assert_eq!(with_short_ids(""), "");
    }
}
