//! Resolution of tags and pinned digests: all repositories concurrently, each tag once in a run.

use futures_util::future;

use super::{
    Services,
    caches::ImageCache,
    forge_overview::{ImagePulls, ManifestPull, check_pull_limit},
};
use crate::{
    app::report::{body::Labels, explain::by_cause},
    base::error::{Class, Error, Errors},
    config::Config,
    core::{
        checks::{self, ApprovedImage, RecordedImage, Resolution, TaggedImage, Target},
        history::Digests,
        pins::FoundPins,
    },
    oci::{
        Digest, Platform, Tag, TagOrDigest, TagPattern,
        registry::{
            NoTag, Source,
            resolve::{self, ImageFacts, KnownManifest, PlatformFacts},
            select_tag,
        },
    },
};

/// The wanted tag of an image: its source, the tag or a pattern, and the digest if it is known.
type WantedTag<'w> = (&'w Source, TagPattern, Option<Digest>);

/// Selects the tag of each image `names`; a pattern without `*` costs no request.
pub(crate) fn select_tags(
    names: &[&str],
    wanted: &[WantedTag<'_>],
    services: &Services,
) -> Vec<Result<Tag, NoTag>> {
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
    let selected = select_tags(&names, &wanted, services);
    let mut pulls = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        let tag = match (&known[index], &selected[index]) {
            (None, Ok(tag)) => Some(tag),
            _ => None,
        };
        pulls.push(ImagePulls {
            name: &image.name,
            repository: &image.repository,
            source: &sources[index],
            manifests: required_pulls(tag, &targets[index], further_pulls, |digest| {
                services.images.get(&sources[index], digest).is_some()
            }),
        });
    }
    check_pull_limit(&pulls, services)?;
    let mut work = Vec::new();
    for (((source, target), known), selected) in
        sources.iter().zip(targets).zip(known).zip(selected)
    {
        work.push(resolution(source, target, known, selected, services));
    }
    let resolutions = services.wait_for_all("resolving tags", &names, work);
    for (source, resolution) in sources.iter().zip(&resolutions) {
        if let Ok(image) = &resolution.found {
            if resolution.bypassed.is_none() {
                cache.insert(source, &resolution.target, image);
            }
            let known = KnownManifest::Complete(image.facts.clone());
            services.images.insert(source, known);
        }
    }
    Ok(resolutions)
}

/// The manifests that the resolution of a target requests. `tag`: the tag that is not resolved yet;
/// `is_known`: whether a pinned digest was read before.
fn required_pulls(
    tag: Option<&Tag>,
    target: &Target,
    further: u64,
    is_known: impl Fn(Digest) -> bool,
) -> Vec<ManifestPull> {
    let mut pulls = Vec::new();
    if let Some(tag) = tag {
        pulls.push(ManifestPull {
            further,
            ..ManifestPull::resolution(TagOrDigest::Tag(tag.clone()))
        });
    }
    for digest in target.pinned.iter().filter(|digest| !is_known(**digest)) {
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
    selected: Result<Tag, NoTag>,
    services: &Services,
) -> Resolution {
    let cache = &services.images;
    let mut found = match (known, selected) {
        (Some(image), _) => Ok(image),
        (None, Ok(tag)) => {
            let reference = services.resolved_tags.reference(source, &tag);
            let facts = resolve::resolve(source, &reference, &cache.platforms(source)).await;
            match facts {
                Ok(Some(facts)) => Ok(ApprovedImage { tag, facts }),
                Ok(None) => Err(NoTag::Missing),
                Err(error) => Err(NoTag::Failed(error)),
            }
        }
        (None, Err(reason)) => Err(reason),
    };
    let (recorded, bypassed) = read_recorded(source, &target, &mut found, cache).await;
    let mut old_platforms = Vec::new();
    if let Ok(image) = &found {
        let mut old_digests = target.pinned.clone();
        old_digests.retain(|digest| *digest != image.facts.digest);
        let read = old_digests
            .iter()
            .map(|digest| pinned_platforms(source, *digest, cache));
        let read = future::join_all(read).await;
        old_platforms.extend(old_digests.into_iter().zip(read));
    }
    Resolution {
        target,
        found,
        recorded,
        bypassed,
        old_platforms,
    }
}

/// Reads the image that git records if a tag does not resolve to it. `--by-digest` replaces the image of the
/// tag, which is returned.
async fn read_recorded(
    source: &Source,
    target: &Target,
    found: &mut TaggedImage,
    cache: &ImageCache,
) -> (Option<RecordedImage>, Option<TaggedImage>) {
    let Some(digest) = target.recorded_digest() else {
        return (None, None);
    };
    let is_elsewhere = match &*found {
        Ok(image) => image.facts.digest != digest,
        Err(NoTag::Failed(error)) => error.class == Class::Ambiguous,
        Err(NoTag::Missing | NoTag::Several(_) | NoTag::OtherDigests(_)) => true,
    };
    if !is_elsewhere {
        return (None, None);
    }
    let facts = read_image(source, digest, &cache.platforms(source), cache).await;
    let mut bypassed = None;
    if let (true, Ok(Some(facts)), Some(tag)) = (target.by_digest, &facts, target.tag.tag()) {
        let (tag, facts) = (tag.clone(), facts.clone());
        let by_digest = Ok(ApprovedImage { tag, facts });
        bypassed = Some(std::mem::replace(found, by_digest));
    }
    let repository = match source {
        Source::Remote(remote) => Some(remote.to_string()),
        Source::Layout(_) => None,
    };
    (Some(RecordedImage { facts, repository }), bypassed)
}

/// The platforms of a pinned digest, which is requested once in a run.
async fn pinned_platforms(
    source: &Source,
    digest: Digest,
    cache: &ImageCache,
) -> Result<Vec<Platform>, Error> {
    if let Some(known) = cache.get(source, digest) {
        return Ok(known.platforms());
    }
    let (platforms, known) = resolve::read_platforms(source, digest).await?;
    cache.insert(source, known);
    Ok(platforms)
}

/// The images of the pinned digests, in the order of the configuration; `None` if an image is not pinned with
/// one digest or cannot be read.
pub(super) fn readable_images(
    config: &Config,
    found: &FoundPins,
    services: &Services,
) -> Result<Vec<Option<ImageFacts>>, Errors> {
    let images = pinned_images(config, found, services)?;
    Ok(images.into_iter().map(|image| image?.ok()?).collect())
}

/// The images that the order of builds needs, in the order of the configuration; `None` if an image has no
/// digest or cannot be read. Each digest is requested once in the run, even for the repositories of a fleet.
pub(super) async fn ordered_images(
    config: &Config,
    digests: &Digests,
    services: &Services,
) -> Result<Vec<Option<ImageFacts>>, Errors> {
    let sources = services.sources_of_images(config)?;
    let images = config.images.iter().zip(&sources);
    let work = images.map(|(image, source)| async move {
        let digest = *digests.get(&image.name)?;
        // Each platform's manifest is a pull from Docker Hub.
        if !image.repository.is_on_hub() {
            let attempt = services.image_attempts.of(source, digest);
            let read = async || {
                let cache = &services.images;
                read_image(source, digest, &[], cache).await.is_ok()
            };
            if !*attempt.get_or_init(read).await {
                return None;
            }
        }
        services.images.get(source, digest)?.facts().cloned()
    });
    Ok(future::join_all(work).await)
}

/// The images of the pinned digests, in the order of the configuration; `None` if an image is not pinned with
/// one digest.
pub(super) fn pinned_images(
    config: &Config,
    found: &FoundPins,
    services: &Services,
) -> Result<Vec<Option<ReadImage>>, Errors> {
    let mut digests = Vec::new();
    for index in 0..config.images.len() {
        digests.push(match found.digests_of(index)[..] {
            [digest] => vec![digest],
            _ => Vec::new(),
        });
    }
    let read = read_images(config, &digests, services)?.into_iter();
    Ok(read.map(|images| images.into_iter().next()).collect())
}

/// An image that was read by its digest; `None` if it is missing.
pub(super) type ReadImage = Result<Option<ImageFacts>, Error>;

/// Reads images by their digests, those of each image of the configuration one after another: a platform of
/// several digests is read once.
pub(super) fn read_images(
    config: &Config,
    digests: &[Vec<Digest>],
    services: &Services,
) -> Result<Vec<Vec<ReadImage>>, Errors> {
    let sources = services.sources_of_images(config)?;
    let cache = &services.images;
    let mut pulls = Vec::new();
    for ((image, source), digests) in config.images.iter().zip(&sources).zip(digests) {
        let mut manifests = Vec::new();
        for digest in digests {
            let pull = ManifestPull::resolution(TagOrDigest::Digest(*digest));
            match cache.get(source, *digest) {
                None => manifests.push(pull),
                Some(KnownManifest::Index(_)) => manifests.push(ManifestPull {
                    requests: 0,
                    ..pull
                }),
                Some(KnownManifest::Complete(_)) => {}
            }
        }
        pulls.push(ImagePulls {
            name: &image.name,
            repository: &image.repository,
            source,
            manifests,
        });
    }
    check_pull_limit(&pulls, services)?;
    let work = sources
        .iter()
        .zip(digests)
        .map(|(source, digests)| async move {
            let (mut images, mut platforms) = (Vec::new(), Vec::new());
            for digest in digests {
                let image = read_image(source, *digest, &platforms, cache).await;
                if let Ok(Some(facts)) = &image {
                    platforms.extend_from_slice(&facts.platforms);
                }
                images.push(image);
            }
            images
        });
    let names = config.image_names();
    Ok(services.wait_for_all("reading the pinned images", &names, work))
}

async fn read_image(
    source: &Source,
    digest: Digest,
    platforms: &[PlatformFacts],
    cache: &ImageCache,
) -> ReadImage {
    let reference = TagOrDigest::Digest(digest);
    let known = match cache.get(source, digest) {
        Some(known) => Some(known),
        None => resolve::known_manifest(source, &reference, platforms).await?,
    };
    let Some(known) = known else {
        return Ok(None);
    };
    let image = resolve::complete(source, known, platforms).await?;
    cache.insert(source, KnownManifest::Complete(image.clone()));
    Ok(Some(image))
}

/// The resolved images in the order of the configuration, or every error.
pub(crate) fn resolved_images<'r>(
    config: &Config,
    resolutions: &'r [Resolution],
) -> Result<Vec<&'r ApprovedImage>, Errors> {
    let (mut images, mut failed, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (image, resolution) in config.images.iter().zip(resolutions) {
        match (
            &resolution.found,
            checks::resolved_image(config, image, resolution),
        ) {
            (_, Ok(found)) => images.push(found),
            (Err(NoTag::Failed(error)), _) => errors.push(error.clone()),
            (_, Err(Err(error))) => errors.push(error),
            (_, Err(Ok(check))) => failed.push(check),
        }
    }
    let mut reasons = Vec::new();
    for cause in by_cause(&failed) {
        let message = format!("{}: {}", cause.subject(), cause.message());
        reasons.push(Error {
            notes: cause.evidence(),
            help: cause.help().map(str::to_owned),
            ..Error::failed(cause.code(), message)
        });
    }
    reasons.extend(errors);
    if reasons.is_empty() {
        Ok(images)
    } else {
        Err(reasons.into())
    }
}

/// The reported labels of the pinned images. An image that cannot be read has none.
pub(super) fn current_labels(
    config: &Config,
    found: &FoundPins,
    services: &Services,
) -> Result<Labels, Errors> {
    let mut labels = Labels::new();
    if config.report.labels.is_empty() {
        return Ok(labels);
    }
    let pinned = readable_images(config, found, services)?;
    for (image, facts) in config.images.iter().zip(pinned) {
        if let Some(facts) = facts {
            let of_image = resolve::reported_labels(&facts, &config.report.labels);
            labels.insert(image.name.clone(), of_image);
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::workflow::services::tests::services,
        oci::registry::{Layout, LayoutDirectory},
        support::layout,
    };

    #[test]
    fn replaced_images_are_known() {
        let directory = tempfile::tempdir().unwrap();
        let layout = layout::Layout::at(&directory.path().join("app"));
        let digests = ["v1", "v2", "v3"].map(|tag| {
            let digest = layout.image(tag, &[layout::Platform::new("linux/amd64", tag)]);
            Digest::parse_input(&digest).unwrap()
        });
        let source = Source::Layout(Layout::new(LayoutDirectory::new("app", directory.path())));
        let tag = Tag::parse("v1").unwrap();
        // The tag has the first digest. Each row: the pinned digests, and those that the tag replaces.
        for (pins, replaced) in [
            (&[][..], &[][..]),
            (&[0], &[]),
            (&[1], &[1]),
            (&[0, 1], &[1]),
            (&[1, 2], &[1, 2]),
        ] {
            let target = Target {
                pinned: pins.iter().map(|at| digests[*at]).collect(),
                ..Target::new(TagPattern::Tag(tag.clone()))
            };
            let selected = Ok(tag.clone());
            let services = services();
            let work = resolution(&source, target, None, selected, &services);
            let resolved = services.wait(work, "resolving");
            assert_eq!(resolved.found.unwrap().facts.digest, digests[0]);
            for (_, platforms) in &resolved.old_platforms {
                assert_eq!(platforms.as_ref().unwrap().len(), 1);
            }
            let old = resolved.old_platforms.iter().map(|(digest, _)| *digest);
            let expected: Vec<_> = replaced.iter().map(|at| digests[*at]).collect();
            assert_eq!(old.collect::<Vec<_>>(), expected, "{pins:?}");
            for (at, digest) in digests.into_iter().enumerate() {
                let is_known = services.images.get(&source, digest).is_some();
                assert_eq!(is_known, replaced.contains(&at), "{pins:?}");
            }
        }
    }

    #[test]
    fn known_manifests_are_not_pulled() {
        let [known, new] = ["known", "new"].map(|text| Digest::of(text.as_bytes()));
        let tag = Tag::parse("v1").unwrap();
        let target = Target {
            pinned: vec![known, new],
            ..Target::new(TagPattern::Tag(tag.clone()))
        };
        let pulls = |tag| {
            let pulls = required_pulls(tag, &target, 3, |digest| digest == known);
            let rows = pulls.into_iter();
            rows.map(|pull| {
                (
                    pull.reference.to_string(),
                    pull.with_platforms,
                    pull.further,
                )
            })
            .collect::<Vec<_>>()
        };
        let pinned = (format!("@{new}"), false, 0);
        assert_eq!(
            pulls(Some(&tag)),
            [(":v1".to_owned(), true, 3), pinned.clone()]
        );
        assert_eq!(pulls(None), [pinned]);
    }
}
