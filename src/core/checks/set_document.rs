//! `repin.set/1`: a verified set as a file with reproducible bytes.
//!
//! The document contains no time and no host name: two runs that verified the same images against the
//! same configuration write the same file, so its hash identifies both.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ApprovedImage, Check, ImagePlatform, VerifiedRow, VerifiedSet};
use crate::{
    base::untrusted,
    config::{Config, Image, Revisions},
    contents::inventory::Enumeration,
    oci::{
        Digest,
        registry::resolve::{self, ImageFacts, PlatformFacts},
    },
};

/// Names by kind.
type Kinds = BTreeMap<String, BTreeSet<String>>;

/// The document `repin.set/1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetDocument {
    pub schema: String,
    pub revision: String,
    pub images: Vec<SetImage>,
    pub checks: Vec<Check>,
    pub inventory: BTreeMap<String, Kinds>,
    pub config_sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetImage {
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
pub(crate) struct VerifiedImages {
    pub set: VerifiedSet,
    /// The signatures and attestations of each image, in the order of the configuration.
    pub verified: Vec<Vec<VerifiedRow>>,
    /// The names in platforms, by kind.
    pub kinds: BTreeMap<ImagePlatform, Enumeration>,
}

impl SetDocument {
    pub(crate) const SCHEMA: &str = "repin.set/1";

    /// The document of a set that was verified against the configuration with the hash
    /// `config_sha256`.
    pub(crate) fn new(found: VerifiedImages, config: &Config, config_sha256: Digest) -> Self {
        let mut images = Vec::new();
        let mut inventory = BTreeMap::new();
        let resolved = found.set.images().iter().zip(found.verified);
        for (index, (resolved, verified)) in resolved.enumerate() {
            let Some(resolved) = resolved else {
                continue;
            };
            let facts = &resolved.facts;
            let image = &config.images[index];
            images.push(set_image(config, image, resolved, verified));
            inventory.extend(names_by_digest(index, facts, &found.kinds));
        }
        Self {
            schema: Self::SCHEMA.to_owned(),
            revision: found.set.revision().to_string(),
            images,
            checks: found.set.checks().to_vec(),
            inventory,
            config_sha256: config_sha256.hex(),
        }
    }

    /// The bytes of the file, on one line.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = Vec::new();
        untrusted::json(self, &mut bytes)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn set_image(
    config: &Config,
    image: &Image,
    resolved: &ApprovedImage,
    mut verified: Vec<VerifiedRow>,
) -> SetImage {
    // Registries list referrers in any order.
    verified.sort_by_cached_key(|row| serde_json::to_string(row).unwrap_or_default());
    let facts = &resolved.facts;
    let platforms = facts.platforms.iter();
    SetImage {
        name: image.name.clone(),
        repository: image.repository.to_string(),
        tag: resolved.tag.to_string(),
        digest: facts.digest.to_string(),
        media_type: facts.media_type.clone(),
        platforms: platforms
            .map(|platform| ResolvedPlatform::new(platform, &config.revision))
            .collect(),
        labels: resolve::reported_labels(facts, &config.report.labels),
        verified,
    }
}

/// The names in an image by its digest, or by the digests of its platforms if these differ.
fn names_by_digest(
    image: usize,
    facts: &ImageFacts,
    kinds: &BTreeMap<ImagePlatform, Enumeration>,
) -> Vec<(String, Kinds)> {
    let mut platforms: Vec<(String, Kinds)> = Vec::new();
    for (platform, facts) in facts.platforms.iter().enumerate() {
        if let Some(found) = kinds.get(&ImagePlatform { image, platform }) {
            let names = found.kinds.iter().cloned().collect();
            platforms.push((facts.digest.to_string(), names));
        }
    }
    match platforms.first() {
        Some((_, first)) if platforms.iter().all(|(_, names)| names == first) => {
            vec![(facts.digest.to_string(), first.clone())]
        }
        _ => platforms,
    }
}

/// One platform of a resolved image.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResolvedPlatform {
    pub platform: String,
    pub digest: String,
    pub revision: Option<String>,
}

impl ResolvedPlatform {
    /// The revision is the text in the label or the annotation that the configuration selects.
    pub(crate) fn new(facts: &PlatformFacts, revisions: &Revisions) -> Self {
        Self {
            platform: facts.platform.to_string(),
            digest: facts.digest.to_string(),
            revision: facts
                .stated_revision(revisions.field())
                .text()
                .map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, oci::Tag};

    #[test]
    fn evidence_is_sorted() {
        let config = config::example(
            "version: 1\nfiles: [x]\nimages: { a: { repository: r.example/a, pins: 1 } }\n",
        );
        let resolved = ApprovedImage {
            tag: Tag::parse("x").unwrap(),
            facts: ImageFacts {
                digest: Digest::of(b"a"),
                media_type: String::new(),
                platforms: Vec::new(),
            },
        };
        let row = |bundle: &str| VerifiedRow {
            require: "signature".to_owned(),
            subject: String::new(),
            platform: None,
            bundle: bundle.to_owned(),
            predicate_type: None,
            signer: None,
            issuer: None,
            source: None,
            commit: None,
            commit_bound: false,
            runner: None,
            key: None,
            root: None,
            time: None,
            log: None,
        };
        let rows = vec![row("b"), row("a")];
        let image = set_image(&config, &config.images[0], &resolved, rows);
        let bundles = image.verified.iter().map(|row| row.bundle.as_str());
        assert_eq!(bundles.collect::<Vec<_>>(), ["a", "b"]);
    }
}
