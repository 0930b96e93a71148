//! Docker Hub's limit of pulls, compared with the pulls of a run before the run begins. At the limit,
//! Docker Hub refuses every request for hours.

use std::collections::HashSet;

use super::Services;
use crate::{
    base::error::Errors,
    config::Config,
    oci::{
        Digest, Repository, Tag, TagOrDigest,
        registry::{Remote, Source, pull_limit_error},
    },
    trust::Verify,
};

/// The pulls of one image in a run.
pub(crate) struct ImagePulls<'i> {
    /// The image's name in the progress message.
    pub name: &'i str,
    pub repository: &'i Repository,
    pub source: &'i Source,
    /// The manifests that the run requests.
    pub manifests: Vec<ManifestPull>,
}

/// The pulls of one manifest or index.
pub(crate) struct ManifestPull {
    pub reference: TagOrDigest,
    /// The number of requests for the manifest itself.
    pub requests: u64,
    /// Whether the manifests of its platforms are requested too.
    pub with_platforms: bool,
    /// The number of other pulls if the manifest exists: signatures, attestations, the smoke command.
    pub further: u64,
}

/// The pulls that one image needs, and those that Docker Hub still allows.
#[derive(Default)]
struct Estimate {
    needed: u64,
    remaining: Option<u64>,
}

impl ManifestPull {
    /// The pulls of a resolution, which reads the manifests of the platforms.
    pub(crate) fn resolution(reference: TagOrDigest) -> Self {
        Self {
            reference,
            requests: 1,
            with_platforms: true,
            further: 0,
        }
    }
}

/// The minimum number of manifests with signatures and attestations that are requested for an image. Each
/// required kind has a manifest of its own; an image that may be unsigned costs one request.
pub(crate) fn signature_pulls(verify: Option<&Verify>) -> u64 {
    match verify {
        None => 0,
        Some(verify) if verify.since.is_some() => 1,
        Some(verify) => verify.require.len() as u64,
    }
}

/// The minimum number of further pulls for an image that a promotion or rollback verifies. The smoke
/// command's engine pulls the image itself.
pub(crate) fn verification_pulls(config: &Config) -> u64 {
    signature_pulls(config.verify.as_ref()) + u64::from(config.smoke.is_some())
}

/// Refuses a run that needs more pulls than Docker Hub still allows. Other registries receive no
/// request.
pub(crate) fn check_pull_limit(
    images: &[ImagePulls<'_>],
    services: &Services,
) -> Result<(), Errors> {
    let on_hub = images.iter().filter_map(|image| match image.source {
        Source::Remote(remote) if image.repository.is_on_hub() => {
            Some((image.name, estimate(remote, &image.manifests)))
        }
        _ => None,
    });
    let (names, work): (Vec<_>, Vec<_>) = on_hub.unzip();
    let estimates = services.wait_for_all("reading Docker Hub's limit", &names, work);
    let needed: u64 = estimates.iter().map(|estimate| estimate.needed).sum();
    let remaining = estimates
        .iter()
        .filter_map(|estimate| estimate.remaining)
        .min();
    match remaining {
        Some(remaining) if remaining < needed => Err(pull_limit_error(remaining, needed).into()),
        _ => Ok(()),
    }
}

/// Refuses to request more manifests than Docker Hub still allows. `pulls`: for each repository on Docker
/// Hub one of the tags, and their number.
pub(super) fn check_remaining_pulls(
    pulls: &[(&Remote, &Tag, u64)],
    services: &Services,
) -> Result<(), Errors> {
    let Some((remote, first, _)) = pulls.first() else {
        return Ok(());
    };
    let reference = TagOrDigest::Tag((*first).clone());
    let estimate = services.wait(remote.estimate(&reference), "reading Docker Hub's limit");
    let needed = pulls.iter().map(|(_, _, count)| count).sum();
    // A failed request is repeated by the run, which reports its failure.
    match estimate.ok().and_then(|estimate| estimate.pulls) {
        Some(remaining) if remaining < needed => Err(pull_limit_error(remaining, needed).into()),
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
            let of_platforms = u64::from(found.is_index && pull.with_platforms);
            estimate.needed += pull.requests + of_platforms + pull.further;
        }
    }
    estimate
}
