//! Amazon ECR: its native API lists and deletes versions, and returns their manifests.
//!
//! ECR records each pull, also that of a manifest by repin. Therefore only indexes and artifacts are read, and the pulls of
//! images count: those of the platforms for an index. Images are read only if one of them may be a running one without
//! a name, and of these only what would be deleted otherwise.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

use crate::{
    base::error::{Class, Code, Error},
    oci::{
        CONFIG_TYPES, Digest, MANIFEST_TYPES, RawManifest, Tag, TagOrDigest, date, document,
        registry::{Deletion, EcrImage, EcrRepository, MAX_IMAGES},
    },
    prune::{
        ImageProtection, KeepReason, Listing, Node, Progress, Rules, Scope, Version,
        apply::CurrentState, backends, judge,
    },
};

/// A repository of Amazon ECR.
#[derive(Debug)]
pub(crate) struct Ecr(EcrRepository);

impl Ecr {
    /// Creates the backend without a request.
    pub(crate) fn new(repository: EcrRepository) -> Self {
        Self(repository)
    }

    pub(super) async fn list(
        &self,
        protection: ImageProtection<'_>,
        rules: &Rules<'_>,
        scope: Scope,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        progress.begin("listing versions", None);
        let listed = self.0.images(&|done| progress.set(done)).await?;
        let versions = listed.images.iter().map(version).collect();
        let mut listing = Listing::new(versions, listed.clock);
        listing.dates.extend(push_dates(&listed.images));
        if backends::has_candidate(&listing, protection, rules) || scope == Scope::Protected {
            self.read_references(&listed.images, &mut listing, progress)
                .await?;
        }
        keep(&listed.images, rules, &mut listing);
        let is_listed = |digest| listed.images.iter().any(|image| image.digest == digest);
        if protection.running_ids().any(|digest| !is_listed(digest)) {
            let verdict = judge(&listing, protection, rules);
            let mut needed = BTreeSet::new();
            for candidate in &verdict.candidates {
                needed.insert(candidate.version.digest);
                needed.extend(listing.parts(candidate.version.digest));
            }
            let mut wanted = Vec::new();
            for image in listed.images.iter().filter(|image| image.is_active) {
                let is_needed = needed.contains(&image.digest) || scope == Scope::Protected;
                if is_needed && is_plain(image) {
                    wanted.push(image.digest);
                }
            }
            self.read_manifests(&wanted, &mut listing, progress).await?;
        }
        Ok(listing)
    }

    /// Reads the manifests that refer to others. ECR refuses to delete an entry of an archived index.
    async fn read_references(
        &self,
        images: &[EcrImage],
        listing: &mut Listing,
        progress: &Progress,
    ) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for image in images {
            if listing.nodes.contains_key(&image.digest) {
                continue;
            }
            if image.is_active && !is_plain(image) {
                wanted.push(image.digest);
            } else {
                let node = Node {
                    subject: image.subject,
                    ..Node::default()
                };
                listing.nodes.insert(image.digest, node);
            }
        }
        self.read_manifests(&wanted, listing, progress).await?;
        // ECR lists every manifest as a version, also those without a tag.
        let listed: BTreeSet<Digest> = images.iter().map(|image| image.digest).collect();
        let children = listing.nodes.values().flat_map(|node| &node.children);
        let lost: BTreeSet<Digest> = children
            .map(|child| child.digest)
            .filter(|digest| !listed.contains(digest))
            .collect();
        listing.lost.extend(lost);
        Ok(())
    }

    async fn read_manifests(
        &self,
        wanted: &[Digest],
        listing: &mut Listing,
        progress: &Progress,
    ) -> Result<(), Error> {
        progress.begin("reading manifests", Some(wanted.len()));
        for batch in wanted.chunks(MAX_IMAGES) {
            let manifests = self.0.manifests(batch).await?;
            for digest in batch {
                let node = self.node(*digest, manifests.get(digest))?;
                listing.nodes.insert(*digest, node);
                progress.step();
            }
        }
        Ok(())
    }

    fn node(&self, digest: Digest, raw: Option<&RawManifest>) -> Result<Node, Error> {
        let name = format!("{}@{digest}", self.0);
        let raw = raw.ok_or_else(|| {
            Error::new(
                Class::Unavailable,
                Code::LISTING,
                format!("{name} was listed, but its manifest is missing"),
            )
            .help("another process is deleting or archiving it: run the command again")
        })?;
        let manifest = document::manifest(raw, &TagOrDigest::Digest(digest), None, &name)?;
        Ok(Node::from_manifest(&manifest.value))
    }

    /// Lists the repository before the first deletion, with the pulls since the first listing.
    pub(super) async fn relist_with_pulls(
        &self,
        first: &Listing,
        rules: &Rules<'_>,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        let (images, mut current) = self.list_again(first, progress).await?;
        keep(&images, rules, &mut current);
        Ok(current)
    }

    /// Lists the repository for comparison.
    pub(super) async fn relist(
        &self,
        before: &Listing,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        let (_, current) = self.list_again(before, progress).await?;
        Ok(current)
    }

    /// The images of the repository, and its listing with the references of new versions.
    async fn list_again(
        &self,
        before: &Listing,
        progress: &Progress,
    ) -> Result<(Vec<EcrImage>, Listing), Error> {
        progress.begin("listing versions again", None);
        let listed = self.0.images(&|done| progress.set(done)).await?;
        let mut current = Listing {
            versions: listed.images.iter().map(version).collect(),
            clock: listed.clock,
            ..before.clone()
        };
        current.dates.extend(push_dates(&listed.images));
        self.read_references(&listed.images, &mut current, progress)
            .await?;
        Ok((listed.images, current))
    }

    pub(super) async fn current_state(&self, version: &Version) -> Result<CurrentState, Error> {
        Ok(match self.0.image_of(version.digest).await? {
            None => CurrentState::Missing,
            Some(now) if now.tags == version.tags => CurrentState::Unchanged,
            Some(now) => backends::changed_tags(&now.tags),
        })
    }

    pub(super) async fn delete(&self, version: &Version) -> Result<Deletion, Error> {
        self.0.delete(version.digest).await
    }

    pub(super) async fn is_deleted(&self, version: &Version) -> Result<bool, Error> {
        Ok(self.0.image_of(version.digest).await?.is_none())
    }

    /// Requests the deletion of a digest that no image has.
    pub(super) async fn deletes(&self) -> Result<(), Error> {
        let absent = Digest::of(format!("whether {} deletes", self.0).as_bytes());
        self.0.delete(absent).await.map(drop)
    }

    /// Puts a tag on an existing digest. `PutImage` moves a tag that another digest has.
    pub(super) async fn set_tag(&self, digest: Digest, tag: &Tag) -> Result<(), Error> {
        let resolve = async || {
            let found = self.0.image_tagged(tag).await?;
            Ok(found.map(|image| image.digest))
        };
        let set = async || {
            let manifests: BTreeMap<Digest, RawManifest> = self.0.manifests(&[digest]).await?;
            self.node(digest, manifests.get(&digest))?;
            match manifests.get(&digest) {
                Some(raw) => self.0.set_tag(digest, tag, raw).await,
                None => Ok(()),
            }
        };
        backends::set_new_tag(&self.0, digest, tag, resolve, set).await
    }
}

/// Protects the images that ECR knows to be in use: archived ones, and those that were pulled recently. The last pull of an
/// image of which this run read the manifest is its own.
fn keep(images: &[EcrImage], rules: &Rules<'_>, listing: &mut Listing) {
    let now = listing.clock.earlier();
    let is_read = |digest| {
        let node = listing.nodes.get(digest);
        node.is_some_and(|node| node.config.is_some())
    };
    let mut pulls = HashMap::new();
    for image in images.iter().filter(|image| is_plain(image)) {
        if !is_read(&image.digest) {
            pulls.extend(image.last_pull.map(|pull| (image.digest, pull)));
        }
    }
    for image in images {
        if !image.is_active {
            listing.kept.insert(image.digest, KeepReason::Archived);
            continue;
        }
        let parts = listing.parts(image.digest).into_iter();
        let last = parts
            .chain([image.digest])
            .filter_map(|digest| pulls.get(&digest))
            .max();
        if let Some(last) = last
            && !rules.is_old(now.duration_since(*last).unwrap_or_default())
        {
            let reason = KeepReason::Pulled(date::format(*last));
            listing.kept.insert(image.digest, reason);
        }
    }
}

/// Whether a version is an image for one platform: its manifest refers to no other version except a subject.
fn is_plain(image: &EcrImage) -> bool {
    let media_type = image.media_type.as_deref().unwrap_or_default();
    let artifact_type = image.artifact_type.as_deref().unwrap_or_default();
    MANIFEST_TYPES.contains(&media_type) && CONFIG_TYPES.contains(&artifact_type)
}

/// The known dates of the pushes.
fn push_dates(images: &[EcrImage]) -> impl Iterator<Item = (Digest, SystemTime)> {
    let dates = images.iter();
    dates.filter_map(|image| Some((image.digest, image.pushed?)))
}

fn version(image: &EcrImage) -> Version {
    Version {
        id: None,
        digest: image.digest,
        tags: image.tags.clone(),
    }
}
