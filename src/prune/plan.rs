//! The versions to delete, their order, and what is verified afterwards.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::{Listing, PackageVerdict, Version, date};
use crate::{
    error::{Class, Error},
    oci::Digest,
};

/// A version that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The version.
    pub version: Version,
    /// When it was made.
    pub created: SystemTime,
    /// The reason why it may be deleted.
    pub reason: String,
}

/// A verdict that allows deletions; only [`PackageVerdict::approve`] makes one.
#[derive(Debug, Clone)]
pub struct Plan {
    order: Vec<Candidate>,
    keep: Vec<Version>,
}

impl Candidate {
    pub(super) fn new(version: &Version, created: SystemTime, age: Duration) -> Self {
        let what = if version.tags.is_empty() {
            "untagged"
        } else {
            "every tag is pending"
        };
        let reason = format!(
            "{what}, and it is {} old (of {})",
            days(age),
            date::show(created)
        );
        Self {
            version: version.clone(),
            created,
            reason,
        }
    }
}

fn days(age: Duration) -> String {
    match age.as_secs() / 86_400 {
        0 => format!("{} h", age.as_secs() / 3_600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

impl PackageVerdict {
    /// The plan, if the verdict allows one.
    pub fn approve(&self, listing: &Listing) -> Result<Plan, Error> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let keep = self
            .protected
            .iter()
            .map(|protected| protected.version.clone())
            .collect();
        Ok(Plan {
            order: ordered(&self.candidates, listing)?,
            keep,
        })
    }
}

/// Indexes before what they consist of, and what is signed before its signature: a run that stops
/// in between leaves nothing broken that could still be pulled.
fn ordered(candidates: &[Candidate], listing: &Listing) -> Result<Vec<Candidate>, Error> {
    let at: HashMap<Digest, usize> = candidates
        .iter()
        .enumerate()
        .map(|(at, c)| (c.version.digest, at))
        .collect();
    let mut referrers: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (this, candidate) in candidates.iter().enumerate() {
        let node = listing.nodes.get(&candidate.version.digest);
        let subject = node.and_then(|node| node.subject);
        for subject in candidate.version.refers_by_tag().chain(subject) {
            referrers.entry(subject).or_default().push(this);
        }
    }
    let mut edges = Vec::new();
    for (this, candidate) in candidates.iter().enumerate() {
        // A part may be no version of its own, and what belongs to it goes after the index as well.
        let digest = candidate.version.digest;
        for part in std::iter::once(digest).chain(listing.parts(digest)) {
            let then = at
                .get(&part)
                .into_iter()
                .chain(referrers.get(&part).into_iter().flatten());
            edges.extend(then.filter(|then| **then != this).map(|then| (this, *then)));
        }
    }
    let mut rank = vec![0_usize; candidates.len()];
    let mut settled = false;
    while !settled {
        settled = true;
        for (first, then) in edges.iter().copied() {
            if rank[then] > rank[first] {
                continue;
            }
            (rank[then], settled) = (rank[first] + 1, false);
            if rank[then] > candidates.len() {
                // Digests cannot, but tags that name digests can.
                let digest = candidates[then].version.digest;
                let message = format!(
                    "{digest} and others refer to one another in a circle: none can be deleted first"
                );
                return Err(
                    Error::new(Class::Failed, "listing", message).help("check their sha256-… tags")
                );
            }
        }
    }
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|at| rank[*at]);
    Ok(order.into_iter().map(|at| candidates[at].clone()).collect())
}

impl Plan {
    /// The versions to delete, in this order.
    pub fn order(&self) -> &[Candidate] {
        &self.order
    }

    /// The versions that must exist afterwards.
    pub fn keep(&self) -> &[Version] {
        &self.keep
    }
}

/// Something that a person should know and that refuses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A stable word for it.
    pub code: &'static str,
    /// The finding.
    pub detail: String,
}
