//! Guesses which pinned repositories are one set, from their owners, tags and files.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use super::{
    PinnedRepository,
    tag_forms::{GuessedForm, common_form},
};
use crate::oci::{Digest, Repository};

/// Repositories of one owner in one registry that may be a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Registry and owner, such as `ghcr.io/acme`.
    pub owner: String,
    /// The indexes of its repositories, sorted.
    pub members: Vec<usize>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Guess {
    /// The groups, the likeliest first; none is empty.
    pub groups: Vec<Group>,
    /// Whether the first one needs no confirmation.
    pub sure: bool,
    /// Repositories that belong to no group, with the reason.
    pub apart: Vec<(usize, Reason)>,
}

/// A reason to exclude a pinned repository from the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The images of the set have another owner.
    OtherOwner,
    /// All of its digests repeat one digit: an example.
    Placeholder,
    /// Its tags have another form than those of the owner's other images, which contain a commit.
    OtherTags,
    /// It is an artifact other than an image, such as a Helm chart.
    OtherArtifact,
}

/// Guesses the groups; `owner` is the owner of the git repository's remote.
pub(crate) fn guess(repositories: &[PinnedRepository], owner: Option<&str>) -> Guess {
    let mut guess = Guess::default();
    let mut owners: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, one) in repositories
        .iter()
        .enumerate()
        .filter(|(_, one)| !one.pins.is_empty())
    {
        if one.pins.iter().all(|pin| is_placeholder(&pin.item.digest)) {
            guess.apart.push((at, Reason::Placeholder));
        } else {
            owners
                .entry(owner_of(&one.repository))
                .or_default()
                .push(at);
        }
    }
    for (owner, mut members) in owners {
        if members.iter().any(|&at| has_commit_tags(&repositories[at])) {
            let odd =
                |at: usize| has_tags(&repositories[at]) && !has_commit_tags(&repositories[at]);
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
            Reverse(Likelihood::of(group, repositories, owner)),
            group.owner.clone(),
        )
    });
    guess.sure = match guess.groups.as_slice() {
        [] => false,
        [only] => owner.is_none() || is_owners(only, owner),
        [first, second, ..] => is_owners(first, owner) && !is_owners(second, owner),
    };
    guess
}

/// Whether the tags of a repository contain a commit.
fn has_commit_tags(repository: &PinnedRepository) -> bool {
    match common_form([repository]) {
        Some(GuessedForm::Commit { .. }) => true,
        Some(GuessedForm::Abbreviated { before, after, .. }) => {
            before == "sha-" && after.is_empty()
        }
        Some(GuessedForm::Version { .. }) | None => false,
    }
}

fn has_tags(repository: &PinnedRepository) -> bool {
    repository.pins.iter().any(|pin| pin.item.tag.is_some())
}

/// Whether a digest repeats one digit, as no hash does.
fn is_placeholder(digest: &Digest) -> bool {
    let text = digest.to_string();
    let mut digits = text.bytes().rev().take(64);
    let last = digits.next();
    digits.all(|digit| Some(digit) == last)
}

/// The registry and the first part of the path; only the registry if the path has one part.
pub(in crate::core::pins) fn owner_of(repository: &Repository) -> String {
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

/// A larger value is likelier: the remote's owner, not an official image, tags with revisions, pins in
/// files that start containers, more repositories, more pins.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Likelihood {
    signs: [bool; 4],
    repositories: usize,
    pins: usize,
}

impl Likelihood {
    fn of(group: &Group, repositories: &[PinnedRepository], owner: Option<&str>) -> Self {
        let members = || group.members.iter().map(|&at| &repositories[at]);
        let pins = || members().flat_map(|one| &one.pins);
        Self {
            signs: [
                is_owners(group, owner),
                group.owner != "docker.io/library",
                members().any(has_commit_tags),
                pins().any(|pin| starts_containers(pin.file.as_bytes())),
            ],
            repositories: group.members.len(),
            pins: pins().count(),
        }
    }
}

/// Whether a file starts containers, by its name.
fn starts_containers(path: &[u8]) -> bool {
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
            Self::OtherTags => "its tags have another form than those of the set",
            Self::OtherArtifact => "an artifact other than an image",
        })
    }
}

#[cfg(test)]
mod tests;
