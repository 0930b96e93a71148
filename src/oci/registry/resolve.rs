//! Resolves a tag: its digest, and the manifest and config of each platform.
//!
//! Each tag is requested once; all other requests are by digest. `checks` evaluates the result.

use std::{collections::BTreeMap, time::SystemTime};

use futures_util::{StreamExt as _, future, stream};

use super::{Source, memory};
use crate::{
    base::{
        error::{Class, Code, Error},
        text::words,
        untrusted::{masked_label, short},
    },
    oci::{Descriptor, Digest, ImageConfig, ImageManifest, Manifest, Platform, TagOrDigest, date},
};

/// The maximum number of entries in an index, which limits the number of requests.
const MAX_PLATFORMS: usize = 100;
/// The maximum number of platforms of an image that are read concurrently.
const CONCURRENCY: usize = 8;

/// A resolved image.
#[derive(Debug, Clone)]
pub(crate) struct ImageFacts {
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// The media type of the manifest or index.
    pub media_type: String,
    /// The platforms in the order of the index; empty only if another run verified the image.
    pub platforms: Vec<PlatformFacts>,
}

impl ImageFacts {
    /// The creation time of the latest platform; `None` if a platform has none, or a malformed one.
    pub(crate) fn created(&self) -> Option<SystemTime> {
        let mut latest = None;
        for platform in &self.platforms {
            let created = date::parse(platform.config.created.as_deref()?)?;
            latest = latest.max(Some(created));
        }
        latest
    }

    /// The platform whose manifest has a digest; `None` for the digest of the image itself.
    pub(crate) fn platform_of(&self, digest: Digest) -> Option<&Platform> {
        let mut platforms = self.platforms.iter();
        let found = platforms.find(|found| found.digest == digest && digest != self.digest)?;
        Some(&found.platform)
    }

    /// The text of the revision, if all platforms state the same.
    pub(crate) fn common_revision(&self, field: RevisionField<'_>) -> Option<&str> {
        let platforms = self.platforms.iter();
        let mut texts = platforms.map(|platform| platform.stated_revision(field).text());
        let first = texts.next()??;
        texts.all(|text| text == Some(first)).then_some(first)
    }

    /// The text of the revision on the first platform that states one; empty if none does.
    pub(crate) fn first_revision(&self, field: RevisionField<'_>) -> &str {
        let mut texts = self.platforms.iter();
        texts
            .find_map(|platform| platform.stated_revision(field).text())
            .unwrap_or_default()
    }

    /// The value of a label, if all platforms have the same.
    pub(crate) fn common_label(&self, name: &str) -> Option<&str> {
        let platforms = self.platforms.iter();
        let mut values = platforms.map(|platform| platform.config.labels.get(name));
        let first = values.next()??;
        values.all(|value| value == Some(first)).then_some(first)
    }
}

/// One platform of an image.
#[derive(Debug, Clone)]
pub(crate) struct PlatformFacts {
    /// The platform in the index; without one, the platform in the config.
    pub platform: Platform,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The platform's manifest.
    pub manifest: ImageManifest,
    /// The platform's config.
    pub config: ImageConfig,
    /// The annotations of the index, and those of the manifest, which take precedence.
    pub annotations: BTreeMap<String, String>,
}

words! {
    /// Where an image records its revision.
    pub enum RevisionSource {
        Label = "label",
        Annotation = "annotation",
        /// Both must agree if both exist.
        Either = "either",
    }
}

/// The label or the annotation in which images state their revision.
#[derive(Debug, Clone, Copy)]
pub struct RevisionField<'c> {
    pub name: &'c str,
    pub source: RevisionSource,
}

/// The text in which a platform states its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatedRevision<'f> {
    Absent,
    /// The label is absent, but the annotation, which the configuration does not select, exists.
    OnlyAnnotation(&'f str),
    Text(&'f str),
    /// The label and the annotation differ.
    Contradiction {
        label: &'f str,
        annotation: &'f str,
    },
}

impl<'f> StatedRevision<'f> {
    /// The text, unless it is absent or contradictory.
    pub(crate) fn text(self) -> Option<&'f str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::OnlyAnnotation(_) | Self::Contradiction { .. } => None,
        }
    }
}

impl PlatformFacts {
    /// The text in the label or the annotation that the configuration selects.
    pub(crate) fn stated_revision(&self, field: RevisionField<'_>) -> StatedRevision<'_> {
        let name = field.name;
        let label = self.config.labels.get(name).map(String::as_str);
        let annotation = self.annotations.get(name).map(String::as_str);
        match (field.source, label, annotation) {
            (RevisionSource::Label | RevisionSource::Either, Some(label), None)
            | (RevisionSource::Label, Some(label), Some(_)) => StatedRevision::Text(label),
            (RevisionSource::Annotation | RevisionSource::Either, None, Some(annotation))
            | (RevisionSource::Annotation, Some(_), Some(annotation)) => {
                StatedRevision::Text(annotation)
            }
            (RevisionSource::Either, Some(label), Some(annotation)) if label == annotation => {
                StatedRevision::Text(label)
            }
            (RevisionSource::Either, Some(label), Some(annotation)) => {
                StatedRevision::Contradiction { label, annotation }
            }
            (RevisionSource::Label, None, Some(annotation)) => {
                StatedRevision::OnlyAnnotation(annotation)
            }
            (_, None, None) | (RevisionSource::Annotation, Some(_), None) => StatedRevision::Absent,
        }
    }
}

/// A manifest or index whose platforms are known, although those of an index were not read.
#[derive(Debug, Clone)]
pub(crate) enum KnownManifest {
    Complete(ImageFacts),
    Index(KnownIndex),
}

/// The entries of an index.
#[derive(Debug, Clone)]
pub(crate) struct KnownIndex {
    digest: Digest,
    media_type: String,
    entries: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
    /// The entries without a platform, which were read for it.
    read: Vec<PlatformFacts>,
}

impl KnownManifest {
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Complete(facts) => facts.digest,
            Self::Index(index) => index.digest,
        }
    }

    /// The platforms; without those that only an unread entry of an index states.
    pub(crate) fn platforms(&self) -> Vec<Platform> {
        match self {
            Self::Complete(facts) => {
                let platforms = facts.platforms.iter();
                platforms.map(|image| image.platform.clone()).collect()
            }
            Self::Index(index) => {
                let mut of_read = index.read.iter().map(|image| image.platform.clone());
                let mut platforms = Vec::new();
                for entry in &index.entries {
                    platforms.extend(entry.platform.clone().or_else(|| of_read.next()));
                }
                platforms
            }
        }
    }

    /// The image, unless it is an index whose platforms were not read.
    pub(crate) fn facts(&self) -> Option<&ImageFacts> {
        match self {
            Self::Complete(facts) => Some(facts),
            Self::Index(_) => None,
        }
    }
}

/// Resolves a tag or digest; `None` if it is missing. `read`: platforms that need no request.
pub(crate) async fn resolve(
    source: &Source,
    reference: &TagOrDigest,
    read: &[PlatformFacts],
) -> Result<Option<ImageFacts>, Error> {
    match known_manifest(source, reference, read).await? {
        None => Ok(None),
        Some(known) => complete(source, known, read).await.map(Some),
    }
}

/// Reads a manifest or an index, but not the platforms of an index. `read`: platforms that need no request.
pub(crate) async fn known_manifest(
    source: &Source,
    reference: &TagOrDigest,
    read: &[PlatformFacts],
) -> Result<Option<KnownManifest>, Error> {
    let Some(top) = source.manifest(reference, None).await? else {
        return Ok(None);
    };
    let name = format!("{source}{reference}");
    Ok(Some(match top.value {
        Manifest::Image(manifest) => KnownManifest::Complete(ImageFacts {
            digest: top.digest,
            media_type: top.media_type,
            platforms: vec![read_image(source, top.digest, manifest, None, read).await?],
        }),
        Manifest::Index(index) => KnownManifest::Index(KnownIndex {
            digest: top.digest,
            media_type: top.media_type,
            entries: platform_entries(index.manifests, &name)?,
            annotations: index.annotations,
            read: Vec::new(),
        }),
    }))
}

/// Reads the platforms of an index. `read`: platforms that need no request.
pub(crate) async fn complete(
    source: &Source,
    known: KnownManifest,
    read: &[PlatformFacts],
) -> Result<ImageFacts, Error> {
    let index = match known {
        KnownManifest::Complete(facts) => return Ok(facts),
        KnownManifest::Index(index) => index,
    };
    let name = format!("{source}@{}", index.digest);
    let size = memory::entries_size(&index.entries);
    source.memory().add(size, &name)?;
    let read = [&index.read, read].concat();
    // All platforms are read before an error is returned, so that the reported error is
    // always the first in the order of the index.
    let results: Vec<_> = stream::iter(&index.entries)
        .map(|entry| read_entry(source, entry, &index.annotations, &read))
        .buffered(CONCURRENCY)
        .collect()
        .await;
    Ok(ImageFacts {
        digest: index.digest,
        media_type: index.media_type,
        platforms: results.into_iter().collect::<Result<_, _>>()?,
    })
}

/// The platforms of a digest. The config states the platform of a single manifest, and of an entry
/// without a platform.
pub(crate) async fn read_platforms(
    source: &Source,
    digest: Digest,
) -> Result<(Vec<Platform>, KnownManifest), Error> {
    let reference = TagOrDigest::Digest(digest);
    let Some(known) = known_manifest(source, &reference, &[]).await? else {
        let name = format!("{source}{reference}");
        return Err(Error::unavailable(name, "it no longer exists"));
    };
    let mut index = match known {
        complete @ KnownManifest::Complete(_) => return Ok((complete.platforms(), complete)),
        KnownManifest::Index(index) => index,
    };
    let unknown = index.entries.iter();
    let unknown = unknown.filter(|entry| entry.platform.is_none());
    let read =
        future::join_all(unknown.map(|entry| read_entry(source, entry, &index.annotations, &[])))
            .await;
    index.read = read.into_iter().collect::<Result<_, Error>>()?;
    let known = KnownManifest::Index(index);
    Ok((known.platforms(), known))
}

/// The entries of an index, without attestations.
fn platform_entries(mut entries: Vec<Descriptor>, name: &str) -> Result<Vec<Descriptor>, Error> {
    entries.retain(|entry| !entry.is_attestation());
    if entries.is_empty() {
        return Err(Error::about(
            Class::Ambiguous,
            name,
            "the index has no entry for a platform",
        ));
    }
    if entries.len() > MAX_PLATFORMS {
        let reason = format!(
            "the index has {} entries, more than {MAX_PLATFORMS}",
            entries.len()
        );
        return Err(Error::unavailable(name, reason));
    }
    Ok(entries)
}

/// Fetches the manifest and config of an index's entry.
async fn read_entry(
    source: &Source,
    entry: &Descriptor,
    annotations: &BTreeMap<String, String>,
    read: &[PlatformFacts],
) -> Result<PlatformFacts, Error> {
    // The entry of another index may state another platform.
    if let Some(facts) = read.iter().find(|facts| facts.digest == entry.digest) {
        let platform = entry
            .platform
            .clone()
            .unwrap_or_else(|| facts.config.platform.clone());
        let facts = facts.clone();
        return Ok(PlatformFacts {
            platform,
            annotations: with_index_annotations(annotations, &facts.manifest),
            ..facts
        });
    }
    let reference = TagOrDigest::Digest(entry.digest);
    let name = format!("{source}{reference}");
    // Sends no further request once the limit is exceeded.
    source.memory().add(0, &name)?;
    let Some(found) = source.manifest(&reference, Some(&entry.media_type)).await? else {
        let reason = "the index lists it, but it is missing";
        return Err(Error::about(Class::MissingContent, name, reason));
    };
    if found.size != entry.size {
        let reason = format!(
            "it has {} bytes, but the index states {}",
            found.size, entry.size
        );
        return Err(Error::about(Class::WrongBytes, name, reason));
    }
    match found.value {
        Manifest::Image(manifest) => {
            let platform = entry.platform.clone();
            let facts = read_image(source, found.digest, manifest, platform, read).await?;
            Ok(PlatformFacts {
                annotations: with_index_annotations(annotations, &facts.manifest),
                ..facts
            })
        }
        Manifest::Index(_) => Err(Error::about(
            Class::Ambiguous,
            name,
            "an index within an index",
        )),
    }
}

/// Fetches the config of a manifest, unless one of the platforms in `read` has it.
async fn read_image(
    source: &Source,
    digest: Digest,
    manifest: ImageManifest,
    platform: Option<Platform>,
    read: &[PlatformFacts],
) -> Result<PlatformFacts, Error> {
    let name = format!("{source}@{digest}");
    if let Some(other) = manifest.other_artifact() {
        let reason = format!(
            "it is an artifact of the type `{}`, not an image",
            short(other, 100)
        );
        return Err(Error {
            code: Code::NOT_AN_IMAGE,
            ..Error::about(Class::Ambiguous, name, reason)
        });
    }
    source
        .memory()
        .add(memory::manifest_size(&manifest), &name)?;
    let (wanted, size) = (manifest.config.digest, manifest.config.size);
    let has_config = |facts: &&PlatformFacts| {
        let config = &facts.manifest.config;
        config.digest == wanted && config.size == size
    };
    let config = match read.iter().find(has_config) {
        Some(facts) => facts.config.clone(),
        None => source.config(&manifest.config).await?.value,
    };
    source.memory().add(memory::config_size(&config), &name)?;
    let platform = platform.unwrap_or_else(|| config.platform.clone());
    Ok(PlatformFacts {
        platform,
        digest,
        annotations: manifest.annotations.clone(),
        manifest,
        config,
    })
}

/// The annotations of an index and of one of its manifests.
fn with_index_annotations(
    of_index: &BTreeMap<String, String>,
    manifest: &ImageManifest,
) -> BTreeMap<String, String> {
    let mut annotations = of_index.clone();
    annotations.extend(manifest.annotations.clone());
    annotations
}

/// The value of each label in `names`; `None` if no platform has it. Different values are listed by
/// platform.
pub(crate) fn reported_labels(
    facts: &ImageFacts,
    names: &[String],
) -> BTreeMap<String, Option<String>> {
    names
        .iter()
        .map(|name| (name.clone(), label_text(facts, name)))
        .collect()
}

fn label_text(facts: &ImageFacts, name: &str) -> Option<String> {
    let first = facts.platforms.first()?.config.labels.get(name);
    let (mut is_same, mut texts) = (true, Vec::new());
    for PlatformFacts {
        platform, config, ..
    } in &facts.platforms
    {
        let value = config.labels.get(name);
        is_same &= value == first;
        let shown = value.map(|value| masked_label(name, value));
        texts.push(format!(
            "{platform}: {}",
            shown.as_deref().unwrap_or("(absent)")
        ));
    }
    if is_same {
        return first.map(|value| masked_label(name, value));
    }
    Some(texts.join(", "))
}
