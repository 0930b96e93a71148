//! Compares listings of a package.
//!
//! Before the first deletion, a change that affects a planned or protected version refuses the run.
//! After the last deletion, missing protected versions are reported, no matter which process
//! removed them.

use std::collections::{HashMap, HashSet};

use super::{
    Dangling, ImageProtection, Listing, Plan, PrunableVersion, Rules, Version,
    judge::judge_selected,
};
use crate::{
    base::error::{Class, Code, Error},
    oci::{Digest, Tag},
};

/// Refuses a change since the listing `first` that affects a planned or protected version, and a new
/// version that depends on a planned one.
pub(super) fn check_unchanged(
    plan: &Plan,
    first: &Listing,
    current: &Listing,
    protection: ImageProtection<'_>,
    rules: &Rules<'_>,
) -> Result<(), Error> {
    let versions = by_digest(current);
    let tags = by_tag(current);
    check_dangling_tags(plan, first, current)?;
    for version in plan.keep() {
        match versions.get(&version.digest) {
            Some(found) if found.tags == version.tags => {}
            Some(found) => return Err(retagged("protected version", version, &found.tags)),
            None => {
                let message = format!("the protected version {} is gone", version.digest);
                return Err(changed(message));
            }
        }
    }
    for PrunableVersion { version, .. } in plan.order() {
        match versions.get(&version.digest) {
            Some(found) if found.tags == version.tags => {}
            Some(found) => return Err(retagged("version", version, &found.tags)),
            None => {
                for tag in &version.tags {
                    if let Some(other) = tags.get(tag) {
                        return Err(changed(format!("{tag} now resolves to {other}")));
                    }
                }
            }
        }
    }
    // Only planned versions are deleted: every other candidate of this listing and its dependencies
    // stay.
    let planned: HashSet<Digest> = plan
        .order()
        .iter()
        .map(|candidate| candidate.version.digest)
        .collect();
    let verdict = judge_selected(current, protection, rules, |digest| {
        planned.contains(digest)
    });
    if let Some(refusal) = verdict.refusal {
        return Err(refusal);
    }
    let candidates: HashSet<Digest> = verdict
        .candidates
        .iter()
        .map(|candidate| candidate.version.digest)
        .collect();
    for PrunableVersion { version, .. } in plan.order() {
        let digest = version.digest;
        if versions.contains_key(&digest) && !candidates.contains(&digest) {
            let reason = verdict
                .protected
                .iter()
                .find(|protected| protected.version.digest == digest)
                .map_or_else(
                    || "too young".to_owned(),
                    |protected| protected.reason.to_string(),
                );
            return Err(changed(format!("{digest} is protected now: {reason}")));
        }
    }
    Ok(())
}

/// Refuses a tag that became dangling between the listings, unless the plan deletes its version.
fn check_dangling_tags(plan: &Plan, first: &Listing, current: &Listing) -> Result<(), Error> {
    for Dangling { tag, .. } in &current.dangling {
        let was_dangling = first.dangling.iter().any(|dangling| dangling.tag == *tag);
        let is_planned = plan
            .order()
            .iter()
            .any(|candidate| candidate.version.tags.contains(tag));
        if !was_dangling && !is_planned {
            return Err(changed(format!(
                "the registry lists tag {tag}, but its manifest is now missing"
            )));
        }
    }
    Ok(())
}

fn retagged(subject: &str, version: &Version, current: &[Tag]) -> Error {
    let digest = version.digest;
    changed(format!(
        "the tags of the {subject} {digest} were {} and are {}",
        join(&version.tags),
        join(current)
    ))
}

fn join(tags: &[Tag]) -> String {
    if tags.is_empty() {
        return "none".to_owned();
    }
    let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
    tags.join(", ")
}

fn changed(change: impl std::fmt::Display) -> Error {
    let message = format!("the package changed since it was listed: {change}");
    Error::new(Class::Unavailable, Code::CHANGED, message)
        .help("run prune again when nothing is being pushed or tagged")
}

/// The unexpected differences after the last deletion.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// The missing protected versions, and the deleted versions that a remaining one needs.
    pub(super) missing: Vec<Version>,
    /// The missing tags that no deleted version had, except pending tags of unprotected versions.
    pub(super) lost_tags: Vec<Tag>,
    /// The deleted versions that still exist.
    pub(super) remaining: HashSet<Digest>,
    /// The first other difference.
    pub(super) error: Option<Error>,
}

/// Compares the listings `before` the first and `after` the last deletion. `requested` are the versions
/// that were or may have been deleted; `deleted_elsewhere` those that another process deleted.
pub(super) fn compare(
    plan: &Plan,
    before: &Listing,
    after: &Listing,
    rules: &Rules<'_>,
    requested: &[PrunableVersion],
    deleted_elsewhere: &[PrunableVersion],
) -> Differences {
    let versions = by_digest(after);
    let tags = by_tag(after);
    let mut differences = Differences::default();
    let mut protected = HashSet::new();
    for version in plan.keep() {
        protected.insert(version.digest);
        match versions.get(&version.digest) {
            Some(found) if found.tags == version.tags => {}
            Some(found) => {
                let error = retagged("protected version", version, &found.tags);
                differences.error.get_or_insert(error);
            }
            None => differences.missing.push(version.clone()),
        }
    }
    let deleted: HashSet<Digest> = requested
        .iter()
        .chain(deleted_elsewhere)
        .map(|candidate| candidate.version.digest)
        .collect();
    for version in &before.versions {
        if deleted.contains(&version.digest) {
            continue;
        }
        for tag in version.tags.iter().filter(|tag| !tags.contains_key(tag)) {
            if protected.contains(&version.digest) || !rules.prune.tags.is_match(tag.as_str()) {
                differences.lost_tags.push(tag.clone());
            } else {
                let error = changed(format!("the tag {tag} of {} is gone", version.digest));
                differences.error.get_or_insert(error);
            }
        }
    }
    let needed = entries(after);
    for PrunableVersion { version, .. } in requested {
        match versions.get(&version.digest) {
            // A version that was pushed again has a new ID.
            Some(found) if found.id == version.id => {
                differences.remaining.insert(version.digest);
            }
            None if needed.contains(&version.digest) => differences.missing.push(version.clone()),
            Some(_) | None => {}
        }
    }
    differences
}

/// The direct and indirect entries of all versions, without attestations.
fn entries(listing: &Listing) -> HashSet<Digest> {
    let mut pending: Vec<Digest> = listing
        .versions
        .iter()
        .map(|version| version.digest)
        .collect();
    let mut seen = HashSet::new();
    while let Some(digest) = pending.pop() {
        for child in listing.children(digest) {
            if !child.is_attestation && seen.insert(child.digest) {
                pending.push(child.digest);
            }
        }
    }
    seen
}

fn by_digest(listing: &Listing) -> HashMap<Digest, &Version> {
    listing
        .versions
        .iter()
        .map(|version| (version.digest, version))
        .collect()
}

fn by_tag(listing: &Listing) -> HashMap<&Tag, Digest> {
    let mut digests = HashMap::new();
    for version in &listing.versions {
        digests.extend(version.tags.iter().map(|tag| (tag, version.digest)));
    }
    digests
}

#[cfg(test)]
mod tests;
