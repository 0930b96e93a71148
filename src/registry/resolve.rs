//! What a tag names: its digest, and manifest and config of every platform.
//!
//! Each tag is requested once; everything below it is requested by digest. Whether the responses
//! are good enough is for `checks` to say.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, future, stream};

use crate::{
    error::{Class, Error},
    oci::{
        Descriptor, Digest, ImageConfig, ImageManifest, Manifest, Platform, TagOrDigest, Verified,
    },
    registry::{Source, memory},
};

/// The most entries of an index; more would cause endless requests.
const MAX_PLATFORMS: usize = 100;
/// How many platforms of an image are read at once: as many as one host is requested.
const AT_ONCE: usize = 8;

/// What a tag or a digest names.
#[derive(Debug, Clone)]
pub struct ImageFacts {
    /// The digest of the manifest or index itself.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Each platform, in the order of the index; at least one, unless another run verified the image.
    pub platforms: Vec<PlatformFacts>,
}

impl ImageFacts {
    /// The value of a label on the first platform that has it; empty if none has.
    pub fn label(&self, name: &str) -> &str {
        let mut values = self
            .platforms
            .iter()
            .filter_map(|platform| platform.config.labels.get(name));
        values.next().map_or("", String::as_str)
    }
}

/// One platform of an image.
#[derive(Debug, Clone)]
pub struct PlatformFacts {
    /// As the index says, or else as the config says.
    pub platform: Platform,
    /// The digest of the platform's manifest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The config.
    pub config: ImageConfig,
}

/// Reads the manifest that `want` names; `None` if the source has no such tag or digest.
pub async fn resolve(source: &Source, want: &TagOrDigest) -> Result<Option<ImageFacts>, Error> {
    let Some(top) = source.manifest(want, None).await? else {
        return Ok(None);
    };
    let what = format!("{source}{want}");
    let platforms = match top.value {
        Manifest::Image(manifest) => vec![single(source, top.digest, manifest, None).await?],
        Manifest::Index(index) => {
            let entries = runnable(index.manifests, &what)?;
            source.memory().keep(memory::of_entries(&entries), &what)?;
            let platforms = entries.iter().map(|entry| child(source, entry));
            // Every platform is requested; the first error in the order of the index is the one
            // reported.
            let platforms = stream::iter(platforms).buffered(AT_ONCE);
            let platforms: Vec<_> = platforms.collect().await;
            platforms.into_iter().collect::<Result<_, _>>()?
        }
    };
    Ok(Some(ImageFacts {
        digest: top.digest,
        media_type: top.media_type,
        platforms,
    }))
}

/// The platforms of a digest that may go: an index names them; of a single manifest, and of an entry
/// without a platform, the config does.
pub async fn platforms_of(source: &Source, digest: Digest) -> Result<Vec<Platform>, Error> {
    let want = TagOrDigest::Digest(digest);
    let top = source.manifest(&want, None).await?;
    let top =
        top.ok_or_else(|| Error::unavailable(format!("{source}{want}"), "it no longer exists"))?;
    match top.value {
        Manifest::Image(manifest) => {
            let config = source.config(&manifest.config).await?.value;
            Ok(vec![config.platform])
        }
        Manifest::Index(index) => {
            let entries = runnable(index.manifests, &format!("{source}{want}"))?;
            let platforms = entries.iter().map(|entry| async move {
                match entry.platform() {
                    Some(platform) => Ok(platform),
                    None => Ok(child(source, entry).await?.platform),
                }
            });
            future::join_all(platforms).await.into_iter().collect()
        }
    }
}

/// The entries of an index that are for platforms.
fn runnable(mut entries: Vec<Descriptor>, what: &str) -> Result<Vec<Descriptor>, Error> {
    entries.retain(|entry| !entry.is_attestation());
    if entries.is_empty() {
        return Err(Error::about(
            Class::Ambiguous,
            what,
            "the index has no entry for a platform",
        ));
    }
    if entries.len() > MAX_PLATFORMS {
        let reason = format!(
            "the index has {} entries, more than {MAX_PLATFORMS}",
            entries.len()
        );
        return Err(Error::unavailable(what, reason));
    }
    Ok(entries)
}

async fn child(source: &Source, entry: &Descriptor) -> Result<PlatformFacts, Error> {
    let want = TagOrDigest::Digest(entry.digest);
    let what = || format!("{source}{want}");
    source.memory().keep(0, &what())?;
    let Some(found) = source.manifest(&want, Some(&entry.media_type)).await? else {
        return Err(Error::unavailable(
            what(),
            "the index lists it, but it is missing",
        ));
    };
    if found.size != entry.size {
        let reason = format!(
            "it has {} bytes, but the index states {}",
            found.size, entry.size
        );
        return Err(Error::unavailable(what(), reason));
    }
    match found {
        Verified {
            value: Manifest::Image(manifest),
            digest,
            ..
        } => single(source, digest, manifest, entry.platform()).await,
        Verified {
            value: Manifest::Index(_),
            ..
        } => Err(Error::about(
            Class::Ambiguous,
            what(),
            "an index within an index",
        )),
    }
}

async fn single(
    source: &Source,
    digest: Digest,
    manifest: ImageManifest,
    platform: Option<Platform>,
) -> Result<PlatformFacts, Error> {
    let what = || format!("{source}@{digest}");
    source
        .memory()
        .keep(memory::of_manifest(&manifest), &what())?;
    let config = source.config(&manifest.config).await?.value;
    source.memory().keep(memory::of_config(&config), &what())?;
    let platform = platform.unwrap_or_else(|| config.platform.clone());
    Ok(PlatformFacts {
        platform,
        digest,
        manifest,
        config,
    })
}

/// The value of each label in `names`; `None` where no platform has it. Where platforms differ,
/// each is shown.
pub fn reported_labels(facts: &ImageFacts, names: &[String]) -> BTreeMap<String, Option<String>> {
    names
        .iter()
        .map(|name| (name.clone(), value(facts, name)))
        .collect()
}

fn value(facts: &ImageFacts, name: &str) -> Option<String> {
    let values: Vec<_> = facts
        .platforms
        .iter()
        .map(|p| (&p.platform, p.config.labels.get(name)))
        .collect();
    let (_, first) = values.first()?;
    if values.iter().all(|(_, value)| value == first) {
        return first.cloned();
    }
    let shown = values.iter().map(|(platform, value)| {
        format!(
            "{platform}: {}",
            value.map_or("(absent)", |value| value.as_str())
        )
    });
    Some(shown.collect::<Vec<_>>().join(", "))
}
