//! GitHub's container registry: the packages API lists and deletes versions, and the registry serves
//! manifests.
//!
//! Manifests are only read if a version may be deleted, and then all of them. If the manifest of a
//! listed version is missing, the package changed during the listing or the tag is dangling.

use std::collections::{HashMap, HashSet};

use crate::{
    base::{
        error::{Class, Code, Error},
        untrusted::short,
    },
    forge::{Package, PackageVersion},
    oci::{
        Digest, Manifest, TagOrDigest, Verified, date,
        registry::{Deletion, Source},
    },
    prune::{
        Dangling, ImageProtection, Listing, Node, Progress, Rules, Scope, Version,
        apply::CurrentState, backends,
    },
};

/// A package of GitHub's container registry.
#[derive(Debug)]
pub(crate) struct Ghcr {
    package: Package,
    source: Source,
}

impl Ghcr {
    /// Creates the backend. `source` serves the manifests.
    pub(crate) fn new(package: Package, source: Source) -> Self {
        // Another process may delete a manifest.
        let source = source.without_kept_manifests();
        Self { package, source }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) async fn list(
        &self,
        protection: ImageProtection<'_>,
        rules: &Rules<'_>,
        scope: Scope,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        progress.begin("listing versions", None);
        let versions = self.package.versions(&|done| progress.set(done)).await?;
        let clock = versions.clock;
        let mut dates = HashMap::new();
        for version in &versions.all {
            let date = date::parse(&version.created).ok_or_else(|| {
                let text = short(&version.created, 50);
                Error::new(
                    Class::Unavailable,
                    Code::LISTING,
                    format!(
                        "version {} was created at `{text}`, which is not a date",
                        version.id
                    ),
                )
            })?;
            dates.insert(version.digest, date);
        }
        let versions: Vec<_> = versions.all.into_iter().map(version).collect();
        let mut listing = Listing::new(versions, clock);
        listing.dates = dates;
        if backends::has_candidate(&listing, protection, rules) || scope == Scope::Protected {
            self.read_references(&mut listing, progress).await?;
        }
        Ok(listing)
    }

    async fn read_references(
        &self,
        listing: &mut Listing,
        progress: &Progress,
    ) -> Result<(), Error> {
        progress.begin("reading manifests", Some(listing.versions.len()));
        let missing = self
            .read_manifests(&listing.versions, &mut listing.nodes, progress)
            .await?;
        for version in missing {
            self.confirm_dangling(&version).await?;
            listing.versions.retain(|other| other.id != version.id);
            let id = version.id;
            let tags = version.tags.into_iter();
            listing
                .dangling
                .extend(tags.map(|tag| Dangling { tag, id }));
        }
        backends::nested(&self.source, listing, progress).await?;
        // The package lists every manifest as a version, also those without a tag.
        for child in listing.nodes.values().flat_map(|node| &node.children) {
            if !listing.dates.contains_key(&child.digest) {
                listing.lost.insert(child.digest);
            }
        }
        Ok(())
    }

    /// Fetches the manifests of versions for their references, and returns the versions without a
    /// manifest.
    async fn read_manifests(
        &self,
        versions: &[Version],
        nodes: &mut HashMap<Digest, Node>,
        progress: &Progress,
    ) -> Result<Vec<Version>, Error> {
        let wants = versions
            .iter()
            .map(|version| (version, TagOrDigest::Digest(version.digest)))
            .collect();
        let mut missing = Vec::new();
        backends::read(&self.source, wants, progress, |version, found| {
            match found {
                Some(found) => {
                    nodes.insert(version.digest, Node::from_manifest(&found.value));
                }
                None => missing.push(version.clone()),
            }
            Ok(())
        })
        .await?;
        Ok(missing)
    }

    /// Fetches a version and its manifest again. If the version still has tags and no manifest, it
    /// is dangling; otherwise, the package changed during the listing.
    async fn confirm_dangling(&self, version: &Version) -> Result<(), Error> {
        let is_listed = !version.tags.is_empty()
            && self.current_state(version).await? == CurrentState::Unchanged;
        if is_listed && self.manifest(version).await?.is_none() {
            return Ok(());
        }
        let message = format!(
            "{}@{} was listed, but is missing from the registry",
            self.source, version.digest
        );
        Err(Error::new(Class::Unavailable, Code::LISTING, message)
            .help("another process is deleting it, or the registry has lost it"))
    }

    async fn manifest(&self, version: &Version) -> Result<Option<Verified<Manifest>>, Error> {
        let want = TagOrDigest::Digest(version.digest);
        self.source.manifest(&want, None).await
    }

    /// Updates the listing `first` from the newest pages, up to the first page with a known version. New
    /// versions are read with their references; known versions get their current tags.
    pub(super) async fn relist(
        &self,
        first: &Listing,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        progress.begin("listing the newest versions again", None);
        let known: HashSet<u64> = first.versions.iter().filter_map(|known| known.id).collect();
        let has_known =
            |rows: &[PackageVersion]| rows.iter().any(|version| known.contains(&version.id));
        let rows = self.package.newest(has_known).await?;
        let (clock, is_complete) = (rows.clock, rows.is_complete);
        let rows = listed(rows.all, first);
        let mut current: HashMap<Option<u64>, Version> =
            rows.iter().map(|row| (row.id, row.clone())).collect();
        // A known version that is missing from these pages was deleted, unless versions with equal dates
        // were reordered.
        let last = first
            .versions
            .iter()
            .rposition(|version| current.contains_key(&version.id));
        let end = if is_complete {
            first.versions.len()
        } else {
            last.unwrap_or_default()
        };
        let mut missing = HashSet::new();
        for version in &first.versions[..end] {
            if !current.contains_key(&version.id)
                && self.current_state(version).await? == CurrentState::Missing
            {
                missing.insert(version.id);
            }
        }
        let fresh = rows
            .into_iter()
            .filter(|row| row.id.is_some_and(|id| !known.contains(&id)));
        let mut versions: Vec<Version> = fresh.collect();
        let mut nodes = first.nodes.clone();
        if let Some(missing) = self
            .read_manifests(&versions, &mut nodes, progress)
            .await?
            .first()
        {
            return Err(unreadable(missing));
        }
        let kept = first
            .versions
            .iter()
            .filter(|version| !missing.contains(&version.id));
        versions.extend(kept.map(|version| current.remove(&version.id).unwrap_or(version.clone())));
        let mut listing = Listing {
            versions,
            nodes,
            clock,
            ..first.clone()
        };
        backends::nested(&self.source, &mut listing, progress).await?;
        Ok(listing)
    }

    /// Lists the package after the last deletion. Versions of `keep` without a manifest are omitted.
    pub(super) async fn list_after_deletion(
        &self,
        before: &Listing,
        keep: &[Version],
        progress: &Progress,
    ) -> Result<Listing, Error> {
        progress.begin("listing versions again", None);
        let rows = self.package.versions(&|done| progress.set(done)).await?;
        let clock = rows.clock;
        let mut versions = listed(rows.all, before);
        let mut nodes = before.nodes.clone();
        let unknown: Vec<Version> = versions
            .iter()
            .filter(|version| !nodes.contains_key(&version.digest))
            .cloned()
            .collect();
        if let Some(missing) = self
            .read_manifests(&unknown, &mut nodes, progress)
            .await?
            .first()
        {
            return Err(unreadable(missing));
        }
        progress.begin("reading protected versions", Some(keep.len()));
        let missing = self.read_manifests(keep, &mut nodes, progress).await?;
        versions.retain(|version| !missing.iter().any(|lost| lost.digest == version.digest));
        let mut listing = Listing {
            versions,
            nodes,
            clock,
            ..before.clone()
        };
        backends::nested(&self.source, &mut listing, progress).await?;
        Ok(listing)
    }

    /// Restores a version that was deleted in the last thirty days.
    pub(crate) async fn restore(&self, id: u64) -> Result<Version, Error> {
        Ok(version(self.package.restore(id).await?))
    }

    pub(super) async fn current_state(&self, version: &Version) -> Result<CurrentState, Error> {
        let Some(id) = version.id else {
            return Ok(CurrentState::Changed("it has no ID".to_owned()));
        };
        Ok(match self.package.version(id).await?.map(self::version) {
            None => CurrentState::Missing,
            Some(now) if now == *version => CurrentState::Unchanged,
            Some(now) if now.digest != version.digest => {
                CurrentState::Changed(format!("it is {} now", now.digest))
            }
            Some(now) => backends::changed_tags(&now.tags),
        })
    }

    pub(super) async fn delete(&self, version: &Version) -> Result<Deletion, Error> {
        let Some(id) = version.id else {
            return Ok(Deletion::Refused("it has no ID".to_owned()));
        };
        self.package.delete(id).await
    }

    /// Whether the registry has no such manifest or GitHub has no such version. The registry may serve a
    /// deleted manifest for a while.
    pub(super) async fn is_deleted(&self, version: &Version) -> Result<bool, Error> {
        if self.manifest(version).await?.is_none() {
            return Ok(true);
        }
        match version.id {
            Some(id) => Ok(self.package.version(id).await?.is_none()),
            None => Ok(false),
        }
    }
}

/// The versions of a listing without the known dangling ones.
fn listed(rows: Vec<PackageVersion>, before: &Listing) -> Vec<Version> {
    let dangles = |version: &Version| before.dangling.iter().any(|tag| tag.id == version.id);
    let mut versions: Vec<_> = rows.into_iter().map(version).collect();
    versions.retain(|version| !dangles(version));
    versions
}

fn unreadable(version: &Version) -> Error {
    let message = format!(
        "{} was pushed during the run, but its manifest is missing from the registry",
        version.digest
    );
    Error::new(Class::Unavailable, Code::LISTING, message)
        .help("run prune again when nothing is being pushed")
}

fn version(from: PackageVersion) -> Version {
    Version {
        id: Some(from.id),
        digest: from.digest,
        tags: from.tags,
    }
}
