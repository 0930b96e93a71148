//! The states of builds, compared with the current set, the history and the open pull requests.

use std::collections::HashMap;

use super::{BuildImage, ImageTime, ReadBuild};
use crate::{
    config::Config,
    history::{self, Digests, History, HistoryEntry, Hold},
    oci::Revision,
    text::words,
    untrusted::plain,
};

words! {
    /// The state of a build: the first that applies.
    pub(crate) enum State {
        /// The set is pinned now.
        Current = "current",
        /// A rollback undid the set.
        Held = "held",
        /// An image is missing or cannot be read.
        Incomplete = "incomplete",
        /// An open pull request promotes the set.
        Proposed = "proposed",
        /// The build is older than the current set.
        Older = "older",
        /// Every image has a tag. Nothing was verified.
        Available = "available",
    }
}

/// An open pull request that promotes a set.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub number: u64,
    pub revision: Revision,
}

/// The facts about the set with which builds are compared.
pub(crate) struct SetFacts<'f> {
    pub config: &'f Config,
    /// The revision of the current set, if it is recorded or in the labels of its images.
    pub current: Option<&'f Revision>,
    /// The pinned digest of each image.
    pub pinned: &'f Digests,
    /// `None` if there is no history.
    pub history: Option<&'f History>,
    pub proposals: &'f [Proposal],
}

/// The state of a build, with its detail, without a comparison of its age.
pub(crate) fn state(build: &ReadBuild, facts: &SetFacts<'_>) -> (State, String) {
    let digests = digests(build, facts.config);
    if is_current(build, facts) {
        return (State::Current, String::new());
    }
    if let Some(Hold::Held { rollback }) = hold(build, &digests, facts) {
        return held(rollback);
    }
    if let Some(detail) = obstacle(build, facts.config) {
        return (State::Incomplete, detail);
    }
    if let Some(proposal) = proposal(build, facts) {
        return (State::Proposed, format!("#{}", proposal.number));
    }
    (State::Available, String::new())
}

/// The state of a build that a rollback undid.
pub(crate) fn held(rollback: &HistoryEntry) -> (State, String) {
    let day = rollback.date.chars().take(10).collect::<String>();
    let commit = rollback.commit.short();
    let detail = format!("rolled back by commit {commit} on {day}");
    (State::Held, detail)
}

/// The open pull request that promotes a build.
pub(crate) fn proposal<'f>(build: &ReadBuild, facts: &SetFacts<'f>) -> Option<&'f Proposal> {
    let revision = build.revision.as_ref()?;
    let mut proposals = facts.proposals.iter();
    proposals.find(|proposal| proposal.revision == *revision)
}

/// The digests of the images that must be pinned.
fn digests(build: &ReadBuild, config: &Config) -> Digests {
    let mut digests = Digests::new();
    for (image, read) in config.images.iter().zip(&build.images) {
        if let Some(read) = read.read()
            && image.pins > 0
        {
            digests.insert(image.name.clone(), read.digest);
        }
    }
    digests
}

/// Whether the set of a build is pinned now.
pub(crate) fn is_current(build: &ReadBuild, facts: &SetFacts<'_>) -> bool {
    let digests = digests(build, facts.config);
    if facts.current.is_some() && facts.current == build.revision.as_ref() {
        return true;
    }
    let pinned = facts.config.images.iter().filter(|image| image.pins > 0);
    digests.len() == pinned.count() && !digests.is_empty() && digests == *facts.pinned
}

fn hold<'f>(build: &ReadBuild, digests: &Digests, facts: &SetFacts<'f>) -> Option<Hold<'f>> {
    let history = facts.history?;
    let by_revision = build.revision.as_ref().map(|name| history.hold(name));
    Some(match by_revision {
        Some(hold @ Hold::Held { .. }) => hold,
        _ => history.hold_of_set(digests),
    })
}

/// The reason that a build cannot be promoted.
fn obstacle(build: &ReadBuild, config: &Config) -> Option<String> {
    let (mut missing, mut others) = (Vec::new(), Vec::new());
    for (image, read) in config.images.iter().zip(&build.images) {
        let name = format!("`{}`", image.name);
        match read {
            BuildImage::Missing => missing.push(name),
            BuildImage::Ambiguous(count) => {
                others.push(format!("{count} tags of {name} have this revision"));
            }
            BuildImage::Unreadable(..) => others.push(format!("{name} cannot be read")),
            BuildImage::Read(..) => {}
        }
    }
    let mut obstacles = Vec::new();
    match missing.as_slice() {
        [] => {}
        [name] => obstacles.push(format!("{name} is missing")),
        names => obstacles.push(format!("{} are missing", names.join(", "))),
    }
    obstacles.extend(others);
    if obstacles.is_empty() && build.revision.is_none() {
        obstacles.push(format!(
            "the label {} does not contain one revision for all images",
            plain(&config.revision.label)
        ));
    }
    (!obstacles.is_empty()).then(|| obstacles.join("; "))
}

/// Whether every changed image was created, or pushed, before the pinned one. `times`: those of the
/// pinned images, by name.
pub(crate) fn is_created_before(
    build: &ReadBuild,
    facts: &SetFacts<'_>,
    times: &HashMap<String, ImageTime>,
) -> Option<bool> {
    let mut compared = Vec::new();
    for (image, read) in facts.config.images.iter().zip(&build.images) {
        let new = read.read()?;
        if image.pins == 0 || facts.pinned.get(&image.name) == Some(&new.digest) {
            continue;
        }
        compared.push(match (new.time?, *times.get(&image.name)?) {
            (ImageTime::Created(new), ImageTime::Created(old))
            | (ImageTime::Pushed(new), ImageTime::Pushed(old)) => [Some(new), Some(old)],
            _ => return None,
        });
    }
    history::is_created_before(compared)
}
