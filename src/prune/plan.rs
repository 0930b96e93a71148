//! The versions to delete in their order, and the versions that must remain.

use std::collections::HashMap;

use super::{Candidate, Listing, PackageVerdict, Version};
use crate::{
    base::{
        code::Code,
        error::{Class, Error},
    },
    oci::Digest,
};

/// The approved deletions, which only [`PackageVerdict::approve`] creates.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    order: Vec<Candidate>,
    keep: Vec<Version>,
}

impl PackageVerdict {
    /// Creates the plan, or returns the refusal of the verdict.
    pub(crate) fn approve(&self, listing: &Listing) -> Result<Plan, Error> {
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

/// Orders indexes before their entries, and versions before their signatures. If a
/// run stops early, every remaining version has its entries and signatures.
fn ordered(candidates: &[Candidate], listing: &Listing) -> Result<Vec<Candidate>, Error> {
    let edges = edges(candidates, listing);
    let mut ranks = vec![0_usize; candidates.len()];
    let mut is_stable = false;
    while !is_stable {
        is_stable = true;
        for &(first, second) in &edges {
            if ranks[second] > ranks[first] {
                continue;
            }
            ranks[second] = ranks[first] + 1;
            is_stable = false;
            if ranks[second] == candidates.len() {
                // Digests cannot form a cycle, but tags that contain digests can.
                let digest = candidates[second].version.digest;
                let message = format!(
                    "{digest} and others refer to one another in a circle: none can be deleted first"
                );
                return Err(Error::new(Class::Failed, Code::LISTING, message)
                    .help("check their sha256-… tags"));
            }
        }
    }
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|index| ranks[*index]);
    Ok(order
        .into_iter()
        .map(|index| candidates[index].clone())
        .collect())
}

/// The pairs of candidates, by index, where the first must be deleted before the second.
fn edges(candidates: &[Candidate], listing: &Listing) -> Vec<(usize, usize)> {
    let mut indexes: HashMap<Digest, usize> = HashMap::new();
    let mut referrers: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (index, Candidate { version, .. }) in candidates.iter().enumerate() {
        indexes.insert(version.digest, index);
        let node = listing.nodes.get(&version.digest);
        let subject = node.and_then(|node| node.subject);
        for subject in version.tag_subjects().chain(subject) {
            referrers.entry(subject).or_default().push(index);
        }
    }
    let mut edges = Vec::new();
    for (first, candidate) in candidates.iter().enumerate() {
        // An entry may be no version, but its signatures are still deleted after the index.
        let digest = candidate.version.digest;
        for part in std::iter::once(digest).chain(listing.parts(digest)) {
            let entry = indexes.get(&part);
            for &second in entry
                .into_iter()
                .chain(referrers.get(&part).into_iter().flatten())
            {
                if second != first {
                    edges.push((first, second));
                }
            }
        }
    }
    edges
}

impl Plan {
    /// The versions to delete, in this order.
    pub(crate) fn order(&self) -> &[Candidate] {
        &self.order
    }

    /// The versions that must exist afterwards.
    pub(crate) fn keep(&self) -> &[Version] {
        &self.keep
    }
}
