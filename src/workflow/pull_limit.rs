//! Docker Hub's limit of pulls, compared with the pulls of a run before the run begins. At the limit,
//! Docker Hub refuses every request for hours.

use std::collections::HashSet;

use super::Services;
use crate::{
    code::Code,
    config::Config,
    error::{Class, Error, Errors},
    oci::{Digest, TagOrDigest},
    registry::{Remote, Source},
};

pub(crate) const PULL_HELP: &str = "log in to Docker Hub (200 pulls in 6 hours for a personal account, 100 without one), wait \
                             until the limit is reset, or read the images from a mirror (`sources`)";

pub(crate) struct ManifestPull {
    pub reference: TagOrDigest,
    /// The number of requests for the manifest itself.
    pub requests: u64,
    /// Whether the manifests of its platforms are requested too.
    pub with_platforms: bool,
}

/// The pulls that one image needs, and those that Docker Hub still allows.
#[derive(Default)]
struct Estimate {
    needed: u64,
    remaining: Option<u64>,
}

/// Refuses a run that needs more pulls than Docker Hub still allows. `pulls`: for each image of the
/// configuration, the manifests that the run requests. Other registries receive no request.
pub(crate) fn check_pull_limit(
    config: &Config,
    sources: &[Source],
    pulls: &[Vec<ManifestPull>],
    services: &Services,
) -> Result<(), Errors> {
    let images = config.images.iter().zip(sources).zip(pulls);
    let mut on_hub = Vec::new();
    for ((image, source), pulls) in images {
        if let Source::Remote(remote) = source
            && image.repository.is_on_hub()
            && !pulls.is_empty()
        {
            on_hub.push((image.name.as_str(), remote, pulls));
        }
    }
    if on_hub.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = on_hub.iter().map(|(name, ..)| *name).collect();
    let work = on_hub
        .iter()
        .map(|(_, remote, pulls)| estimate(remote, pulls));
    let estimates = services.wait_for_all("reading Docker Hub's limit", &names, work)?;
    let needed: u64 = estimates.iter().map(|estimate| estimate.needed).sum();
    let remaining = estimates
        .iter()
        .filter_map(|estimate| estimate.remaining)
        .min();
    match remaining {
        Some(remaining) if remaining < needed => Err(exceeded(remaining, needed).into()),
        _ => Ok(()),
    }
}

/// Estimates the pulls of one image. A failed request is ignored: the run repeats it and reports its
/// failure.
async fn estimate(remote: &Remote, pulls: &[ManifestPull]) -> Estimate {
    let mut estimate = Estimate::default();
    let mut counted: HashSet<Digest> = HashSet::new();
    for pull in pulls {
        let Ok(found) = remote.estimate(&pull.reference).await else {
            continue;
        };
        estimate.remaining = [estimate.remaining, found.pulls]
            .into_iter()
            .flatten()
            .min();
        if let Some(digest) = found.digest
            && counted.insert(digest)
        {
            estimate.needed += pull.requests + u64::from(found.is_index && pull.with_platforms);
        }
    }
    estimate
}

fn exceeded(remaining: u64, needed: u64) -> Error {
    let message =
        format!("Docker Hub allows {remaining} more pulls, and this run needs at least {needed}");
    Error::new(Class::Unavailable, Code::PULL_LIMIT, message).help(PULL_HELP)
}
