//! The versions to delete, their order, and what is verified afterwards.

use std::collections::HashMap;

use super::{Candidate, Listing, PackageVerdict, Version};
use crate::{
    code::Code,
    error::{Class, Error},
    oci::Digest,
};

/// A verdict that allows deletions; only [`PackageVerdict::approve`] makes one.
#[derive(Debug, Clone)]
pub struct Plan {
    order: Vec<Candidate>,
    keep: Vec<Version>,
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
                return Err(Error::new(Class::Failed, Code::LISTING, message)
                    .help("check their sha256-… tags"));
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
