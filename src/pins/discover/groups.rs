//! Which of the repositories that are pinned are one set: a guess from owners, tags and places.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use super::Seen;
use crate::oci::{Digest, Repository};

/// Repositories of one owner in one registry that may be a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Registry and owner, such as `ghcr.io/acme`.
    pub owner: String,
    /// Its repositories, as places in the list that was given, sorted.
    pub members: Vec<usize>,
}

/// The guess.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Guess {
    /// The groups, the likeliest first; each has a member.
    pub groups: Vec<Group>,
    /// Whether the first one needs no confirmation.
    pub sure: bool,
    /// Repositories that belong to no group, and why.
    pub apart: Vec<(usize, Reason)>,
}

/// Why a pinned repository was not taken into the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The set's images are another owner's.
    OtherOwner,
    /// All of its digests are one digit again and again: an example.
    Placeholder,
    /// Its tags name no revision, and those of its owner's other images do.
    OtherTags,
}

/// How tags name revisions: what precedes the digits, and how many digits there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagForm {
    /// What precedes the revision.
    pub prefix: String,
    /// The number of hexadecimal digits.
    pub digits: usize,
}

/// Guesses from what was seen; `owner` is that of the repository's remote.
pub fn guess(seen: &[Seen], owner: Option<&str>) -> Guess {
    let mut guess = Guess::default();
    let mut owners: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, one) in seen
        .iter()
        .enumerate()
        .filter(|(_, one)| !one.pins.is_empty())
    {
        if one.pins.iter().all(|pin| is_placeholder(&pin.what.digest)) {
            guess.apart.push((at, Reason::Placeholder));
        } else {
            owners
                .entry(owner_of(&one.repository))
                .or_default()
                .push(at);
        }
    }
    for (owner, mut members) in owners {
        if members.iter().any(|&at| tag_form([&seen[at]]).is_some()) {
            let odd = |at: usize| has_tags(&seen[at]) && tag_form([&seen[at]]).is_none();
            guess.apart.extend(
                members
                    .iter()
                    .filter(|&&at| odd(at))
                    .map(|&at| (at, Reason::OtherTags)),
            );
            members.retain(|&at| !odd(at));
        }
        guess.groups.push(Group { owner, members });
    }
    guess.groups.sort_by_cached_key(|group| {
        (
            Reverse(Likelihood::of(group, seen, owner)),
            group.owner.clone(),
        )
    });
    let theirs = |group: &Group| is_owners(group, owner);
    guess.sure = match guess.groups.as_slice() {
        [] => false,
        [only] => owner.is_none() || theirs(only),
        [first, second, ..] => theirs(first) && !theirs(second),
    };
    guess.apart.sort_by_key(|(at, _)| *at);
    guess
}

/// The form of all tags of these repositories, if they have any and all are of one form.
pub fn tag_form<'s>(seen: impl IntoIterator<Item = &'s Seen>) -> Option<TagForm> {
    let tags = seen
        .into_iter()
        .flat_map(|one| &one.pins)
        .filter_map(|pin| pin.what.tag.as_ref());
    let mut forms = tags.map(|tag| form(tag.as_str()));
    let first = forms.next()??;
    forms
        .all(|form| form.as_ref() == Some(&first))
        .then_some(first)
}

/// The one revision that every tag of these repositories names, if each of them has a tagged pin.
pub fn common_revision<'s>(seen: impl IntoIterator<Item = &'s Seen> + Clone) -> Option<String> {
    let form = tag_form(seen.clone())?;
    let mut revisions = Vec::new();
    for one in seen {
        let tags = one.pins.iter().filter_map(|pin| pin.what.tag.as_ref());
        let before = revisions.len();
        revisions.extend(tags.map(|tag| tag.as_str()[form.prefix.len()..].to_owned()));
        if revisions.len() == before {
            return None;
        }
    }
    let first = revisions.pop()?;
    revisions
        .iter()
        .all(|other| *other == first)
        .then_some(first)
}

fn form(tag: &str) -> Option<TagForm> {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let digits = tag.len() - tag.trim_end_matches(hex).len();
    let (prefix, digits) = match digits {
        40 | 64 => (&tag[..tag.len() - digits], digits),
        // A short commit with a prefix that says so; without one, `20240131` would be a revision.
        _ => ("sha-", tag.strip_prefix("sha-")?.len()),
    };
    let whole = tag[prefix.len()..].chars().all(hex);
    (whole && (7..=64).contains(&digits)).then(|| TagForm {
        prefix: prefix.to_owned(),
        digits,
    })
}

fn has_tags(seen: &Seen) -> bool {
    seen.pins.iter().any(|pin| pin.what.tag.is_some())
}

/// No content hashes to one digit again and again.
fn is_placeholder(digest: &Digest) -> bool {
    let text = digest.to_string();
    let mut digits = text.bytes().rev().take(64);
    let last = digits.next();
    digits.all(|digit| Some(digit) == last)
}

/// Registry and first part of the path; the registry alone where the path has one part.
pub(in crate::pins) fn owner_of(repository: &Repository) -> String {
    match repository.path().split_once('/') {
        Some((owner, _)) => format!("{}/{owner}", repository.host()),
        None => repository.host().to_owned(),
    }
}

fn is_owners(group: &Group, owner: Option<&str>) -> bool {
    let name = group.owner.split_once('/').map(|(_, name)| name);
    name.zip(owner)
        .is_some_and(|(name, owner)| name.eq_ignore_ascii_case(owner))
}

/// Larger is likelier: the remote's owner, not everyone's images, tags that are revisions, pins in
/// files that run something, more repositories, more pins.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Likelihood {
    signs: [bool; 4],
    repositories: usize,
    pins: usize,
}

impl Likelihood {
    fn of(group: &Group, seen: &[Seen], owner: Option<&str>) -> Self {
        let members = || group.members.iter().map(|&at| &seen[at]);
        let pins = || members().flat_map(|one| &one.pins);
        Self {
            signs: [
                is_owners(group, owner),
                group.owner != "docker.io/library",
                members().any(|one| tag_form([one]).is_some()),
                pins().any(|pin| runs(pin.file.as_bytes())),
            ],
            repositories: group.members.len(),
            pins: pins().count(),
        }
    }
}

/// Whether a file is one of those that start containers.
fn runs(path: &[u8]) -> bool {
    let path = String::from_utf8_lossy(path).to_ascii_lowercase();
    let directories = [
        ".github/",
        ".gitea/",
        ".forgejo/",
        ".gitlab-ci",
        ".woodpecker",
        ".circleci/",
    ];
    let words = [
        "compose",
        "k8s",
        "kube",
        "deploy",
        "manifests",
        "chart",
        "helm",
        "overlays",
    ];
    directories
        .iter()
        .any(|directory| path.starts_with(directory))
        || words.iter().any(|word| path.contains(word))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherOwner => "another owner's",
            Self::Placeholder => "its digest is a placeholder",
            Self::OtherTags => "its tags name no commit, those of the set do",
        })
    }
}

#[cfg(test)]
mod tests;
