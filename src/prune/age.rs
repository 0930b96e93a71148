//! The age of a version, by its date and those of its platforms, and the rules with which it is compared.

use std::time::{Duration, SystemTime};

use super::{KeepReason, Listing, listing::MAX_DEPTH};
use crate::{
    config::Prune,
    oci::{Digest, date},
};

/// The rules from the configuration or the command line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'c> {
    /// The block `prune`.
    pub prune: &'c Prune,
    /// The minimum age of candidates.
    pub older_than: Duration,
    /// The maximum number of candidates. A larger number refuses the package.
    pub limit: usize,
}

impl Rules<'_> {
    /// Whether a version of this age is old enough to be a candidate.
    pub(super) fn is_old(&self, age: Duration) -> bool {
        age > self.older_than
    }
}

/// The dates of a version and of its platforms that are known.
#[derive(Debug, Default)]
pub(super) struct Dates {
    pub earliest: Option<SystemTime>,
    pub latest: Option<SystemTime>,
    /// Whether a document exists, and states no date.
    pub has_undated: bool,
    /// Whether the registry lost a document that may state a date.
    pub has_lost: bool,
    /// The latest commit time of a revision.
    pub commit: Option<SystemTime>,
}

/// The age of a version.
pub(super) enum Age {
    Young,
    /// It is of this time, and old enough.
    Old(SystemTime, Duration),
    /// It may be young, for this reason.
    Unknown(KeepReason),
}

/// The age by the dates that are known. A platform that is young suffices, so that a version is young with and without
/// the documents that the registry lost and the user's cache has. For the same reason, a version counts as young if
/// no document with a date remains.
pub(super) fn age(listing: &Listing, digest: Digest, rules: &Rules<'_>) -> Age {
    let dates = listing.dates_of(digest);
    let now = listing.clock.earlier();
    // A build from a cache has the date of the build that filled it.
    let latest = dates.latest.map(|latest| {
        let latest = dates.commit.map_or(latest, |commit| commit.max(latest));
        let age = now.duration_since(latest).unwrap_or_default();
        (latest, age)
    });
    match latest {
        Some((_, age)) if !rules.is_old(age) => Age::Young,
        None if !dates.has_undated => Age::Young,
        Some((latest, age)) if !dates.has_lost && !dates.has_undated => Age::Old(latest, age),
        _ => Age::Unknown(match listing.lost_platform(digest) {
            Some(platform) => KeepReason::Broken(platform),
            None => KeepReason::UnknownAge,
        }),
    }
}

impl Listing {
    /// The creation date. An index is as old as its youngest platform, and its date is unknown if the
    /// date of any platform is. A placeholder is not a date.
    pub(crate) fn created(&self, digest: Digest) -> Option<SystemTime> {
        let dates = self.dates_of(digest);
        let is_complete = !dates.has_undated && !dates.has_lost;
        dates.latest.filter(|_| is_complete)
    }

    /// The dates of a version and of its platforms.
    pub(super) fn dates_of(&self, digest: Digest) -> Dates {
        let mut dates = Dates::default();
        self.add_dates(digest, MAX_DEPTH, &mut dates);
        dates
    }

    fn add_dates(&self, digest: Digest, depth: usize, dates: &mut Dates) {
        let platforms = self.children(digest).iter();
        let platforms: Vec<_> = platforms.filter(|child| !child.is_attestation).collect();
        dates.commit = dates.commit.max(self.commit_times.get(&digest).copied());
        let date = self.dates.get(&digest).copied();
        if let Some(date) = date.filter(|date| date::is_build_date(*date)) {
            dates.earliest = Some(dates.earliest.map_or(date, |earliest| earliest.min(date)));
            dates.latest = dates.latest.max(Some(date));
        } else if platforms.is_empty() {
            let is_lost = self.lost.contains(&digest) || self.lost_configs.contains(&digest);
            dates.has_lost |= is_lost;
            dates.has_undated |= !is_lost;
        }
        for platform in platforms {
            // A platform without a date could be the youngest.
            match depth.checked_sub(1) {
                Some(depth) => self.add_dates(platform.digest, depth, dates),
                None => dates.has_undated = true,
            }
        }
    }
}
