//! Resolution of tags and pinned digests: all repositories concurrently, each tag once in a run.

use futures_util::future;

use super::{
    Services,
    caches::TagCache,
    pull_limit::{ImagePulls, ManifestPull, check_pull_limit},
};
use crate::{
    checks::{Resolution, Target},
    config::Config,
    error::Errors,
    oci::TagOrDigest,
    pins::Found,
    registry::{
        Source,
        resolve::{self, ImageFacts},
    },
    report::body::Labels,
};

/// Resolves every image's tag concurrently. The results are in the order of the configuration.
/// `further_pulls`: the number of manifests that the run requests for each resolved image afterwards.
pub(crate) fn resolve_tags(
    config: &Config,
    targets: Vec<Target>,
    further_pulls: u64,
    services: &Services,
) -> Result<Vec<Resolution>, Errors> {
    let sources = services.sources_of_images(config)?;
    let cache = &services.resolved_tags;
    let mut pulls = Vec::new();
    for ((image, source), target) in config.images.iter().zip(&sources).zip(&targets) {
        pulls.push(ImagePulls {
            name: &image.name,
            repository: &image.repository,
            source,
            manifests: required_pulls(source, target, further_pulls, cache),
        });
    }
    check_pull_limit(&pulls, services)?;
    let work = sources.iter().zip(targets).map(|(source, target)| {
        let known = cache.get(source, &target.tag);
        resolution(source, target, known)
    });
    let names = config.image_names();
    let resolutions = services.wait_for_all("resolving tags", &names, work)?;
    for (source, resolution) in sources.iter().zip(&resolutions) {
        if let Ok(Some(facts)) = &resolution.found {
            cache.insert(source, &resolution.target.tag, facts);
        }
    }
    Ok(resolutions)
}

/// The manifests that the resolution of a target requests.
fn required_pulls(
    source: &Source,
    target: &Target,
    further: u64,
    cache: &TagCache,
) -> Vec<ManifestPull> {
    let mut pulls = Vec::new();
    if cache.get(source, &target.tag).is_none() {
        pulls.push(ManifestPull {
            further,
            ..ManifestPull::resolution(TagOrDigest::Tag(target.tag.clone()))
        });
    }
    for digest in &target.pinned {
        pulls.push(ManifestPull {
            with_platforms: false,
            ..ManifestPull::resolution(TagOrDigest::Digest(*digest))
        });
    }
    pulls
}

async fn resolution(source: &Source, target: Target, known: Option<ImageFacts>) -> Resolution {
    let found = match known {
        Some(facts) => Ok(Some(facts)),
        None => resolve::resolve(source, &TagOrDigest::Tag(target.tag.clone())).await,
    };
    let mut old_platforms = Vec::new();
    if let Ok(Some(facts)) = &found {
        let mut old_digests = target.pinned.clone();
        old_digests.retain(|digest| *digest != facts.digest);
        let platforms = old_digests
            .iter()
            .map(|digest| resolve::platforms_of(source, *digest));
        let platforms = future::join_all(platforms).await;
        old_platforms = old_digests.into_iter().zip(platforms).collect();
    }
    Resolution {
        target,
        found,
        old_platforms,
    }
}

/// The images of the pinned digests, in the order of the configuration; `None` if an image is not pinned
/// or cannot be read.
pub(super) fn pinned_images(
    config: &Config,
    found: &Found,
    services: &Services,
) -> Result<Vec<Option<ImageFacts>>, Errors> {
    let sources = services.sources_of_images(config)?;
    let mut references = Vec::new();
    for index in 0..config.images.len() {
        let digests = found.digests_of(index);
        references.push(digests.first().copied().map(TagOrDigest::Digest));
    }
    let mut pulls = Vec::new();
    for ((image, source), reference) in config.images.iter().zip(&sources).zip(&references) {
        let manifests = reference.iter().cloned().map(ManifestPull::resolution);
        pulls.push(ImagePulls {
            name: &image.name,
            repository: &image.repository,
            source,
            manifests: manifests.collect(),
        });
    }
    check_pull_limit(&pulls, services)?;
    let work = sources
        .iter()
        .zip(&references)
        .map(|(source, reference)| async move {
            resolve::resolve(source, reference.as_ref()?).await.ok()?
        });
    let names = config.image_names();
    services.wait_for_all("reading the pinned images", &names, work)
}

/// The reported labels of the pinned images. An image that cannot be read has none.
pub(super) fn current_labels(
    config: &Config,
    found: &Found,
    services: &Services,
) -> Result<Labels, Errors> {
    let mut labels = Labels::new();
    if config.report.labels.is_empty() {
        return Ok(labels);
    }
    let pinned = pinned_images(config, found, services)?;
    for (image, facts) in config.images.iter().zip(pinned) {
        if let Some(facts) = facts {
            let of_image = resolve::reported_labels(&facts, &config.report.labels);
            labels.insert(image.name.clone(), of_image);
        }
    }
    Ok(labels)
}
