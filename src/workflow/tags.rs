//! Resolution of tags and pinned digests: all repositories concurrently, each tag once in a run.

use futures_util::future;

use super::{
    Services,
    pull_limit::{ImagePulls, ManifestPull, check_pull_limit},
};
use crate::{
    checks::{ApprovedImage, Resolution, Target},
    config::Config,
    error::{Error, Errors},
    oci::{Digest, Tag, TagOrDigest, TagPattern},
    pins::Found,
    registry::{
        NoTag, Source,
        resolve::{self, ImageFacts},
        select_tag,
    },
    report::body::Labels,
};

/// A tag, or the reason that a pattern selects none.
type SelectedTag = Result<Result<Tag, NoTag>, Error>;

/// The wanted tag of an image: its source, the tag or a pattern, and the digest if it is known.
type WantedTag<'w> = (&'w Source, TagPattern, Option<Digest>);

/// Selects the tag of each image `names`; a pattern without `*` costs no request.
pub(crate) fn select_tags(
    names: &[&str],
    wanted: &[WantedTag<'_>],
    services: &Services,
) -> Result<Vec<SelectedTag>, Errors> {
    let work = wanted
        .iter()
        .map(|(source, pattern, expected)| select_tag(source, pattern, *expected));
    services.wait_for_all("listing tags", names, work)
}

/// Resolves every image's tag concurrently. The results are in the order of the configuration.
/// `further_pulls`: the number of manifests that the run requests for each resolved image afterwards.
pub(crate) fn resolve_tags(
    config: &Config,
    targets: Vec<Target>,
    further_pulls: u64,
    services: &Services,
) -> Result<Vec<Resolution>, Errors> {
    let sources = services.sources_of_images(config)?;
    let names = config.image_names();
    let cache = &services.resolved_tags;
    let (mut known, mut wanted) = (Vec::new(), Vec::new());
    for (source, target) in sources.iter().zip(&targets) {
        let image = cache.get(source, target);
        let tag = match &image {
            Some(image) => TagPattern::Tag(image.tag.clone()),
            None => target.tag.clone(),
        };
        wanted.push((source, tag, target.expected_digest()));
        known.push(image);
    }
    let selected = select_tags(&names, &wanted, services)?;
    let mut pulls = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        let tag = match (&known[index], &selected[index]) {
            (None, Ok(Ok(tag))) => Some(tag),
            _ => None,
        };
        pulls.push(ImagePulls {
            name: &image.name,
            repository: &image.repository,
            source: &sources[index],
            manifests: required_pulls(tag, &targets[index], further_pulls),
        });
    }
    check_pull_limit(&pulls, services)?;
    let mut work = Vec::new();
    for (((source, target), known), selected) in
        sources.iter().zip(targets).zip(known).zip(selected)
    {
        work.push(resolution(source, target, known, selected));
    }
    let resolutions = services.wait_for_all("resolving tags", &names, work)?;
    for (source, resolution) in sources.iter().zip(&resolutions) {
        if let Ok(Ok(image)) = &resolution.found {
            cache.insert(source, &resolution.target, image);
        }
    }
    Ok(resolutions)
}

/// The manifests that the resolution of a target requests. `tag`: the tag that is not resolved yet.
fn required_pulls(tag: Option<&Tag>, target: &Target, further: u64) -> Vec<ManifestPull> {
    let mut pulls = Vec::new();
    if let Some(tag) = tag {
        pulls.push(ManifestPull {
            further,
            ..ManifestPull::resolution(TagOrDigest::Tag(tag.clone()))
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

async fn resolution(
    source: &Source,
    target: Target,
    known: Option<ApprovedImage>,
    selected: SelectedTag,
) -> Resolution {
    let found = match (known, selected) {
        (Some(image), _) => Ok(Ok(image)),
        (None, Ok(Ok(tag))) => {
            let facts = resolve::resolve(source, &TagOrDigest::Tag(tag.clone())).await;
            facts.map(|facts| match facts {
                Some(facts) => Ok(ApprovedImage { tag, facts }),
                None => Err(NoTag::Missing),
            })
        }
        (None, Ok(Err(reason))) => Ok(Err(reason)),
        (None, Err(error)) => Err(error),
    };
    let (mut old_platforms, mut pinned_image) = (Vec::new(), None);
    if let Ok(Ok(image)) = &found {
        let mut old_digests = target.pinned.clone();
        old_digests.retain(|digest| *digest != image.facts.digest);
        if old_digests.is_empty() && !target.pinned.is_empty() {
            pinned_image = Some(image.facts.clone());
        }
        let read = old_digests
            .iter()
            .map(|digest| resolve::read_platforms(source, *digest));
        let read = future::join_all(read).await;
        for (digest, read) in old_digests.into_iter().zip(read) {
            old_platforms.push((
                digest,
                read.map(|(platforms, image)| {
                    pinned_image = image.filter(|_| target.pinned.len() == 1);
                    platforms
                }),
            ));
        }
    }
    Resolution {
        target,
        found,
        old_platforms,
        pinned_image,
    }
}

/// The images of the pinned digests, in the order of the configuration; `None` if an image is not wanted, is
/// not pinned or cannot be read.
pub(super) fn pinned_images(
    config: &Config,
    found: &Found,
    is_wanted: impl Fn(usize) -> bool,
    services: &Services,
) -> Result<Vec<Option<ImageFacts>>, Errors> {
    let sources = services.sources_of_images(config)?;
    let mut references = Vec::new();
    for index in 0..config.images.len() {
        let digests = found.digests_of(index);
        let digest = digests.first().filter(|_| is_wanted(index));
        references.push(digest.copied().map(TagOrDigest::Digest));
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
    let pinned = pinned_images(config, found, |_| true, services)?;
    for (image, facts) in config.images.iter().zip(pinned) {
        if let Some(facts) = facts {
            let of_image = resolve::reported_labels(&facts, &config.report.labels);
            labels.insert(image.name.clone(), of_image);
        }
    }
    Ok(labels)
}
