//! Pinned digests without any tag, which cleanup policies and garbage collections of registries delete.

use super::Services;
use crate::{
    base::error::Error,
    config::Config,
    core::checks::{self, Check},
    core::pins::FoundPins,
    oci::{
        Digest, Tag, TagOrDigest,
        registry::{Source, is_untagged, resolve},
    },
};

/// A pinned digest of an image.
pub(crate) struct PinnedDigest<'p> {
    /// The index of the image in the configuration.
    pub(crate) image: usize,
    pub(crate) digest: Digest,
    pub(crate) source: &'p Source,
    /// The tags that it should have; the first is the one to set again.
    pub(crate) tags: Vec<Tag>,
}

/// A pinned digest that exists without a tag.
pub(crate) struct UntaggedPin {
    pub(crate) image: usize,
    pub(crate) digest: Digest,
    /// The tag to set again; `None` if neither the pins nor the labels state one.
    pub(crate) tag: Option<Tag>,
    /// Whether another digest has this tag, which is not moved.
    is_taken: bool,
}

impl UntaggedPin {
    /// The warning.
    pub(crate) fn check(&self, config: &Config, found: &FoundPins) -> Check {
        checks::untagged_pin(
            config,
            self.image,
            self.digest,
            self.free_tag(),
            Some(found),
        )
    }

    fn free_tag(&self) -> Option<&Tag> {
        self.tag.as_ref().filter(|_| !self.is_taken)
    }

    /// The warning about a digest that only history records.
    pub(crate) fn check_recorded(&self, config: &Config) -> Check {
        checks::untagged_pin(config, self.image, self.digest, self.free_tag(), None)
    }
}

/// Whether the tags of an image are compared with its digests. Docker Hub deletes no manifest by itself, and counts each
/// request.
pub(crate) fn is_compared(config: &Config, image: usize) -> bool {
    !config.images[image].repository.is_on_hub()
}

/// The pinned digests of a work tree. `expected`: the tag of the revision of the set, if it is known.
pub(crate) fn pinned_digests<'p>(
    config: &Config,
    found: &FoundPins,
    sources: &'p [Source],
    expected: Option<&Tag>,
) -> Vec<PinnedDigest<'p>> {
    let mut pinned = Vec::new();
    for (image, source) in sources.iter().enumerate() {
        if !is_compared(config, image) {
            continue;
        }
        let mut tags: Vec<Tag> = expected.into_iter().cloned().collect();
        tags.extend(found.tags_of(image));
        for digest in found.digests_of(image) {
            pinned.push(PinnedDigest {
                image,
                digest,
                source,
                tags: tags.clone(),
            });
        }
    }
    pinned
}

/// Finds the digests without a tag. The errors are the digests for which that is unknown.
pub(crate) fn untagged_pins(
    config: &Config,
    pinned: Vec<PinnedDigest<'_>>,
    services: &Services,
) -> Vec<Result<UntaggedPin, Error>> {
    let names: Vec<String> = pinned
        .iter()
        .map(|pinned| config.images[pinned.image].name.clone())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut requests = Vec::new();
    for pinned in pinned {
        requests.push(find_untagged(config, pinned));
    }
    let task = "looking for the tags of the pinned digests";
    let results = services.wait_for_all(task, &names, requests);
    results.into_iter().filter_map(Result::transpose).collect()
}

/// The digest if it has no tag.
pub(crate) async fn find_untagged(
    config: &Config,
    pinned: PinnedDigest<'_>,
) -> Result<Option<UntaggedPin>, Error> {
    let PinnedDigest {
        image,
        digest,
        source,
        tags,
    } = pinned;
    if !is_untagged(source, digest, &tags).await? {
        return Ok(None);
    }
    let tag = match tags.into_iter().next() {
        Some(tag) => Some(tag),
        None => labeled_tag(config, source, digest).await?,
    };
    let is_taken = match &tag {
        Some(tag) => {
            let reference = TagOrDigest::Tag(tag.clone());
            source.manifest(&reference, None).await?.is_some()
        }
        None => false,
    };
    Ok(Some(UntaggedPin {
        image,
        digest,
        tag,
        is_taken,
    }))
}

/// The tag of the revision in the labels of a digest.
async fn labeled_tag(
    config: &Config,
    source: &Source,
    digest: Digest,
) -> Result<Option<Tag>, Error> {
    let facts = resolve::resolve(source, &TagOrDigest::Digest(digest), &[]).await?;
    Ok(facts.and_then(|facts| {
        let revision = config.revision.stated_by(&facts)?;
        config.revision.exact_tag(&revision)
    }))
}
