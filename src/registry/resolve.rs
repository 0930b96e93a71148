//! What a tag names: its digest, and manifest and config of every platform.
//!
//! Each tag is asked for once; everything below it is asked for by digest. Whether the answers are
//! good enough is for `checks` to say.

use std::collections::BTreeMap;

use futures_util::future;

use crate::{
    error::{Class, Error},
    oci::{Digest, Platform},
    registry::{Descriptor, ImageConfig, ImageManifest, Manifest, Source, Verified, Want},
};

/// More entries than this in an index are no image of ours, but a way to make us ask for ever.
const MAX_PLATFORMS: usize = 100;

/// What a tag or a digest names.
#[derive(Debug, Clone)]
pub struct ImageFacts {
    /// The digest of the manifest or index itself.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Each platform, in the order of the index; at least one.
    pub platforms: Vec<PlatformFacts>,
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

/// Reads what `want` names; `None` if the source has no such tag or digest.
pub async fn resolve(source: &Source, want: &Want) -> Result<Option<ImageFacts>, Error> {
    let Some(top) = source.manifest(want, None).await? else {
        return Ok(None);
    };
    let what = format!("{source}{want}");
    let platforms = match top.value {
        Manifest::Image(manifest) => vec![single(source, top.digest, manifest, None).await?],
        Manifest::Index(index) => {
            let entries = runnable(index.manifests, &what)?;
            let platforms = entries.iter().map(|entry| child(source, entry));
            // Every platform is asked for; the first error in the order of the index is the one
            // reported.
            future::join_all(platforms)
                .await
                .into_iter()
                .collect::<Result<_, _>>()?
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
    let want = Want::Digest(digest);
    let top = source.manifest(&want, None).await?;
    let top = top
        .ok_or_else(|| Error::unavailable(format!("{source}{want}"), "it is not there any more"))?;
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
        let why = format!(
            "the index has {} entries, more than {MAX_PLATFORMS}",
            entries.len()
        );
        return Err(Error::unavailable(what, why));
    }
    Ok(entries)
}

async fn child(source: &Source, entry: &Descriptor) -> Result<PlatformFacts, Error> {
    let want = Want::Digest(entry.digest);
    let what = || format!("{source}{want}");
    let Some(found) = source.manifest(&want, Some(&entry.media_type)).await? else {
        return Err(Error::unavailable(
            what(),
            "the index names it, but it is missing",
        ));
    };
    if found.size != entry.size {
        let why = format!("it has {} bytes, the index says {}", found.size, entry.size);
        return Err(Error::unavailable(what(), why));
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
    let config = source.config(&manifest.config).await?.value;
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
