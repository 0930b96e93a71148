//! The changes of a package between two listings, and whether a deletion may continue or succeeded.
//!
//! Pure: listings in, a refusal or a finding out. Before the first deletion any difference that
//! touches what is deleted or protected stops the run; afterwards whatever is protected and missing
//! is reported, whoever removed it.

use std::collections::{HashMap, HashSet};

use super::{Candidate, Guards, Listing, Plan, Rules, Version, judge::judge_some};
use crate::{
    code::Code,
    error::{Class, Error},
    oci::{Digest, Tag},
};

/// Refuses where the listing `now` differs from `first` in what the plan deletes or protects, or
/// where something that is new needs what the plan deletes.
pub(super) fn unchanged(
    plan: &Plan,
    first: &Listing,
    now: &Listing,
    guards: &Guards,
    rules: &Rules<'_>,
) -> Result<(), Error> {
    let here = by_digest(now);
    let names = by_tag(now);
    lost_manifests(plan, first, now)?;
    for version in plan.keep() {
        match here.get(&version.digest) {
            Some(found) if found.tags == version.tags => {}
            Some(found) => return Err(retagged("protected version", version, &found.tags)),
            None => {
                let message = format!("the protected version {} is gone", version.digest);
                return Err(changed(message));
            }
        }
    }
    for Candidate { version, .. } in plan.order() {
        match here.get(&version.digest) {
            Some(found) if found.tags == version.tags => {}
            Some(found) => return Err(retagged("version", version, &found.tags)),
            None => {
                let moved = version
                    .tags
                    .iter()
                    .find_map(|tag| Some((tag, names.get(tag)?)));
                if let Some((tag, other)) = moved {
                    return Err(changed(format!("{tag} now resolves to {other}")));
                }
            }
        }
    }
    // Only the plan is deleted: every other candidate of this listing is kept and needs its parts.
    let planned: HashSet<Digest> = plan
        .order()
        .iter()
        .map(|candidate| candidate.version.digest)
        .collect();
    let judged = judge_some(now, guards, rules, |digest| planned.contains(digest));
    if let Some(refusal) = judged.refusal {
        return Err(refusal);
    }
    let still: HashSet<Digest> = judged
        .candidates
        .iter()
        .map(|candidate| candidate.version.digest)
        .collect();
    let needed = plan
        .order()
        .iter()
        .map(|candidate| candidate.version.digest)
        .find(|digest| here.contains_key(digest) && !still.contains(digest));
    let Some(digest) = needed else { return Ok(()) };
    let reason = judged
        .protected
        .iter()
        .find(|protected| protected.version.digest == digest)
        .map_or_else(|| "too young".to_owned(), |kept| kept.reason.to_string());
    Err(changed(format!("{digest} is protected now: {reason}")))
}

/// A tag whose manifest went missing between the listings, other than by a deletion of what the
/// plan deletes anyway.
fn lost_manifests(plan: &Plan, first: &Listing, now: &Listing) -> Result<(), Error> {
    let known = |tag: &Tag| {
        let going = |candidate: &Candidate| candidate.version.tags.contains(tag);
        first.dangling.iter().any(|dangling| dangling.tag == *tag) || plan.order().iter().any(going)
    };
    match now.dangling.iter().find(|dangling| !known(&dangling.tag)) {
        None => Ok(()),
        Some(dangling) => Err(changed(format!(
            "the registry lists tag {}, but its manifest is now missing",
            dangling.tag
        ))),
    }
}

fn retagged(what: &str, version: &Version, now: &[Tag]) -> Error {
    let tags = |tags: &[Tag]| {
        let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
        if tags.is_empty() {
            "none".to_owned()
        } else {
            tags.join(", ")
        }
    };
    let digest = version.digest;
    changed(format!(
        "the tags of the {what} {digest} were {} and are {}",
        tags(&version.tags),
        tags(now)
    ))
}

fn changed(what: impl std::fmt::Display) -> Error {
    let message = format!("the package changed since it was listed: {what}");
    Error::new(Class::Unavailable, Code::CHANGED, message)
        .help("run prune again when nothing is being pushed or tagged")
}

/// The findings of the listing after the last deletion.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// Protected versions that are missing, and deleted ones that something needs.
    pub(super) missing: Vec<Version>,
    /// Tags that are gone although no deleted version had them, and that are no pending tags of an
    /// unprotected version.
    pub(super) lost_tags: Vec<Tag>,
    /// Deleted versions that are still there.
    pub(super) still: HashSet<Digest>,
    /// Any other surprise.
    pub(super) surprise: Option<Error>,
}

/// Compares the listing `after` the last deletion with the one `before` the first. `asked`: what
/// was deleted, or may have been; `gone`: what another process had deleted before.
pub(super) fn finding(
    plan: &Plan,
    before: &Listing,
    after: &Listing,
    rules: &Rules<'_>,
    asked: &[Candidate],
    gone: &[Candidate],
) -> Finding {
    let here = by_digest(after);
    let names = by_tag(after);
    let mut finding = Finding::default();
    for version in plan.keep() {
        match here.get(&version.digest) {
            Some(found) if found.tags == version.tags => {}
            Some(found) => {
                let reason = retagged("protected version", version, &found.tags);
                finding.surprise.get_or_insert(reason);
            }
            None => finding.missing.push(version.clone()),
        }
    }
    let removed = |version: &Version| {
        let same = |candidate: &Candidate| candidate.version.digest == version.digest;
        asked.iter().any(same) || gone.iter().any(same)
    };
    let protected: HashSet<Digest> = plan.keep().iter().map(|version| version.digest).collect();
    for version in before.versions.iter().filter(|version| !removed(version)) {
        for tag in version.tags.iter().filter(|tag| !names.contains_key(tag)) {
            if protected.contains(&version.digest) || !rules.prune.tags.is_match(tag.as_str()) {
                finding.lost_tags.push(tag.clone());
            } else {
                let reason = changed(format!("the tag {tag} of {} is gone", version.digest));
                finding.surprise.get_or_insert(reason);
            }
        }
    }
    for Candidate { version, .. } in asked {
        // A version that was pushed again has another number.
        let there = here.get(&version.digest);
        if there.is_some_and(|found| found.id == version.id) {
            finding.still.insert(version.digest);
        }
    }
    let needed = needed(after);
    for Candidate { version, .. } in asked {
        if needed.contains(&version.digest) && !here.contains_key(&version.digest) {
            finding.missing.push(version.clone());
        }
    }
    finding
}

/// Everything that a version of the listing consists of.
fn needed(listing: &Listing) -> HashSet<Digest> {
    let mut open: Vec<Digest> = listing
        .versions
        .iter()
        .map(|version| version.digest)
        .collect();
    let mut seen = HashSet::new();
    while let Some(digest) = open.pop() {
        let children = listing.nodes.get(&digest).into_iter();
        let children = children.flat_map(|node| &node.children);
        for child in children.filter(|child| !child.attestation) {
            if seen.insert(child.digest) {
                open.push(child.digest);
            }
        }
    }
    seen
}

fn by_digest(listing: &Listing) -> HashMap<Digest, &Version> {
    let versions = listing.versions.iter();
    versions.map(|version| (version.digest, version)).collect()
}

fn by_tag(listing: &Listing) -> HashMap<&Tag, Digest> {
    let mut names = HashMap::new();
    for version in &listing.versions {
        names.extend(version.tags.iter().map(|tag| (tag, version.digest)));
    }
    names
}

#[cfg(test)]
mod tests;
