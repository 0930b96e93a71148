//! Pinned digests without any tag, which cleanup policies and garbage collections of registries delete.

use super::Services;
use crate::{
    base::error::{Code, Error},
    config::Config,
    core::checks::{self, Check, Retagging},
    core::pins::FoundPins,
    oci::{
        Digest, Revision, Tag, TagOrDigest, TagPattern,
        registry::{Source, is_untagged, resolve},
    },
};

/// A pinned digest of an image.
pub(crate) struct PinnedDigest<'p> {
    /// The index of the image in the configuration.
    pub(crate) image: usize,
    pub(crate) digest: Digest,
    pub(crate) source: &'p Source,
    /// The tag to set, whatever the labels state.
    pub(crate) selected: Option<Tag>,
    /// The tag of the recorded revision. It and those of the pins count only if the labels state no revision, because a
    /// text may be outdated.
    pub(crate) recorded: Option<Tag>,
    /// The tags in the pins.
    pub(crate) pins: Vec<Tag>,
}

/// A pinned digest that exists without a tag.
pub(crate) struct UntaggedPin {
    pub(crate) image: usize,
    pub(crate) digest: Digest,
    /// The tag to set again; `None` if neither the pins nor the labels state one.
    pub(crate) tag: Option<Tag>,
    /// Whether `prune restore` sets this tag without `--tag`.
    is_default: bool,
    /// The digest that has this tag, which is not moved.
    pub(crate) taken_by: Option<Digest>,
}

impl UntaggedPin {
    /// The warning.
    pub(crate) fn check(&self, config: &Config, found: &FoundPins) -> Check {
        checks::untagged_pin(
            config,
            self.image,
            self.digest,
            self.retagging(self.is_default),
            Some(found),
        )
    }

    /// The warning about a digest that only history records.
    pub(crate) fn check_recorded(&self, config: &Config) -> Check {
        checks::untagged_pin(config, self.image, self.digest, self.retagging(false), None)
    }

    fn retagging(&self, is_default: bool) -> Retagging<'_> {
        match &self.tag {
            Some(tag) if self.taken_by.is_none() && is_default => Retagging::Default(tag),
            Some(tag) if self.taken_by.is_none() => Retagging::Selected(tag),
            Some(_) | None => Retagging::Unknown,
        }
    }
}

/// Whether the tags of an image are compared with its digests. Docker Hub deletes no manifest by itself, and counts each
/// request.
pub(crate) fn is_compared(config: &Config, image: usize) -> bool {
    !config.images[image].repository.is_on_hub()
}

/// The pinned digests of a work tree. `recorded`: the tag of the revision of the set, if it is known.
pub(crate) fn pinned_digests<'p>(
    config: &Config,
    found: &FoundPins,
    sources: &'p [Source],
    recorded: Option<&Tag>,
) -> Vec<PinnedDigest<'p>> {
    let mut pinned = Vec::new();
    for (image, source) in sources.iter().enumerate() {
        if !is_compared(config, image) {
            continue;
        }
        for digest in found.digests_of(image) {
            pinned.push(PinnedDigest {
                image,
                digest,
                source,
                selected: None,
                recorded: recorded.cloned(),
                pins: found.tags_of(image),
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
        selected,
        recorded,
        pins,
    } = pinned;
    let known: Vec<Tag> = (selected.iter().chain(&recorded).chain(&pins))
        .cloned()
        .collect();
    if !is_untagged(source, digest, &known).await? {
        return Ok(None);
    }
    let (tag, is_default) = if selected.is_some() {
        (selected, false)
    } else {
        match labeled(config, source, digest).await? {
            Some(revision) => (tag_of(config, &revision, known), true),
            None => (known.into_iter().next(), recorded.is_none()),
        }
    };
    let taken_by = match &tag {
        Some(tag) => {
            let reference = TagOrDigest::Tag(tag.clone());
            let other = source.manifest(&reference, None).await?;
            other.map(|other| other.digest)
        }
        None => None,
    };
    Ok(Some(UntaggedPin {
        image,
        digest,
        tag,
        is_default,
        taken_by,
    }))
}

/// The tag of a revision; for a pattern with `*`, the first of these tags that matches it.
fn tag_of(config: &Config, revision: &Revision, known: Vec<Tag>) -> Option<Tag> {
    match config.revision.tag.tag(revision).ok()? {
        TagPattern::Tag(tag) => Some(tag),
        TagPattern::Wildcard(pattern) => known.into_iter().find(|tag| pattern.matches(tag)),
    }
}

/// The revision in the labels of a digest; an artifact that is not an image has no labels.
async fn labeled(
    config: &Config,
    source: &Source,
    digest: Digest,
) -> Result<Option<Revision>, Error> {
    match resolve::resolve(source, &TagOrDigest::Digest(digest), &[]).await {
        Ok(facts) => Ok(facts.and_then(|facts| config.revision.stated_by(&facts))),
        Err(error) if error.code == Code::NOT_AN_IMAGE => Ok(None),
        Err(error) => Err(error),
    }
}
