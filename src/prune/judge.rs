//! Which versions may be deleted, which are protected and why, and whether anything may be deleted
//! at all.
//!
//! Pure: a listing, what protects, and the rules in; a verdict out. A version is kept unless
//! everything says otherwise, and everything that a kept one needs is kept too. Any uncertainty
//! refuses the whole package.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime},
};

use super::{
    Candidate, Guards, KeepReason, Listing, PackageVerdict, Protected, Version, Warning, dangling,
    date,
};
use crate::{
    code::Code,
    config::{Prune, number},
    error::{Class, Error},
    oci::Digest,
};

/// Clocks that are further apart, and dates that are further ahead, are wrong.
const CLOCK: Duration = Duration::from_secs(300);
/// The minimum number of versions whose equal dates are unreliable.
const ALIKE: usize = 3;

/// The rules from the configuration or the command line.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'c> {
    /// The block `prune`.
    pub prune: &'c Prune,
    /// Candidates are older.
    pub older_than: Duration,
    /// More candidates than this: nothing is deleted.
    pub limit: usize,
}

/// The kind of a version, without its age and its references.
enum VersionStatus {
    Protected(KeepReason),
    /// Neither protected nor eligible.
    Other,
    Eligible,
}

fn standing(version: &Version, guards: &Guards, prune: &Prune) -> VersionStatus {
    if let Some(place) = guards.pins.get(&version.digest) {
        return VersionStatus::Protected(KeepReason::Pinned(place.clone()));
    }
    if let Some(place) = guards.others.get(&version.digest) {
        return VersionStatus::Protected(KeepReason::Pinned(place.clone()));
    }
    if guards.history.contains(&version.digest) {
        return VersionStatus::Protected(KeepReason::History);
    }
    if let Some(place) = guards.text.place(&version.digest) {
        return VersionStatus::Protected(KeepReason::Named(place));
    }
    for tag in &version.tags {
        if let Some(place) = guards.tags.get(tag) {
            return VersionStatus::Protected(KeepReason::Revision(tag.clone(), place.clone()));
        }
        if prune
            .protect
            .iter()
            .any(|pattern| pattern.is_match(tag.as_str()))
        {
            return VersionStatus::Protected(KeepReason::Pattern(tag.clone()));
        }
    }
    let other = version
        .tags
        .iter()
        .find(|tag| !prune.tags.is_match(tag.as_str()));
    let pending = version
        .tags
        .iter()
        .any(|tag| prune.tags.is_match(tag.as_str()));
    match other {
        Some(tag) if pending => VersionStatus::Protected(KeepReason::OtherTag(tag.clone())),
        None if pending || prune.untagged => VersionStatus::Eligible,
        _ => VersionStatus::Other,
    }
}

/// Whether a version may be a candidate, without its age and its references.
pub fn eligible(version: &Version, guards: &Guards, prune: &Prune) -> bool {
    matches!(standing(version, guards, prune), VersionStatus::Eligible)
}

/// Judges a package.
pub fn judge(listing: &Listing, guards: &Guards, rules: &Rules<'_>) -> PackageVerdict {
    judge_some(listing, guards, rules, |_| true)
}

/// Judges a package; a version that `may_go` rejects is kept.
pub(super) fn judge_some(
    listing: &Listing,
    guards: &Guards,
    rules: &Rules<'_>,
    may_go: impl Fn(&Digest) -> bool,
) -> PackageVerdict {
    let mut work = Judgement::new(listing);
    let now = listing.clock.earlier();
    let (mut mixed, mut young) = (0, 0);
    let mut candidates = HashMap::new();
    for (at, version) in listing.versions.iter().enumerate() {
        match standing(version, guards, rules.prune) {
            VersionStatus::Protected(reason) => {
                mixed += usize::from(matches!(reason, KeepReason::OtherTag(_)));
                work.reasons.insert(at, reason);
            }
            VersionStatus::Other => {}
            VersionStatus::Eligible if !may_go(&version.digest) => {}
            VersionStatus::Eligible => match age(listing, version.digest, now) {
                None => drop(work.reasons.insert(at, KeepReason::NoDate)),
                Some((_, age)) if age <= rules.older_than => young += 1,
                Some((made, age)) => drop(candidates.insert(at, (made, age))),
            },
        }
    }
    let incomplete = if candidates.is_empty() {
        None
    } else {
        work.unknown()
    };
    let roots = listing
        .versions
        .iter()
        .enumerate()
        .filter(|(at, _)| !candidates.contains_key(at));
    let roots = roots
        .map(|(_, version)| version.digest)
        .chain(guards.pins.keys().copied());
    let others = guards.history.iter().chain(guards.others.keys()).copied();
    let named = work.targets().filter(|digest| guards.text.names(digest));
    let roots = roots.chain(others).chain(named).collect();
    work.close(roots);
    candidates.retain(|at, _| !work.reasons.contains_key(at));
    let candidates: Vec<_> = candidates
        .into_iter()
        .map(|(at, (made, age))| Candidate::new(&listing.versions[at], made, age))
        .collect();
    let judged = PackageVerdict {
        listed: listing.versions.len(),
        candidates: sorted(candidates),
        protected: work.protected(),
        mixed,
        young,
        warnings: [dangling::warnings(listing), unlisted(listing)].concat(),
        refusal: None,
    };
    let refusal = incomplete
        .or_else(|| dangling::refusal(listing, guards, rules.prune))
        .or_else(|| tripwire(listing, guards))
        .or_else(|| over_limit(&judged, rules.limit));
    PackageVerdict { refusal, ..judged }
}

/// The oldest first, and always in one order.
fn sorted(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by_key(|candidate| (candidate.created, candidate.version.digest));
    candidates
}

/// When something was made, and how old it is; an index is as old as its youngest child.
fn age(listing: &Listing, digest: Digest, now: SystemTime) -> Option<(SystemTime, Duration)> {
    let made = listing.made(digest)?;
    Some((made, now.duration_since(made).unwrap_or_default()))
}

/// The kept versions, as they become known.
struct Judgement<'l> {
    listing: &'l Listing,
    at: HashMap<Digest, usize>,
    /// Versions that belong to a digest.
    referrers: HashMap<Digest, Vec<usize>>,
    reasons: HashMap<usize, KeepReason>,
}

impl<'l> Judgement<'l> {
    fn new(listing: &'l Listing) -> Self {
        let mut referrers: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (at, version) in listing.versions.iter().enumerate() {
            let subject = listing
                .nodes
                .get(&version.digest)
                .and_then(|node| node.subject);
            for target in version.refers_by_tag().chain(subject) {
                referrers.entry(target).or_default().push(at);
            }
        }
        let at = listing
            .versions
            .iter()
            .enumerate()
            .map(|(at, version)| (version.digest, at))
            .collect();
        Self {
            listing,
            at,
            referrers,
            reasons: HashMap::new(),
        }
    }

    /// A version whose references are unknown.
    fn unknown(&self) -> Option<Error> {
        let known = |digest: &Digest| self.listing.nodes.contains_key(digest);
        let missing = self
            .listing
            .versions
            .iter()
            .map(|version| version.digest)
            .find(|digest| !known(digest));
        let missing = missing.or_else(|| self.listing.unread().first().copied())?;
        let message = format!("the listing is incomplete: the references of {missing} are unknown");
        Some(Error::new(Class::Unavailable, Code::LISTING, message).help("run the command again"))
    }

    /// Everything that something else belongs to, or that has parts.
    fn targets(&self) -> impl Iterator<Item = Digest> {
        let nodes = self.listing.nodes.keys();
        nodes.chain(self.referrers.keys()).copied()
    }

    /// Keeps everything that kept versions need, directly or indirectly.
    fn close(&mut self, mut kept: Vec<Digest>) {
        let mut seen: HashSet<Digest> = kept.iter().copied().collect();
        while let Some(digest) = kept.pop() {
            let children = self
                .listing
                .nodes
                .get(&digest)
                .map_or(&[][..], |node| &node.children);
            for child in children {
                if let Some(at) = self.at.get(&child.digest) {
                    self.reasons.entry(*at).or_insert(KeepReason::Child(digest));
                }
                if seen.insert(child.digest) {
                    kept.push(child.digest);
                }
            }
            for at in self.referrers.get(&digest).into_iter().flatten() {
                self.reasons
                    .entry(*at)
                    .or_insert(KeepReason::Refers(digest));
                let referrer = self.listing.versions[*at].digest;
                if seen.insert(referrer) {
                    kept.push(referrer);
                }
            }
        }
    }

    fn protected(self) -> Vec<Protected> {
        let mut reasons: Vec<_> = self.reasons.into_iter().collect();
        reasons.sort_by_key(|(at, _)| *at);
        let protected = |(at, reason): (usize, KeepReason)| Protected {
            version: self.listing.versions[at].clone(),
            reason,
        };
        reasons.into_iter().map(protected).collect()
    }
}

/// The warning about a listing of versions without any tag.
fn unlisted(listing: &Listing) -> Vec<Warning> {
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

/// Signs that the listing, the clocks or the dates cannot be relied on.
fn tripwire(listing: &Listing, guards: &Guards) -> Option<Error> {
    clocks(listing).or_else(|| dates(listing)).or_else(|| twice(listing)).or_else(|| {
        let there: HashSet<Digest> = listing.versions.iter().map(|version| version.digest).collect();
        let (digest, place) = guards.pins.iter().find(|(digest, _)| !there.contains(digest))?;
        let message = format!("{digest} is pinned {place}, but the listing lacks it");
        let hint = "the listing is incomplete, or the pinned version was deleted: run `repin check --remote` to find out";
        Some(Error::new(Class::Unavailable, Code::PINNED_MISSING, message).help(hint))
    })
}

fn clocks(listing: &Listing) -> Option<Error> {
    let difference = listing.clock.difference()?;
    if difference <= CLOCK {
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

fn dates(listing: &Listing) -> Option<Error> {
    let made = listing
        .versions
        .iter()
        .filter_map(|version| Some((version, listing.made(version.digest)?)));
    let dated: Vec<_> = made.collect();
    let latest = listing.clock.later() + CLOCK;
    if let Some((version, at)) = dated.iter().find(|(_, at)| *at > latest) {
        let message = format!(
            "{} is of {}, which is in the future",
            version.digest,
            date::show(*at)
        );
        return Some(
            Error::new(Class::Unavailable, Code::TIMESTAMPS, message)
                .help("check the clocks of this machine and of the builds"),
        );
    }
    let (_, first) = *dated.first()?;
    let alike = dated.len() >= ALIKE && dated.iter().all(|(_, at)| *at == first);
    alike.then(|| {
        let message = format!(
            "all {} dates are {}, so they are not reliable",
            dated.len(),
            date::show(first)
        );
        Error::new(Class::Unavailable, Code::TIMESTAMPS, message)
            .help("ages cannot be determined if all dates are the same")
    })
}

fn twice(listing: &Listing) -> Option<Error> {
    let mut digests = HashSet::new();
    let twin = listing
        .versions
        .iter()
        .find(|version| !digests.insert(version.digest))?;
    Some(
        Error::new(
            Class::Unavailable,
            Code::LISTING,
            format!("the listing contains a duplicate of {}", twin.digest),
        )
        .help("run the command again"),
    )
}

fn over_limit(judged: &PackageVerdict, limit: usize) -> Option<Error> {
    let count = judged.candidates.len();
    (count > limit).then(|| {
        let candidates = number(count, "candidate");
        let message = format!("{candidates}, and the limit is {limit}: nothing is deleted");
        let hint =
            "review them; if all of them may be deleted, raise --limit or prune.limit for one run";
        Error::failed(Code::LIMIT, message).help(hint)
    })
}

#[cfg(test)]
mod tests;
