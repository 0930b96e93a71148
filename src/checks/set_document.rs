//! `repin.set/1`: a verified set as a file, the same bytes each time.
//!
//! It contains no time and no name of a machine: two runs that verified the same images against the
//! same configuration write the same file, so its hash identifies both.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ApprovedImage, Check, ImagePlatform, VerifiedRow, VerifiedSet};
use crate::{
    config::{Config, Image},
    inventory::Enumeration,
    oci::Digest,
    registry::resolve::{self, ImageFacts, PlatformFacts},
    untrusted,
};

/// Names by kind.
type Kinds = BTreeMap<String, BTreeSet<String>>;

/// `repin.set/1`: a verified set.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetDocument {
    pub schema: String,
    pub revision: String,
    pub images: Vec<SetImage>,
    pub checks: Vec<Check>,
    pub inventory: BTreeMap<String, Kinds>,
    pub config_sha256: String,
}

/// One image of a verified set.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetImage {
    pub name: String,
    pub repository: String,
    pub tag: String,
    pub digest: String,
    pub media_type: String,
    pub platforms: Vec<ResolvedPlatform>,
    pub labels: BTreeMap<String, Option<String>>,
    pub verified: Vec<VerifiedRow>,
}

/// A verified set, with the further evidence about its images.
pub struct VerifiedImages {
    /// The set.
    pub set: VerifiedSet,
    /// The signatures and attestations of each image, in the order of the configuration.
    pub verified: Vec<Vec<VerifiedRow>>,
    /// The names that platforms contain, by kind.
    pub kinds: BTreeMap<ImagePlatform, Enumeration>,
}

impl SetDocument {
    /// Its schema.
    pub const SCHEMA: &str = "repin.set/1";

    /// The document of a set that was verified against the configuration with the hash
    /// `config_sha256`.
    pub fn new(found: VerifiedImages, config: &Config, config_sha256: Digest) -> Self {
        let images = config.images.iter().zip(found.set.images());
        let mut rows = Vec::new();
        let mut inventory = BTreeMap::new();
        for ((at, (image, resolved)), verified) in images.enumerate().zip(found.verified) {
            let Some(facts) = &resolved.facts else {
                continue;
            };
            rows.push(row(config, image, resolved, facts, verified));
            inventory.extend(contained(at, facts, &found.kinds));
        }
        Self {
            schema: Self::SCHEMA.to_owned(),
            revision: found.set.revision().to_string(),
            images: rows,
            checks: found.set.checks().to_vec(),
            inventory,
            config_sha256: config_sha256.hex(),
        }
    }

    /// The bytes of the file, on one line.
    pub fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = Vec::new();
        untrusted::json(self, &mut bytes)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn row(
    config: &Config,
    image: &Image,
    resolved: &ApprovedImage,
    facts: &ImageFacts,
    mut verified: Vec<VerifiedRow>,
) -> SetImage {
    // Registries list what is attached to an image in any order.
    verified.sort_by_cached_key(|row| serde_json::to_string(row).unwrap_or_default());
    let platforms = facts.platforms.iter();
    let platforms =
        platforms.map(|platform| ResolvedPlatform::of(platform, &config.revision.label));
    SetImage {
        name: image.name.clone(),
        repository: image.repository.to_string(),
        tag: resolved.tag.to_string(),
        digest: facts.digest.to_string(),
        media_type: facts.media_type.clone(),
        platforms: platforms.collect(),
        labels: resolve::reported_labels(facts, &config.report.labels),
        verified,
    }
}

/// The names in an image by its digest; by the digests of its platforms where those differ.
fn contained(
    image: usize,
    facts: &ImageFacts,
    kinds: &BTreeMap<ImagePlatform, Enumeration>,
) -> Vec<(String, Kinds)> {
    let platforms = facts.platforms.iter().enumerate();
    let listed = platforms.filter_map(|(platform, facts)| {
        let found = kinds.get(&ImagePlatform { image, platform })?;
        let names = found.kinds.iter().cloned().collect();
        Some((facts.digest.to_string(), names))
    });
    let listed: Vec<(String, Kinds)> = listed.collect();
    match listed.first() {
        Some((_, first)) if listed.iter().all(|(_, names)| names == first) => {
            vec![(facts.digest.to_string(), first.clone())]
        }
        _ => listed,
    }
}

/// One platform of a resolution.
#[derive(Debug, Serialize, Deserialize)]
pub struct ResolvedPlatform {
    pub platform: String,
    pub digest: String,
    pub revision: Option<String>,
}

impl ResolvedPlatform {
    /// A platform, with its revision by the label `label`.
    pub fn of(facts: &PlatformFacts, label: &str) -> Self {
        Self {
            platform: facts.platform.to_string(),
            digest: facts.digest.to_string(),
            revision: facts.config.labels.get(label).cloned(),
        }
    }
}
