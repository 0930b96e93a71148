//! Plain registries: only tags can be listed, and a manifest is deleted by its digest, with all of its
//! tags.
//!
//! Only the dates of versions that may be candidates are read.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

use crate::{
    base::error::{Class, Code, Error},
    git::{Git, ObjectId},
    oci::{
        CONFIG_TYPES, Descriptor, Digest, Manifest, Tag, TagOrDigest,
        registry::{Deletion, DocumentCache, Remote, Source},
    },
    prune::{
        Child, Dangling, ImageProtection, Listing, Node, Progress, Rules, Scope, Version,
        apply::CurrentState, backends, is_eligible, judge, unfinished::Unfinished,
    },
};

/// The annotation or label with the date of a build (OCI image specification, "Pre-Defined Annotation Keys"). A config from a
/// cache has the date of the build that filled it in `created`.
pub(super) const CREATED: &str = "org.opencontainers.image.created";

/// A repository of a plain registry.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(super) remote: Remote,
    pub(super) source: Source,
    /// The same repository, with the documents in the user's cache. It proves no existence.
    pub(super) cached: Source,
    pub(super) cache: Option<Arc<DocumentCache>>,
    /// Whether the number of requests for manifests is limited.
    pub(super) is_on_hub: bool,
    /// The tags that were listed or requested.
    known: RefCell<BTreeSet<Tag>>,
    /// The tags that the first listing did not contain, with their digests and the entries of their indexes.
    later_tags: RefCell<BTreeMap<Tag, (Digest, Vec<Child>)>>,
    /// The deletions that earlier runs could not finish; `None` without a clone.
    pub(super) unfinished: Option<Unfinished>,
    /// The clone, which knows the times of revisions.
    pub(super) git: Option<Git>,
    /// The versions whose tags this run deleted.
    pub(super) untagged: RefCell<BTreeSet<Digest>>,
}

/// The sources of the date of a manifest.
pub(super) struct DateSource {
    pub(super) annotation: Option<String>,
    /// The ids in annotations, which may be commits of the clone.
    pub(super) commits: Vec<ObjectId>,
    pub(super) config: Option<Descriptor>,
}

/// The data of a repository while it is read.
pub(super) struct RepositoryReader {
    pub(super) listing: Listing,
    /// `None` if the date cannot be determined.
    pub(super) date_sources: HashMap<Digest, Option<DateSource>>,
    /// The versions of which the registry has every document with a date that the cache had.
    pub(super) proved: BTreeSet<Digest>,
}

impl Registry {
    /// Creates the backend without a request.
    pub(crate) fn new(remote: Remote, is_on_hub: bool) -> Self {
        // Another process may delete a manifest.
        let source = Source::Remote(remote.clone()).without_kept_manifests();
        Self {
            remote,
            cached: source.clone(),
            cache: None,
            source,
            is_on_hub,
            known: RefCell::default(),
            later_tags: RefCell::default(),
            unfinished: None,
            git: None,
            untagged: RefCell::default(),
        }
    }

    /// The same backend, which reads immutable documents once. `directory`: that of repin in the user's cache.
    pub(crate) fn caching(self, directory: &Path) -> Self {
        let (cached, cache) = self.source.clone().with_cache(directory);
        Self {
            cached,
            cache,
            ..self
        }
    }

    /// The same backend, which continues unfinished deletions in a clone, and knows its commits.
    pub(crate) fn in_clone(self, git: &Git) -> Result<Self, Error> {
        let unfinished = Unfinished::new(&git.own_directory()?, &self.remote.to_string());
        Ok(Self {
            unfinished: Some(unfinished),
            git: Some(git.clone()),
            ..self
        })
    }

    pub(super) async fn list(
        &self,
        protection: ImageProtection<'_>,
        rules: &Rules<'_>,
        scope: Scope,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        progress.begin("listing tags", None);
        let tags = self.remote.tags_with_clock().await?;
        let mut reader = RepositoryReader {
            listing: Listing::new(Vec::new(), tags.clock),
            date_sources: HashMap::new(),
            proved: BTreeSet::new(),
        };
        let missing = self
            .read_tags(
                &self.cached,
                tags.tags.unwrap_or_default(),
                &mut reader,
                progress,
            )
            .await?;
        reader.listing.dangling = self.dangling(missing).await?;
        self.read_unfinished(&mut reader, progress).await?;
        // The cache proves no existence.
        let pinned: BTreeSet<Digest> = protection.pins().map(|(digest, _)| digest).collect();
        let mut untagged = BTreeSet::from_iter(tags.untagged);
        untagged.retain(|digest| !pinned.contains(digest));
        if rules.prune.untagged {
            self.read_unknown(&self.source, pinned, &mut reader, progress)
                .await?;
            let listed = std::mem::take(&mut untagged);
            self.read_unknown(&self.cached, listed, &mut reader, progress)
                .await?;
        }
        let eligible: Vec<Digest> = reader
            .listing
            .versions
            .iter()
            .filter(|version| is_eligible(&reader.listing, version, protection, rules.prune))
            .map(|version| version.digest)
            .collect();
        let is_complete = scope == Scope::Protected;
        let unread: BTreeSet<Digest> = if eligible.is_empty() && !is_complete {
            protection.pins().map(|(digest, _)| digest).collect()
        } else {
            protection.pinned()
        };
        self.read_unknown(&self.source, unread, &mut reader, progress)
            .await?;
        self.read_dates(&self.cached, eligible, &mut reader, progress)
            .await?;
        self.prove_dates(protection, rules, &mut reader, progress)
            .await?;
        if is_complete
            || !judge(&reader.listing, protection, rules)
                .candidates
                .is_empty()
        {
            self.read_unknown(&self.cached, untagged, &mut reader, progress)
                .await?;
            self.read_running(protection, &mut reader, progress).await?;
            self.read_mentioned(protection, &mut reader, progress)
                .await?;
        }
        if is_complete {
            self.read_referrers(protection, rules, &mut reader, progress)
                .await?;
        }
        self.find_different_date(&mut reader, progress).await?;
        self.prove_dates(protection, rules, &mut reader, progress)
            .await?;
        Ok(reader.listing)
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Lists the repository for comparison: the current tags, the untagged versions of `before`,
    /// and the existing versions of `keep`, tagged or not.
    pub(super) async fn relist(
        &self,
        before: &Listing,
        keep: &[Version],
        progress: &Progress,
    ) -> Result<Listing, Error> {
        progress.begin("listing tags again", None);
        let tags = self.remote.tags_with_clock().await?;
        let mut reader = RepositoryReader {
            listing: Listing {
                versions: Vec::new(),
                clock: tags.clock,
                dangling: Vec::new(),
                ..before.clone()
            },
            date_sources: HashMap::new(),
            proved: BTreeSet::new(),
        };
        // Right before and after deletions, each tag is proved by its bytes, except on Docker Hub.
        let missing = self
            .read_tags(
                &self.source,
                tags.tags.unwrap_or_default(),
                &mut reader,
                progress,
            )
            .await?;
        let dangling = missing.into_iter().map(|tag| Dangling { tag, id: None });
        reader.listing.dangling = dangling.collect();
        let tagged: BTreeSet<Digest> = reader
            .listing
            .versions
            .iter()
            .map(|version| version.digest)
            .collect();
        let untagged = before.versions.iter().filter(|known| known.tags.is_empty());
        let unread = untagged
            .chain(keep)
            .map(|version| version.digest)
            .filter(|digest| !tagged.contains(digest))
            .collect();
        self.read_untagged(&self.source, unread, &mut reader, progress)
            .await?;
        backends::nested(&self.source, &mut reader.listing, progress).await?;
        Ok(reader.listing)
    }

    /// Resolves the tags without a manifest a second time. If nothing changed, they are dangling;
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
            let reference = TagOrDigest::Tag(tag.clone());
            if !tags.contains(&tag) || self.resolve(&reference).await?.is_some() {
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
    async fn read_tags(
        &self,
        source: &Source,
        names: Vec<Tag>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<Vec<Tag>, Error> {
        let listed: BTreeSet<Tag> = names.iter().cloned().collect();
        self.known.borrow_mut().extend(names.iter().cloned());
        let wants = names
            .into_iter()
            .map(|tag| (tag.clone(), TagOrDigest::Tag(tag)))
            .collect();
        let (mut found, wants) = self.reported(wants, &reader.listing.nodes, progress).await;
        self.check_pull_limit(source, &wants).await?;
        let mut missing = Vec::new();
        progress.begin("reading tags", Some(wants.len()));
        let result = backends::read(source, wants, progress, |tag, manifest| {
            match manifest {
                Some(manifest) => {
                    reader.add_manifest(manifest.digest, &manifest.value);
                    found.push((tag, manifest.digest));
                }
                None => missing.push(tag),
            }
            Ok(())
        })
        .await;
        // Also if the listing failed, so that the next run requests the others.
        if let Some(cache) = &self.cache {
            cache.store_tags(&listed, found.iter().cloned());
        }
        result?;
        let mut versions: BTreeMap<Digest, Vec<Tag>> = BTreeMap::new();
        for (tag, digest) in found {
            versions.entry(digest).or_default().push(tag);
        }
        for (digest, mut tags) in versions {
            tags.sort();
            reader.listing.versions.push(Version {
                id: None,
                digest,
                tags,
            });
        }
        Ok(missing)
    }

    /// Fetches untagged versions by digest. Missing ones are omitted.
    pub(super) async fn read_untagged(
        &self,
        source: &Source,
        digests: BTreeSet<Digest>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let wants = digests
            .into_iter()
            .map(|digest| (digest, TagOrDigest::Digest(digest)))
            .collect();
        let (found, wants) = self.reported(wants, &reader.listing.nodes, progress).await;
        let mut found: Vec<Digest> = found.into_iter().map(|(digest, _)| digest).collect();
        self.check_pull_limit(source, &wants).await?;
        progress.begin("reading untagged digests", Some(wants.len()));
        backends::read(source, wants, progress, |digest, manifest| {
            if let Some(manifest) = manifest {
                reader.add_manifest(digest, &manifest.value);
                found.push(digest);
            }
            Ok(())
        })
        .await?;
        for digest in found {
            reader.listing.versions.push(Version {
                id: None,
                digest,
                tags: Vec::new(),
            });
        }
        Ok(())
    }

    /// Requests the deletion of a digest that no manifest has. A registry that supports deletion returns
    /// 404.
    pub(super) async fn deletes(&self) -> Result<(), Error> {
        let absent = Digest::of(format!("whether {} deletes", self.remote).as_bytes());
        match self.remote.delete(absent).await? {
            Deletion::Missing
            | Deletion::MissingAfterAttempt
            | Deletion::Deleted
            | Deletion::Blocked { .. } => Ok(()),
            // Docker Hub also answers 403 to a digest with tags.
            Deletion::Forbidden(_) if self.is_on_hub => Ok(()),
            Deletion::Forbidden(error) => Err(*error),
            Deletion::Refused(reason) => {
                let message = format!("{} does not delete: {reason}", self.remote);
                let hint = "switch deletion on (docker-registry: storage.delete.enabled: true), then garbage-collect";
                Err(Error::new(Class::Denied, Code::DELETION_DISABLED, message).help(hint))
            }
        }
    }

    /// Resolves the tags of the version and all new tags. A known tag that moved to the version is
    /// not detected, because this would require a request for every tag.
    pub(super) async fn current_state(&self, version: &Version) -> Result<CurrentState, Error> {
        let tags: BTreeSet<Tag> = self
            .remote
            .tags_with_clock()
            .await?
            .tags
            .unwrap_or_default()
            .into_iter()
            .collect();
        let unread: Vec<Tag> = tags.difference(&self.known.borrow()).cloned().collect();
        for tag in unread {
            let wanted = TagOrDigest::Tag(tag.clone());
            if let Some(found) = self.source.manifest(&wanted, None).await? {
                let children = Node::from_manifest(&found.value).children;
                self.later_tags
                    .borrow_mut()
                    .insert(tag.clone(), (found.digest, children));
            }
            self.known.borrow_mut().insert(tag);
        }
        for (tag, (digest, children)) in &*self.later_tags.borrow() {
            if *digest == version.digest {
                return Ok(CurrentState::Changed(format!("{tag} resolves to it too")));
            }
            // The entries of a nested index are not read: the version may be one of them.
            let needs = |child: &Child| child.is_index || child.digest == version.digest;
            if children.iter().any(needs) {
                return Ok(CurrentState::Changed(format!(
                    "{tag} is new, and an index that may need it"
                )));
            }
        }
        if version.tags.is_empty() || self.untagged.borrow().contains(&version.digest) {
            return Ok(if self.is_deleted(version).await? {
                CurrentState::Missing
            } else {
                CurrentState::Unchanged
            });
        }
        let mut remaining = 0;
        for tag in &version.tags {
            match self.resolve(&TagOrDigest::Tag(tag.clone())).await? {
                Some(digest) if digest == version.digest => remaining += 1,
                Some(other) => {
                    return Ok(CurrentState::Changed(format!(
                        "{tag} now resolves to {other}"
                    )));
                }
                None => {}
            }
        }
        Ok(match remaining {
            0 => CurrentState::Missing,
            all if all == version.tags.len() => CurrentState::Unchanged,
            _ => CurrentState::Changed("some of its tags are gone".to_owned()),
        })
    }

    /// Whether the manifest no longer exists.
    pub(super) async fn is_deleted(&self, version: &Version) -> Result<bool, Error> {
        let want = TagOrDigest::Digest(version.digest);
        Ok(self.resolve(&want).await?.is_none())
    }
}

/// The values that have the form of an id of git.
pub(super) fn ids_in(fields: &BTreeMap<String, String>) -> impl Iterator<Item = ObjectId> {
    let values = fields.values();
    values.filter_map(|value| ObjectId::parse(value.as_bytes()))
}

impl RepositoryReader {
    pub(super) fn add_manifest(&mut self, digest: Digest, manifest: &Manifest) {
        let (annotations, config) = match manifest {
            Manifest::Image(image) => (&image.annotations, Some(&image.config)),
            Manifest::Index(index) => (&index.annotations, None),
        };
        let config = config
            .filter(|config| CONFIG_TYPES.contains(&config.media_type.as_str()))
            .cloned();
        let source = DateSource {
            annotation: annotations.get(CREATED).cloned(),
            commits: ids_in(annotations).collect(),
            config,
        };
        self.date_sources.insert(digest, Some(source));
        self.listing
            .nodes
            .insert(digest, Node::from_manifest(manifest));
    }
}
