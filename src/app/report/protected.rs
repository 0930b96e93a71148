//! The protected digests and tags of each repository, for the policies of registries and for scripts.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::prune::ImageOutcome;
use crate::{
    oci::{Digest, Tag},
    prune::Protected,
};

/// `repin.protected/1`.
#[derive(Debug, Serialize)]
pub(crate) struct ProtectedDocument {
    pub(crate) schema: &'static str,
    pub(crate) repositories: Vec<ProtectedRepository>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ProtectedRepository {
    pub(crate) repository: String,
    /// The names of its images in the configuration.
    pub(crate) images: Vec<String>,
    pub(crate) digests: Vec<ProtectedDigest>,
    pub(crate) tags: Vec<ProtectedTag>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ProtectedDigest {
    pub(crate) digest: Digest,
    pub(crate) tags: Vec<Tag>,
    pub(crate) reason: String,
    pub(crate) place: Option<String>,
}

/// A tag of a protected digest: without it, other policies may delete the digest as untagged.
#[derive(Debug, Serialize)]
pub(crate) struct ProtectedTag {
    pub(crate) tag: Tag,
    pub(crate) digest: Digest,
    pub(crate) reason: String,
    pub(crate) place: Option<String>,
}

/// The rows of a repository while its images are added.
#[derive(Default)]
struct Rows {
    images: Vec<String>,
    // Sorted, so that the same protection gives the same bytes, whatever the order of the listing is.
    digests: BTreeMap<Digest, ProtectedDigest>,
    tags: BTreeMap<Tag, ProtectedTag>,
}

impl ProtectedDocument {
    /// Images of one repository share an entry, with the first reason of each digest.
    pub(crate) fn new(images: &[ImageOutcome]) -> Self {
        let mut repositories: BTreeMap<&str, Rows> = BTreeMap::new();
        for image in images {
            let rows = repositories.entry(&image.repository).or_default();
            rows.images.push(image.name.clone());
            for protected in &image.protected {
                rows.add(protected);
            }
        }
        let repository = |(name, rows): (&str, Rows)| ProtectedRepository {
            repository: name.to_owned(),
            images: rows.images,
            digests: rows.digests.into_values().collect(),
            tags: rows.tags.into_values().collect(),
        };
        Self {
            schema: "repin.protected/1",
            repositories: repositories.into_iter().map(repository).collect(),
        }
    }

    /// Each digest and each tag as a reference on its own line.
    pub(crate) fn plain(&self) -> String {
        let mut lines = String::new();
        for repository in &self.repositories {
            let name = &repository.repository;
            for row in &repository.digests {
                let _ = writeln!(lines, "{name}@{}", row.digest);
            }
            for row in &repository.tags {
                let _ = writeln!(lines, "{name}:{}", row.tag);
            }
        }
        lines
    }
}

impl Rows {
    fn add(&mut self, protected: &Protected) {
        let Protected { version, reason } = protected;
        let (text, place) = (reason.to_string(), reason.place());
        for tag in &version.tags {
            let row = || ProtectedTag {
                tag: tag.clone(),
                digest: version.digest,
                reason: text.clone(),
                place: place.clone(),
            };
            self.tags.entry(tag.clone()).or_insert_with(row);
        }
        let row = || ProtectedDigest {
            digest: version.digest,
            tags: version.tags.clone(),
            reason: text.clone(),
            place: place.clone(),
        };
        self.digests.entry(version.digest).or_insert_with(row);
    }
}
