//! Docker Hub's limit of pulls, compared with the needs of a run before the run begins: at the limit,
//! every request would be refused for hours.

use std::collections::HashSet;

use super::Services;
use crate::{
    code::Code,
    config::Config,
    error::{Class, Error, Errors},
    oci::{Digest, TagOrDigest},
    registry::{Remote, Source},
};

/// The remedy for an exhausted limit.
pub const PULL_HELP: &str = "log in to Docker Hub (200 pulls in 6 hours for a personal account, 100 without one), wait \
                             until the limit is reset, or read the images from a mirror (`sources`)";

/// A manifest that a run requests.
pub struct Pull {
    /// The tag or the digest.
    pub want: TagOrDigest,
    /// The number of requests for the manifest itself.
    pub requests: u64,
    /// Whether the manifests of its platforms are requested too.
    pub with_platforms: bool,
}

/// The result for the manifests of one image.
#[derive(Default)]
struct Estimate {
    needed: u64,
    remaining: Option<u64>,
}

/// Refuses a run that needs more pulls than Docker Hub still allows. `pulls`: for each image of the
/// configuration, the manifests that the run requests. Other registries receive no request.
pub fn within_limit(
    config: &Config,
    sources: &[Source],
    pulls: &[Vec<Pull>],
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
        .map(|(_, remote, pulls)| estimated(remote, pulls));
    let estimates = services.wait_for_all("reading Docker Hub's limit", &names, work)?;
    let needed: u64 = estimates.iter().map(|one| one.needed).sum();
    let remaining = estimates.iter().filter_map(|one| one.remaining).min();
    match remaining {
        Some(remaining) if remaining < needed => Err(exceeded(remaining, needed).into()),
        _ => Ok(()),
    }
}

/// A failed request is not reported here: the run repeats it and reports its failure.
async fn estimated(remote: &Remote, pulls: &[Pull]) -> Estimate {
    let mut estimate = Estimate::default();
    let mut counted: HashSet<Digest> = HashSet::new();
    for pull in pulls {
        let Ok(found) = remote.estimate(&pull.want).await else {
            continue;
        };
        let smaller = [estimate.remaining, found.pulls]
            .into_iter()
            .flatten()
            .min();
        estimate.remaining = smaller;
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
