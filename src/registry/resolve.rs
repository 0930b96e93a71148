//! Resolves a tag: its digest, and the manifest and config of each platform.
//!
//! Each tag is requested once; all other requests are by digest. `checks` evaluates the result.

use std::{collections::BTreeMap, time::SystemTime};

use futures_util::{StreamExt as _, future, stream};

use crate::{
    error::{Class, Error},
    oci::{Descriptor, Digest, ImageConfig, ImageManifest, Manifest, Platform, TagOrDigest, date},
    registry::{Source, memory},
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

    /// The value of a label on the first platform that has it; empty if no platform has it.
    pub(crate) fn label(&self, name: &str) -> &str {
        for platform in &self.platforms {
            if let Some(value) = platform.config.labels.get(name) {
                return value;
            }
        }
        ""
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
}

/// Resolves a tag or digest; `None` if it is missing.
pub(crate) async fn resolve(
    source: &Source,
    reference: &TagOrDigest,
) -> Result<Option<ImageFacts>, Error> {
    let Some(top) = source.manifest(reference, None).await? else {
        return Ok(None);
    };
    let name = format!("{source}{reference}");
    let platforms = match top.value {
        Manifest::Image(manifest) => vec![read_image(source, top.digest, manifest, None).await?],
        Manifest::Index(index) => {
            let entries = platform_entries(index.manifests, &name)?;
            source.memory().add(memory::entries_size(&entries), &name)?;
            // All platforms are read before an error is returned, so that the reported error is
            // always the first in the order of the index.
            let results: Vec<_> = stream::iter(&entries)
                .map(|entry| read_entry(source, entry))
                .buffered(CONCURRENCY)
                .collect()
                .await;
            results.into_iter().collect::<Result<_, _>>()?
        }
    };
    Ok(Some(ImageFacts {
        digest: top.digest,
        media_type: top.media_type,
        platforms,
    }))
}

/// The platforms of a digest. The config states the platform of a single manifest, and of an entry
/// without a platform.
pub(crate) async fn read_platforms(
    source: &Source,
    digest: Digest,
) -> Result<(Vec<Platform>, Option<ImageFacts>), Error> {
    let reference = TagOrDigest::Digest(digest);
    let name = format!("{source}{reference}");
    let Some(top) = source.manifest(&reference, None).await? else {
        return Err(Error::unavailable(name, "it no longer exists"));
    };
    match top.value {
        Manifest::Image(manifest) => {
            let image = read_image(source, top.digest, manifest, None).await?;
            let platforms = vec![image.platform.clone()];
            let image = ImageFacts {
                digest: top.digest,
                media_type: top.media_type,
                platforms: vec![image],
            };
            Ok((platforms, Some(image)))
        }
        Manifest::Index(index) => {
            let entries = platform_entries(index.manifests, &name)?;
            let platforms = entries.iter().map(|entry| async move {
                match entry.platform() {
                    Some(platform) => Ok(platform),
                    None => Ok(read_entry(source, entry).await?.platform),
                }
            });
            let platforms: Result<_, Error> =
                future::join_all(platforms).await.into_iter().collect();
            Ok((platforms?, None))
        }
    }
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
async fn read_entry(source: &Source, entry: &Descriptor) -> Result<PlatformFacts, Error> {
    let reference = TagOrDigest::Digest(entry.digest);
    let name = format!("{source}{reference}");
    // Sends no further request once the limit is exceeded.
    source.memory().add(0, &name)?;
    let Some(found) = source.manifest(&reference, Some(&entry.media_type)).await? else {
        let reason = "the index lists it, but it is missing";
        return Err(Error::unavailable(name, reason));
    };
    if found.size != entry.size {
        let reason = format!(
            "it has {} bytes, but the index states {}",
            found.size, entry.size
        );
        return Err(Error::unavailable(name, reason));
    }
    match found.value {
        Manifest::Image(manifest) => {
            read_image(source, found.digest, manifest, entry.platform()).await
        }
        Manifest::Index(_) => Err(Error::about(
            Class::Ambiguous,
            name,
            "an index within an index",
        )),
    }
}

/// Fetches the config of a manifest.
async fn read_image(
    source: &Source,
    digest: Digest,
    manifest: ImageManifest,
    platform: Option<Platform>,
) -> Result<PlatformFacts, Error> {
    let name = format!("{source}@{digest}");
    source
        .memory()
        .add(memory::manifest_size(&manifest), &name)?;
    let config = source.config(&manifest.config).await?.value;
    source.memory().add(memory::config_size(&config), &name)?;
    let platform = platform.unwrap_or_else(|| config.platform.clone());
    Ok(PlatformFacts {
        platform,
        digest,
        manifest,
        config,
    })
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
        texts.push(format!(
            "{platform}: {}",
            value.map_or("(absent)", String::as_str)
        ));
    }
    if is_same {
        return first.cloned();
    }
    Some(texts.join(", "))
}
