//! Decides which versions may be deleted, which are protected, and whether the package may be changed.
//!
//! The decision is a pure function of the listing, the protection and the rules. In case of doubt, a
//! version and its dependencies are protected. Any doubt about the listing refuses the whole
//! package.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use super::{
    ImageProtection, KeepReason, Listing, PackageVerdict, Protected, PrunableVersion, Rules,
    TagReason, Version, Warning,
    age::{Age, age},
    listing,
};
use crate::{
    base::{
        error::{Class, Code, Error},
        text::counted,
    },
    config::{COMMIT_TAGS, Prune},
    oci::{Digest, Tag, date},
};

/// The maximum difference between the clocks, and between a date and the clocks.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// The minimum number of versions that makes equal dates unreliable.
pub(super) const MIN_EQUAL_DATES: usize = 3;

/// The status of a version by its digest and tags.
enum VersionStatus {
    Protected(KeepReason),
    /// The retention rules do not apply.
    Unaffected,
    Eligible,
}

/// The reason why a tag must remain; `None` if it is pending and unprotected.
fn tag_reason(tag: &Tag, protection: ImageProtection<'_>, prune: &Prune) -> Option<TagReason> {
    let matches = |pattern: &regex::Regex| pattern.is_match(tag.as_str());
    protection.tag_reason(tag).or_else(|| {
        let protecting = prune.protect.iter().find(|pattern| matches(pattern));
        if let Some(pattern) = protecting {
            Some(if pattern.as_str() == COMMIT_TAGS {
                TagReason::CommitId
            } else {
                TagReason::Pattern
            })
        } else if !matches(&prune.tags) {
            Some(TagReason::NotPending)
        } else {
            None
        }
    })
}

/// The evidence that keeps an image with this tag, apart from that of other versions and of its age.
pub(crate) fn evidence(
    digest: Digest,
    tag: &Tag,
    protection: ImageProtection<'_>,
    prune: &Prune,
) -> Option<KeepReason> {
    if let Some(reason) = protection.digest_reason(digest) {
        return Some(reason);
    }
    let reason = tag_reason(tag, protection, prune)?;
    Some(KeepReason::Tag(tag.clone(), reason))
}

/// The reason that protects a digest, by itself or by its config: a container engine may report either as the image
/// that runs.
fn digest_reason(
    listing: &Listing,
    digest: Digest,
    protection: ImageProtection<'_>,
) -> Option<KeepReason> {
    let config = || listing.nodes.get(&digest)?.config;
    let reason = protection.digest_reason(digest);
    reason.or_else(|| protection.digest_reason(config()?))
}

fn classify(
    listing: &Listing,
    version: &Version,
    protection: ImageProtection<'_>,
    prune: &Prune,
) -> VersionStatus {
    if let Some(reason) = digest_reason(listing, version.digest, protection) {
        return VersionStatus::Protected(reason);
    }
    // Its last tag was deleted as that of a candidate.
    let mut pending = listing.unfinished.contains(&version.digest) && version.tags.is_empty();
    let mut other = None;
    for tag in &version.tags {
        match tag_reason(tag, protection, prune) {
            None => pending = true,
            Some(TagReason::NotPending) => other = other.or(Some(tag)),
            Some(reason) => {
                return VersionStatus::Protected(KeepReason::Tag(tag.clone(), reason));
            }
        }
    }
    match other {
        Some(tag) if pending => VersionStatus::Protected(KeepReason::OtherTag(tag.clone())),
        None if pending || prune.untagged => VersionStatus::Eligible,
        _ => VersionStatus::Unaffected,
    }
}

/// Refuses the run for a dangling tag that must remain.
fn check_dangling(
    listing: &Listing,
    protection: ImageProtection<'_>,
    prune: &Prune,
) -> Option<Error> {
    let (tag, reason) = listing.dangling.iter().find_map(|dangling| {
        let tag = &dangling.tag;
        Some((tag, tag_reason(tag, protection, prune)?))
    })?;
    let message = format!(
        "tag {tag} is dangling: the registry lists it, but its manifest is missing, and it {reason}"
    );
    let hint = format!("push {tag} again from where it was built, or remove the tag");
    Some(Error::new(Class::Unavailable, Code::TAG_DANGLING, message).help(hint))
}

/// Whether a version may be a candidate, regardless of its age and its references.
pub(crate) fn is_eligible(
    listing: &Listing,
    version: &Version,
    protection: ImageProtection<'_>,
    prune: &Prune,
) -> bool {
    matches!(
        classify(listing, version, protection, prune),
        VersionStatus::Eligible
    )
}

/// Decides which versions of a package may be deleted.
pub(crate) fn judge(
    listing: &Listing,
    protection: ImageProtection<'_>,
    rules: &Rules<'_>,
) -> PackageVerdict {
    judge_selected(listing, protection, rules, |_| true)
}

/// Decides like [`judge`], and protects every version that `may_delete` rejects.
pub(super) fn judge_selected(
    listing: &Listing,
    protection: ImageProtection<'_>,
    rules: &Rules<'_>,
    may_delete: impl Fn(&Digest) -> bool,
) -> PackageVerdict {
    let mut protections = Protections::new(listing);
    let (mut mixed, mut young) = (0, Vec::new());
    let (mut candidates, mut undated) = (HashMap::new(), HashMap::new());
    for (index, version) in listing.versions.iter().enumerate() {
        match classify(listing, version, protection, rules.prune) {
            VersionStatus::Protected(reason) => {
                mixed += usize::from(matches!(reason, KeepReason::OtherTag(_)));
                protections.reasons.insert(index, reason);
            }
            VersionStatus::Unaffected => {}
            VersionStatus::Eligible if !may_delete(&version.digest) => {}
            VersionStatus::Eligible => match age(listing, version.digest, rules) {
                Age::Young => young.push(index),
                Age::Unknown(reason) => {
                    undated.insert(index, reason);
                }
                Age::Old(created, age) => {
                    if let Some(reason) = listing.kept.get(&version.digest) {
                        protections.reasons.insert(index, reason.clone());
                    } else {
                        let candidate = PrunableVersion::new(version, created, age);
                        candidates.insert(index, candidate);
                    }
                }
            },
        }
    }
    let mut roots: Vec<Digest> = Vec::new();
    for (index, version) in listing.versions.iter().enumerate() {
        if !candidates.contains_key(&index) {
            roots.push(version.digest);
        }
    }
    roots.extend(protection.pinned());
    roots.extend(
        protections
            .referenced_digests()
            .filter(|digest| protection.is_mentioned(*digest)),
    );
    roots.extend(protections.add_parents(protection));
    protections.add_dependencies(roots);
    // What needs a version is known without its dates, which only the user's cache may have.
    for (index, reason) in undated {
        protections.reasons.entry(index).or_insert(reason);
    }
    candidates.retain(|index, _| !protections.reasons.contains_key(index));
    young.retain(|index| !protections.reasons.contains_key(index));
    let incomplete = if candidates.is_empty() {
        None
    } else {
        incomplete_listing(listing)
    };
    let mut candidates: Vec<_> = candidates.into_values().collect();
    // The oldest first; the digest makes the order deterministic.
    candidates.sort_by_key(|candidate| (candidate.created, candidate.version.digest));
    let refusal = incomplete
        .or_else(|| check_dangling(listing, protection, rules.prune))
        .or_else(|| check_clocks(listing))
        .or_else(|| check_dates(listing))
        .or_else(|| check_duplicates(listing))
        .or_else(|| check_pins(listing, protection))
        .or_else(|| check_limit(candidates.len(), rules.limit));
    PackageVerdict {
        listed: listing.versions.len(),
        candidates,
        protected: protections.into_protected(),
        mixed,
        young: young.len(),
        warnings: [listing::warnings(listing), missing_tags_warning(listing)].concat(),
        refusal,
    }
}

/// The versions that evidence protects, also that of the registry, with their parts and referrers, whatever `tags` and the age of
/// candidates are: other policies must not delete them.
pub(crate) fn protected(
    listing: &Listing,
    protection: ImageProtection<'_>,
    prune: &Prune,
) -> Vec<Protected> {
    let mut protections = Protections::new(listing);
    let mut roots: Vec<Digest> = protection.pinned().into_iter().collect();
    for (index, version) in listing.versions.iter().enumerate() {
        // Another tag on the same digest is no evidence that the version is in use.
        if let VersionStatus::Protected(reason) = classify(listing, version, protection, prune)
            && !matches!(reason, KeepReason::OtherTag(_))
        {
            protections.reasons.insert(index, reason);
            roots.push(version.digest);
        }
    }
    roots.extend(
        protections
            .referenced_digests()
            .filter(|digest| protection.is_mentioned(*digest)),
    );
    roots.extend(protections.add_parents(protection));
    protections.add_dependencies(roots.clone());
    roots.extend(protections.add_kept());
    let unlisted = protections.unlisted_parts(&roots);
    let mut protected = protections.into_protected();
    protected.extend(unlisted);
    protected
}

/// An error if the references of a version or an index are unknown.
fn incomplete_listing(listing: &Listing) -> Option<Error> {
    let unread = listing
        .versions
        .iter()
        .map(|version| version.digest)
        .find(|digest| !listing.nodes.contains_key(digest))
        .or_else(|| listing.unread_indexes().first().copied())?;
    let message = format!("the listing is incomplete: the references of {unread} are unknown");
    Some(Error::new(Class::Unavailable, Code::LISTING, message).help("run the command again"))
}

/// The protected versions, with their reasons.
struct Protections<'l> {
    listing: &'l Listing,
    indexes: HashMap<Digest, usize>,
    /// The versions that refer to a digest.
    referrers: HashMap<Digest, Vec<usize>>,
    reasons: HashMap<usize, KeepReason>,
}

impl<'l> Protections<'l> {
    fn new(listing: &'l Listing) -> Self {
        let mut indexes = HashMap::new();
        let mut referrers: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (index, version) in listing.versions.iter().enumerate() {
            indexes.insert(version.digest, index);
            let node = listing.nodes.get(&version.digest);
            let subject = node.and_then(|node| node.subject);
            for subject in version.tag_subjects().chain(subject) {
                referrers.entry(subject).or_default().push(index);
            }
        }
        Self {
            listing,
            indexes,
            referrers,
            reasons: HashMap::new(),
        }
    }

    /// The digests with known references or referrers.
    fn referenced_digests(&self) -> impl Iterator<Item = Digest> {
        let nodes = self.listing.nodes.keys();
        nodes.chain(self.referrers.keys()).copied()
    }

    /// Protects the direct and indirect parents and subjects of the digests that are pinned or mentioned, and returns
    /// them.
    ///
    /// The garbage collection of a registry may delete a manifest without a tag as soon as no index
    /// contains it, or its subject is gone.
    fn add_parents(&mut self, protection: ImageProtection<'_>) -> Vec<Digest> {
        // Sorted, so that the reasons are the same in each run.
        let mut parents: BTreeMap<Digest, BTreeMap<Digest, KeepReason>> = BTreeMap::new();
        for (digest, node) in &self.listing.nodes {
            for child in &node.children {
                let of_child = parents.entry(child.digest).or_default();
                of_child.insert(*digest, KeepReason::Parent(child.digest));
            }
        }
        for (subject, indexes) in &self.referrers {
            for index in indexes {
                let referrer = self.listing.versions[*index].digest;
                let of_referrer = parents.entry(referrer).or_default();
                of_referrer.insert(*subject, KeepReason::Subject(referrer));
            }
        }
        let mut pending: Vec<Digest> = parents.keys().copied().collect();
        pending.retain(|digest| digest_reason(self.listing, *digest, protection).is_some());
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        while let Some(digest) = pending.pop() {
            for (parent, reason) in parents.get(&digest).into_iter().flatten() {
                if let Some(index) = self.indexes.get(parent) {
                    self.reasons.entry(*index).or_insert_with(|| reason.clone());
                }
                if seen.insert(*parent) {
                    found.push(*parent);
                    pending.push(*parent);
                }
            }
        }
        found
    }

    /// Protects the direct and indirect entries and referrers of the protected digests.
    fn add_dependencies(&mut self, mut kept: Vec<Digest>) {
        let mut seen: HashSet<Digest> = kept.iter().copied().collect();
        while let Some(digest) = kept.pop() {
            for child in self.listing.children(digest) {
                if let Some(index) = self.indexes.get(&child.digest) {
                    self.reasons
                        .entry(*index)
                        .or_insert(KeepReason::IndexEntry(digest));
                }
                if seen.insert(child.digest) {
                    kept.push(child.digest);
                }
            }
            for index in self.referrers.get(&digest).into_iter().flatten() {
                self.reasons
                    .entry(*index)
                    .or_insert(KeepReason::Referrer(digest));
                let referrer = self.listing.versions[*index].digest;
                if seen.insert(referrer) {
                    kept.push(referrer);
                }
            }
        }
    }

    /// Protects the versions that the registry knows to be in use with their dependencies, and returns them. An index
    /// comes before its platforms, which are pulled with it.
    fn add_kept(&mut self) -> Vec<Digest> {
        let (listing, mut kept) = (self.listing, Vec::new());
        for (digest, reason) in &listing.kept {
            let index = self.indexes.get(digest).copied();
            kept.extend(index.map(|index| (index, *digest, reason)));
        }
        kept.sort_by_key(|(index, digest, _)| (Reverse(listing.parts(*digest).len()), *index));
        for (index, digest, reason) in &kept {
            if !self.reasons.contains_key(index) {
                self.reasons.insert(*index, (*reason).clone());
                self.add_dependencies(vec![*digest]);
            }
        }
        kept.into_iter().map(|(_, digest, _)| digest).collect()
    }

    /// The direct and indirect entries of `roots` that are no versions, in order.
    fn unlisted_parts(&self, roots: &[Digest]) -> Vec<Protected> {
        let mut parts = BTreeMap::new();
        for root in roots {
            for part in self.listing.parts(*root) {
                if !self.indexes.contains_key(&part) {
                    parts.entry(part).or_insert(*root);
                }
            }
        }
        let protected = |(digest, index)| Protected {
            version: Version {
                id: None,
                digest,
                tags: Vec::new(),
            },
            reason: KeepReason::IndexEntry(index),
        };
        parts.into_iter().map(protected).collect()
    }

    /// The protected versions in the order of the listing.
    fn into_protected(self) -> Vec<Protected> {
        let mut reasons: Vec<_> = self.reasons.into_iter().collect();
        reasons.sort_by_key(|(index, _)| *index);
        reasons
            .into_iter()
            .map(|(index, reason)| Protected {
                version: self.listing.versions[index].clone(),
                reason,
            })
            .collect()
    }
}

/// A warning if versions exist but no tag is listed.
fn missing_tags_warning(listing: &Listing) -> Vec<Warning> {
    let versions = &listing.versions;
    if versions.is_empty() || versions.iter().any(|version| !version.tags.is_empty()) {
        return Vec::new();
    }
    vec![Warning {
        code: Code::TAGS_MISSING,
        detail: "the registry lists no tag, although versions exist, so no build could be found; \
             check that the token may list tags"
            .to_owned(),
    }]
}

fn check_clocks(listing: &Listing) -> Option<Error> {
    let difference = listing.clock.difference()?;
    if difference <= CLOCK_TOLERANCE {
        return None;
    }
    let message = format!(
        "the local clock and the server's differ by {} s",
        difference.as_secs()
    );
    Some(
        Error::new(Class::Unavailable, Code::CLOCK, message)
            .help("set the clock: ages are computed from it"),
    )
}

/// Refuses a date in the future, and dates that are all equal.
fn check_dates(listing: &Listing) -> Option<Error> {
    let latest = listing.clock.later() + CLOCK_TOLERANCE;
    let mut dates = Vec::new();
    for version in &listing.versions {
        let Some(created) = listing.created(version.digest) else {
            continue;
        };
        if created > latest {
            let message = format!(
                "{} is of {}, which is in the future",
                version.digest,
                date::format(created)
            );
            return Some(
                Error::new(Class::Unavailable, Code::TIMESTAMPS, message)
                    .help("check the clocks of this machine and of the builds"),
            );
        }
        dates.push(created);
    }
    if dates.len() < MIN_EQUAL_DATES || dates.iter().any(|date| *date != dates[0]) {
        return None;
    }
    let message = format!(
        "all known dates are {}, so they are not reliable",
        date::format(dates[0])
    );
    Some(
        Error::new(Class::Unavailable, Code::TIMESTAMPS, message)
            .help("ages cannot be determined if all dates are the same"),
    )
}

fn check_duplicates(listing: &Listing) -> Option<Error> {
    let mut digests = HashSet::new();
    let duplicate = listing
        .versions
        .iter()
        .find(|version| !digests.insert(version.digest))?;
    let message = format!("the listing contains a duplicate of {}", duplicate.digest);
    Some(Error::new(Class::Unavailable, Code::LISTING, message).help("run the command again"))
}

fn check_pins(listing: &Listing, protection: ImageProtection<'_>) -> Option<Error> {
    let listed: HashSet<Digest> = listing
        .versions
        .iter()
        .map(|version| version.digest)
        .collect();
    let (digest, location) = protection
        .pins()
        .find(|(digest, _)| !listed.contains(digest))?;
    let message = format!("{digest} is pinned {location}, but the listing lacks it");
    let hint = "the listing is incomplete, or the pinned version was deleted: run `repin check --remote` to find out";
    Some(Error::new(Class::Unavailable, Code::PINNED_MISSING, message).help(hint))
}

fn check_limit(count: usize, limit: usize) -> Option<Error> {
    if count <= limit {
        return None;
    }
    let candidates = counted(count, "candidate");
    let message = format!("{candidates}, and the limit is {limit}: nothing is deleted");
    let hint =
        "review them; if all of them may be deleted, raise --limit or prune.limit for one run";
    Some(Error::failed(Code::LIMIT, message).help(hint))
}

#[cfg(test)]
mod tests;
