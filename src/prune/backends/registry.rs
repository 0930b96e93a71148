//! Plain registries: only tags can be listed, and a manifest is deleted by its digest, with all of its
//! tags.
//!
//! The config or an annotation contains the date of a version. It is only read for versions that may be
//! candidates.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::manifests;
use crate::{
    code::Code,
    error::{Class, Error},
    oci::{Descriptor, Digest, Manifest, Tag, TagOrDigest},
    prune::{
        Child, Dangling, Guards, Listing, Node, Progress, Rules, Version, apply::CurrentState,
        date, is_eligible, judge,
    },
    registry::{Deletion, Remote, Source},
};

/// The annotation with the creation date (OCI image specification, "Pre-Defined Annotation Keys").
const CREATED: &str = "org.opencontainers.image.created";
/// The media types of configs with a creation date.
const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// The maximum number of requests for digests in tracked files.
const MOST_NAMED: usize = 2_000;
/// The maximum number of files in the message about these digests.
const FILES_SHOWN: usize = 10;

/// The number of dates read at once if all known dates are equal.
const SOME: usize = 16;

/// A repository of a plain registry.
#[derive(Debug)]
pub struct Registry {
    remote: Remote,
    source: Source,
    /// The tags with known digests.
    known: RefCell<BTreeSet<Tag>>,
}

/// The sources of the date of a manifest.
struct ManifestAge {
    annotation: Option<String>,
    config: Option<Descriptor>,
}

/// The data of a repository while it is read.
struct RepositoryReader {
    listing: Listing,
    said: HashMap<Digest, ManifestAge>,
}

impl Registry {
    /// Creates the backend without a request.
    pub fn new(remote: Remote) -> Self {
        let source = Source::Remote(remote.clone());
        Self {
            remote,
            source,
            known: RefCell::default(),
        }
    }

    pub(super) async fn list(
        &self,
        guards: &Guards,
        rules: &Rules<'_>,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        progress.begin("listing tags", None);
        let tags = self.remote.tags_with_clock().await?;
        let mut reading = RepositoryReader {
            listing: Listing {
                versions: Vec::new(),
                nodes: HashMap::new(),
                dates: HashMap::new(),
                clock: tags.clock,
                dangling: Vec::new(),
            },
            said: HashMap::new(),
        };
        let names = tags.tags.unwrap_or_default();
        let missing = self.tagged(names, &mut reading, progress).await?;
        reading.listing.dangling = self.dangling(missing).await?;
        let may_go: Vec<Digest> = {
            let versions = reading.listing.versions.iter();
            versions
                .filter(|version| is_eligible(version, guards, rules.prune))
                .map(|version| version.digest)
                .collect()
        };
        let mut asked: BTreeSet<Digest> = if may_go.is_empty() {
            guards.pins.keys().copied().collect()
        } else {
            guards.pinned()
        };
        asked.retain(|digest| !reading.listing.nodes.contains_key(digest));
        self.untagged(asked, &mut reading, progress).await?;
        if !may_go.is_empty() {
            manifests::nested(&self.source, &mut reading.listing, progress).await?;
            self.dates(may_go, &mut reading, progress).await?;
            if !judge(&reading.listing, guards, rules).candidates.is_empty() {
                self.named(guards, &mut reading, progress).await?;
            }
            self.doubtful_dates(&mut reading, progress).await?;
        }
        Ok(reading.listing)
    }

    /// Requests the unlisted digests that tracked files contain after `sha256:`. An untagged index
    /// appears nowhere else.
    async fn named(
        &self,
        guards: &Guards,
        reading: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let unlisted: BTreeSet<Digest> = guards
            .text
            .with_algorithm()
            .filter(|digest| !reading.listing.nodes.contains_key(digest))
            .collect();
        if unlisted.len() > MOST_NAMED {
            let message = format!(
                "tracked files name {} digests after sha256: that {} does not list; repin requests at most {MOST_NAMED}: {}",
                unlisted.len(),
                self.source,
                guards.text.describe_files(&unlisted, FILES_SHOWN)
            );
            let hint =
                "run prune in a repository without these files, which are probably lock files";
            return Err(Error::new(Class::Unavailable, Code::TOO_MANY_DIGESTS, message).help(hint));
        }
        self.untagged(unlisted, reading, progress).await?;
        manifests::nested(&self.source, &mut reading.listing, progress).await
    }

    /// Lists the repository again: the current tags, the untagged versions of `before`, and the versions
    /// of `keep` that still exist, tagged or not.
    pub(super) async fn relist(
        &self,
        before: &Listing,
        keep: &[Version],
        progress: &Progress,
    ) -> Result<Listing, Error> {
        progress.begin("listing tags again", None);
        let tags = self.remote.tags_with_clock().await?;
        let mut reading = RepositoryReader {
            listing: Listing {
                versions: Vec::new(),
                clock: tags.clock,
                dangling: Vec::new(),
                ..before.clone()
            },
            said: HashMap::new(),
        };
        let names = tags.tags.unwrap_or_default();
        let missing = self.tagged(names, &mut reading, progress).await?;
        let dangling = missing.into_iter().map(|tag| Dangling { tag, id: None });
        reading.listing.dangling = dangling.collect();
        let tagged: BTreeSet<Digest> = reading
            .listing
            .versions
            .iter()
            .map(|version| version.digest)
            .collect();
        let untagged = before.versions.iter().filter(|known| known.tags.is_empty());
        let asked = untagged.chain(keep).map(|version| version.digest);
        let asked = asked.filter(|digest| !tagged.contains(digest)).collect();
        self.untagged(asked, &mut reading, progress).await?;
        manifests::nested(&self.source, &mut reading.listing, progress).await?;
        Ok(reading.listing)
    }

    /// Lists and reads the tags without a manifest again. If nothing changed, they are dangling;
    /// otherwise, the repository changed during the listing.
    async fn dangling(&self, missing: Vec<Tag>) -> Result<Vec<Dangling>, Error> {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let tags = self
            .remote
            .tags_with_clock()
            .await?
            .tags
            .unwrap_or_default();
        let tags: BTreeSet<Tag> = tags.into_iter().collect();
        let mut dangling = Vec::new();
        for tag in missing {
            if !tags.contains(&tag) || self.names(&tag).await?.is_some() {
                let message = format!(
                    "{}:{tag} was listed without a manifest, and is no longer listed",
                    self.source
                );
                return Err(Error::new(Class::Unavailable, Code::LISTING, message)
                    .help("run prune again when the tag is not being pushed or deleted"));
            }
            dangling.push(Dangling { tag, id: None });
        }
        Ok(dangling)
    }

    /// Resolves each tag with one request. Returns the tags without a manifest.
    async fn tagged(
        &self,
        names: Vec<Tag>,
        reading: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<Vec<Tag>, Error> {
        self.known.borrow_mut().extend(names.iter().cloned());
        let mut missing = Vec::new();
        progress.begin("reading tags", Some(names.len()));
        let wants = names
            .into_iter()
            .map(|tag| (tag.clone(), TagOrDigest::Tag(tag)))
            .collect();
        let mut versions: BTreeMap<Digest, Vec<Tag>> = BTreeMap::new();
        manifests::read(&self.source, wants, progress, |tag, found| {
            let Some(found) = found else {
                missing.push(tag);
                return Ok(());
            };
            reading.take_in(found.digest, &found.value);
            versions.entry(found.digest).or_default().push(tag);
            Ok(())
        })
        .await?;
        for (digest, tags) in versions {
            reading.listing.versions.push(Version {
                id: None,
                digest,
                tags,
            });
        }
        Ok(missing)
    }

    /// Reads untagged versions by digest. Missing ones are omitted.
    async fn untagged(
        &self,
        asked: BTreeSet<Digest>,
        reading: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let wants: Vec<_> = asked
            .into_iter()
            .map(|digest| (digest, TagOrDigest::Digest(digest)))
            .collect();
        progress.begin("reading untagged digests", Some(wants.len()));
        manifests::read(&self.source, wants, progress, |digest, found| {
            if let Some(found) = found {
                reading.take_in(digest, &found.value);
                reading.listing.versions.push(Version {
                    id: None,
                    digest,
                    tags: Vec::new(),
                });
            }
            Ok(())
        })
        .await
    }

    /// Reads the dates of `wanted` and of their entries.
    async fn dates(
        &self,
        wanted: Vec<Digest>,
        reading: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let mut wanted: BTreeSet<Digest> = wanted.into_iter().collect();
        let mut fresh: Vec<Digest> = wanted.iter().copied().collect();
        while !fresh.is_empty() {
            let unread = fresh
                .iter()
                .filter(|digest| !reading.said.contains_key(digest));
            let unread: Vec<_> = unread
                .map(|digest| (*digest, TagOrDigest::Digest(*digest)))
                .collect();
            progress.begin("reading platforms", Some(unread.len()));
            manifests::read(&self.source, unread, progress, |digest, found| {
                if let Some(found) = found {
                    reading.take_in(digest, &found.value);
                }
                Ok(())
            })
            .await?;
            let children = fresh
                .iter()
                .filter_map(|digest| reading.listing.nodes.get(digest));
            let children = children
                .flat_map(|node| &node.children)
                .filter(|child| !child.is_attestation);
            let mut next: Vec<_> = children.map(|child| child.digest).collect();
            next.retain(|digest| wanted.insert(*digest));
            fresh = next;
        }
        let said: Vec<_> = wanted
            .iter()
            .filter_map(|digest| Some((*digest, reading.said.get(digest)?)))
            .collect();
        progress.begin("reading configs", Some(said.len()));
        let dates = stream::iter(said).map(|(digest, said)| async move {
            let made = self.made(said).await;
            progress.step();
            made.map(|made| (digest, made))
        });
        let dates: Vec<(Digest, Option<SystemTime>)> =
            dates.buffered(manifests::AT_ONCE).try_collect().await?;
        reading.listing.dates.extend(
            dates
                .into_iter()
                .filter_map(|(digest, made)| Some((digest, made?))),
        );
        Ok(())
    }

    /// The later date of annotation and config; `None` if one of them is malformed.
    async fn made(&self, message: &ManifestAge) -> Result<Option<SystemTime>, Error> {
        let config = match &message.config {
            Some(config) => self.source.config(config).await?.value.created,
            None => None,
        };
        let all = [message.annotation.as_ref(), config.as_ref()]
            .into_iter()
            .flatten()
            .map(|text| date::parse(text));
        Ok(all
            .collect::<Option<Vec<_>>>()
            .and_then(|dates| dates.into_iter().max()))
    }

    /// If all known dates are equal, reads more dates until one differs. Equal dates of some versions may
    /// be one build, but equal dates of all versions are unreliable.
    async fn doubtful_dates(
        &self,
        reading: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let rest: Vec<Digest> = reading
            .listing
            .versions
            .iter()
            .map(|version| version.digest)
            .collect();
        for some in rest.chunks(SOME) {
            let dates = reading
                .listing
                .versions
                .iter()
                .filter_map(|version| reading.listing.created(version.digest));
            if dates.collect::<BTreeSet<_>>().len() != 1 {
                return Ok(());
            }
            let listing = &reading.listing;
            let unknown = some.iter().copied().filter(|digest| {
                !listing.dates.contains_key(digest) && listing.created(*digest).is_none()
            });
            let unknown: Vec<_> = unknown.collect();
            self.dates(unknown, reading, progress).await?;
        }
        Ok(())
    }

    /// Requests the deletion of a digest that no manifest has. A registry that supports deletion returns
    /// 404.
    pub(super) async fn deletes(&self) -> Result<(), Error> {
        let nothing = Digest::of(format!("whether {} deletes", self.remote).as_bytes());
        match self.remote.delete(nothing).await? {
            Deletion::Missing | Deletion::MissingAfterAttempt | Deletion::Deleted => Ok(()),
            Deletion::Refused(said) => {
                let message = format!("{} does not delete: {said}", self.remote);
                let hint = "switch deletion on (docker-registry: storage.delete.enabled: true), then garbage-collect";
                Err(Error::new(Class::Denied, Code::DELETION_DISABLED, message).help(hint))
            }
        }
    }

    /// Reads the tags of the version and all new tags. A known tag that moved to the version is not
    /// detected, because this would require a request for every tag.
    pub(super) async fn current_state(&self, version: &Version) -> Result<CurrentState, Error> {
        let tags: BTreeSet<Tag> = self
            .remote
            .tags_with_clock()
            .await?
            .tags
            .unwrap_or_default()
            .into_iter()
            .collect();
        let new: Vec<Tag> = tags.difference(&self.known.borrow()).cloned().collect();
        for tag in new {
            let found = self
                .source
                .manifest(&TagOrDigest::Tag(tag.clone()), None)
                .await?;
            if let Some(found) = &found {
                if found.digest == version.digest {
                    return Ok(CurrentState::Changed(format!("{tag} resolves to it too")));
                }
                // The entries of a nested index are not read: the version may be one of them.
                let needs = |child: &Child| child.is_index || child.digest == version.digest;
                if Node::from_manifest(&found.value).children.iter().any(needs) {
                    return Ok(CurrentState::Changed(format!(
                        "{tag} is new, and an index that may need it"
                    )));
                }
            }
            self.known.borrow_mut().insert(tag);
        }
        let mut there = 0;
        for tag in &version.tags {
            match self.names(tag).await? {
                Some(digest) if digest == version.digest => there += 1,
                Some(other) => {
                    return Ok(CurrentState::Changed(format!(
                        "{tag} now resolves to {other}"
                    )));
                }
                None => {}
            }
        }
        Ok(match there {
            0 => CurrentState::Missing,
            all if all == version.tags.len() => CurrentState::Unchanged,
            _ => CurrentState::Changed("some of its tags are gone".to_owned()),
        })
    }

    async fn names(&self, tag: &Tag) -> Result<Option<Digest>, Error> {
        Ok(self
            .source
            .manifest(&TagOrDigest::Tag(tag.clone()), None)
            .await?
            .map(|found| found.digest))
    }

    pub(super) async fn delete(&self, version: &Version) -> Result<Deletion, Error> {
        self.remote.delete(version.digest).await
    }

    /// Whether the manifest no longer exists.
    pub(super) async fn is_gone(&self, version: &Version) -> Result<bool, Error> {
        let want = TagOrDigest::Digest(version.digest);
        Ok(self.source.manifest(&want, None).await?.is_none())
    }
}

impl RepositoryReader {
    fn take_in(&mut self, digest: Digest, manifest: &Manifest) {
        let (annotations, config) = match manifest {
            Manifest::Image(image) => (&image.annotations, Some(&image.config)),
            Manifest::Index(index) => (&index.annotations, None),
        };
        let config = config
            .filter(|config| CONFIGS.contains(&config.media_type.as_str()))
            .cloned();
        self.said.insert(
            digest,
            ManifestAge {
                annotation: annotations.get(CREATED).cloned(),
                config,
            },
        );
        self.listing
            .nodes
            .insert(digest, Node::from_manifest(manifest));
    }
}
