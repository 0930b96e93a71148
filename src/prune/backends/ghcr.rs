//! GitHub's container registry: versions come from the packages API and are deleted there;
//! manifests are read from the registry.
//!
//! What refers to what is only read if something may be deleted at all. Then every manifest is: one
//! that is not there although its version was listed shows that the listing was overtaken.

use std::collections::HashMap;

use super::{Progress, manifests};
use crate::{
    forge::{Package, PackageVersion},
    prune::{Guards, Listing, Node, Refusal, Rules, Version, apply::Now, date, eligible},
    source::{Deletion, Source, Want},
    untrusted::short,
};

/// A package of GitHub's container registry.
#[derive(Debug)]
pub struct Ghcr {
    package: Package,
    source: Source,
}

impl Ghcr {
    /// `source`: where manifests are read from.
    pub fn new(package: Package, source: Source) -> Self {
        Self { package, source }
    }

    pub(super) async fn list(
        &self,
        guards: &Guards,
        rules: &Rules<'_>,
        progress: &Progress,
    ) -> Result<Listing, Refusal> {
        progress.begin("listing versions", None);
        let versions = self.package.versions(&|done| progress.at(done)).await?;
        let clock = versions.clock;
        let mut dates = HashMap::new();
        for version in &versions.all {
            let made = date::parse(&version.created).ok_or_else(|| {
                let shown = short(&version.created, 50);
                Refusal::later(
                    "listing",
                    format!(
                        "version {} was created at `{shown}`, which is no date",
                        version.id
                    ),
                )
            })?;
            dates.insert(version.digest, made);
        }
        let versions: Vec<_> = versions.all.into_iter().map(version).collect();
        let old = |version: &Version| {
            let age = dates
                .get(&version.digest)
                .and_then(|made| clock.earlier().duration_since(*made).ok());
            age.is_some_and(|age| age > rules.older_than)
        };
        let any = versions
            .iter()
            .any(|version| old(version) && eligible(version, guards, rules.prune));
        let mut listing = Listing {
            versions,
            nodes: HashMap::new(),
            dates,
            clock,
        };
        if any {
            self.relations(&mut listing, progress).await?;
        }
        Ok(listing)
    }

    async fn relations(&self, listing: &mut Listing, progress: &Progress) -> Result<(), Refusal> {
        progress.begin("reading manifests", Some(listing.versions.len()));
        let wants = listing
            .versions
            .iter()
            .map(|version| (version.digest, Want::Digest(version.digest)))
            .collect();
        let nodes = &mut listing.nodes;
        manifests::read(&self.source, wants, progress, |digest, found| {
            let found = found.ok_or_else(|| {
                let message = format!(
                    "{}@{digest} was listed, and the registry does not have it",
                    self.source
                );
                Refusal::later("listing", message)
                    .hint("somebody deletes right now, or the registry has lost it")
            })?;
            nodes.insert(digest, Node::of(&found.value));
            Ok(())
        })
        .await?;
        manifests::nested(&self.source, listing, progress).await
    }

    /// Puts back a version that was deleted in the last thirty days.
    pub async fn restore(&self, id: u64) -> Result<Version, Refusal> {
        Ok(version(self.package.restore(id).await?))
    }

    pub(super) async fn look(&self, version: &Version) -> Result<Now, Refusal> {
        let Some(id) = version.id else {
            return Ok(Now::Changed("it has no number".to_owned()));
        };
        Ok(match self.package.version(id).await?.map(self::version) {
            None => Now::Gone,
            Some(now) if now == *version => Now::Same,
            Some(now) if now.digest != version.digest => {
                Now::Changed(format!("it is {} now", now.digest))
            }
            Some(now) => {
                let tags: Vec<_> = now.tags.iter().map(ToString::to_string).collect();
                Now::Changed(format!(
                    "its tags are {} now",
                    if tags.is_empty() {
                        "gone".into()
                    } else {
                        tags.join(", ")
                    }
                ))
            }
        })
    }

    pub(super) async fn delete(&self, version: &Version) -> Result<Deletion, Refusal> {
        let Some(id) = version.id else {
            return Ok(Deletion::Refused("it has no number".to_owned()));
        };
        Ok(self.package.delete(id).await?)
    }

    pub(super) async fn has(&self, version: &Version) -> Result<bool, Refusal> {
        Ok(self
            .source
            .manifest(&Want::Digest(version.digest), None)
            .await?
            .is_some())
    }
}

fn version(from: PackageVersion) -> Version {
    Version {
        id: Some(from.id),
        digest: from.digest,
        tags: from.tags,
    }
}
