//! Resolution of tags and pinned digests: all repositories concurrently, each tag once in a run.

use futures_util::future;

use super::{
    Services,
    pulls::{self, Pull},
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

/// Resolves every image's tag concurrently; the results are in the order of the configuration.
pub fn resolve(
    config: &Config,
    targets: Vec<Target>,
    services: &Services,
) -> Result<Vec<Resolution>, Errors> {
    let sources = services.sources_of_images(config)?;
    let pulls = sources.iter().zip(&targets);
    let pulls: Vec<_> = pulls
        .map(|(source, target)| pulls_of(source, target, services))
        .collect();
    pulls::within_limit(config, &sources, &pulls, services)?;
    let work = sources.iter().zip(targets).map(|(source, target)| {
        let known = services.resolved_tag(source, &target.tag);
        resolution(source, target, known)
    });
    let names = config.image_names();
    let resolutions = services.wait_for_all("resolving tags", &names, work)?;
    for (source, resolution) in sources.iter().zip(&resolutions) {
        if let Ok(Some(facts)) = &resolution.found {
            services.remember_tag(source, &resolution.target.tag, facts);
        }
    }
    Ok(resolutions)
}

/// The manifests that the resolution of a tag requests.
fn pulls_of(source: &Source, target: &Target, services: &Services) -> Vec<Pull> {
    let tag = services.resolved_tag(source, &target.tag).is_none();
    let tag = tag.then(|| Pull {
        want: TagOrDigest::Tag(target.tag.clone()),
        requests: 1,
        with_platforms: true,
    });
    let replaced = target.pinned.iter().map(|digest| Pull {
        want: TagOrDigest::Digest(*digest),
        requests: 1,
        with_platforms: false,
    });
    tag.into_iter().chain(replaced).collect()
}

async fn resolution(source: &Source, target: Target, known: Option<ImageFacts>) -> Resolution {
    let found = match known {
        Some(facts) => Ok(Some(facts)),
        None => resolve::resolve(source, &TagOrDigest::Tag(target.tag.clone())).await,
    };
    let mut old_platforms = Vec::new();
    if let Ok(Some(facts)) = &found {
        let replaced = target.pinned.iter().copied();
        let replaced: Vec<_> = replaced.filter(|digest| *digest != facts.digest).collect();
        let platforms = replaced
            .iter()
            .map(|digest| resolve::platforms_of(source, *digest));
        let platforms = future::join_all(platforms).await;
        old_platforms = replaced.into_iter().zip(platforms).collect();
    }
    Resolution {
        target,
        found,
        old_platforms,
    }
}

/// The reported labels of the current digests, for each image that could be read.
pub(super) fn current_labels(
    config: &Config,
    found: &Found,
    services: &Services,
) -> Result<Labels, Errors> {
    if config.report.labels.is_empty() {
        return Ok(Labels::new());
    }
    let sources = services.sources_of_images(config)?;
    let images = config.images.iter().zip(&sources).enumerate();
    let work = images.map(|(at, (image, source))| async move {
        let digest = *found.digests_of(at).first()?;
        let facts = resolve::resolve(source, &TagOrDigest::Digest(digest))
            .await
            .ok()??;
        let labels = resolve::reported_labels(&facts, &config.report.labels);
        Some((image.name.clone(), labels))
    });
    let names = config.image_names();
    let labels = services.wait_for_all("reading the pinned images", &names, work)?;
    Ok(labels.into_iter().flatten().collect())
}
