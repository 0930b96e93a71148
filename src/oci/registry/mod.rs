//! The sources of image bytes: registries, and OCI image layouts on disk.
//!
//! Both return raw bytes with the media type and digest that the source states. [`document`]
//! verifies the bytes of both. `layers` and `inventory` read the content of images.
//!
//! The mappings from repositories to sources.
//!
//! The tag of a repository that a pattern with `*` selects.

mod document_cache;
mod layout;
mod mapping;
mod memory;
pub(crate) mod remote;
pub(crate) mod resolve;

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    io::{self, Read, Take},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt as _, stream};
use memory::MemoryLimit;
use tokio::sync::SemaphorePermit;

use super::{
    Descriptor, Digest, ImageConfig, MAX_DOCUMENT, Manifest, Repository, Tag, TagOrDigest,
    TagPattern, Verified, document,
};
use crate::base::error::{Code, Error};

pub(crate) use document_cache::DocumentCache;
pub(crate) use layout::Layout;
pub(crate) use mapping::{Endpoint, LayoutDirectory, Mapping, Prefix, SourceLocation, is_host};
pub(crate) use remote::{
    AwsEnvironment, Blocker, Deletion, EcrImage, EcrRepository, Environment, MAX_IMAGES, PULL_HELP,
    Registries, Remote, Settings, is_ecr, pull_limit_error,
};
pub(crate) use resolve::{RevisionField, RevisionSource};

pub(crate) use crate::base::http::{Clock, ServerTime};

#[cfg(test)]
pub(crate) use remote::{NextPage, TagPages};

/// One repository at its source.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// An image layout on disk.
    Layout(Layout),
    /// A repository of a registry.
    Remote(Remote),
}

/// The bytes of a layer, limited to the size in its descriptor, and not verified.
///
/// An [`io::Error`] of a registry's layer contains an [`Error`].
#[derive(Debug)]
pub(crate) enum Layer {
    /// From an image layout.
    File(Take<File>),
    /// From a registry.
    Stream(remote::Stream),
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

impl Source {
    /// The same source, which requests a manifest again each time.
    pub(crate) fn without_kept_manifests(self) -> Self {
        match self {
            Self::Remote(remote) => Self::Remote(remote.without_kept_manifests()),
            Self::Layout(layout) => Self::Layout(layout),
        }
    }

    /// The same source with the user's cache: cached documents are not requested, and fetched ones are stored. A cached
    /// digest may be missing from the registry. `directory`: that of repin in the cache.
    pub(crate) fn with_cache(self, directory: &Path) -> (Self, Option<Arc<DocumentCache>>) {
        let Self::Remote(remote) = self else {
            return (self, None);
        };
        let cache = Arc::new(DocumentCache::open(
            directory,
            &remote.address(),
            remote.clock(),
        ));
        (Self::Remote(remote.with_cache(&cache)), Some(cache))
    }

    fn cache(&self) -> Option<&DocumentCache> {
        match self {
            Self::Remote(remote) => remote.cache.as_deref(),
            Self::Layout(_) => None,
        }
    }

    /// Whether a manifest is in the user's cache, so that it is not requested by GET unless the tag was moved.
    pub(crate) fn is_cached(&self, reference: &TagOrDigest) -> bool {
        self.cache().is_some_and(|cache| match reference {
            TagOrDigest::Tag(tag) => cache.known_digest(tag).is_some(),
            TagOrDigest::Digest(digest) => cache.contains(*digest),
        })
    }

    /// The known manifest of a digest, or of a tag that still has a known digest. Anything else is requested.
    async fn cached_manifest(
        &self,
        reference: &TagOrDigest,
        expected: Option<&str>,
        name: &str,
    ) -> Option<Verified<Manifest>> {
        let (Self::Remote(remote), Some(cache)) = (self, self.cache()) else {
            return None;
        };
        let digest = match reference {
            TagOrDigest::Digest(digest) => *digest,
            TagOrDigest::Tag(tag) => {
                cache.known_digest(tag)?;
                remote.reported_digest(reference).await.ok()??
            }
        };
        let raw = cache.manifest(digest)?;
        document::manifest(&raw, &TagOrDigest::Digest(digest), expected, name).ok()
    }

    /// Fetches and verifies a manifest or index; `None` if the tag or digest is missing.
    ///
    /// `expected` is the media type in the parent's descriptor.
    pub(crate) async fn manifest(
        &self,
        reference: &TagOrDigest,
        expected: Option<&str>,
    ) -> Result<Option<Verified<Manifest>>, Error> {
        let name = format!("{self}{reference}");
        if let Some(found) = self.cached_manifest(reference, expected, &name).await {
            return Ok(Some(found));
        }
        let _permit = self.permit().await;
        let raw = match self {
            Self::Layout(layout) => {
                let (layout, reference) = (layout.clone(), reference.clone());
                run_blocking(&name, move || layout.manifest(&reference)).await?
            }
            Self::Remote(remote) => remote.manifest(reference, &name).await?,
        };
        let Some(raw) = raw else {
            return Ok(None);
        };
        let found = document::manifest(&raw, reference, expected, &name)?;
        if let Some(cache) = self.cache() {
            cache.store(found.digest, raw.media_type.as_deref(), &raw.bytes);
        }
        Ok(Some(found))
    }

    /// The digest of a manifest or index as the source reports it, without its bytes if the source is a
    /// registry; `None` if the tag or digest is missing.
    pub(crate) async fn reported_digest(
        &self,
        reference: &TagOrDigest,
    ) -> Result<Option<Digest>, Error> {
        match self {
            Self::Layout(_) => {
                let manifest = self.manifest(reference, None).await?;
                Ok(manifest.map(|manifest| manifest.digest))
            }
            Self::Remote(remote) => remote.reported_digest(reference).await,
        }
    }

    /// Lists the tags of the repository, in order; `None` if the registry does not know the repository.
    pub(crate) async fn tags(&self) -> Result<Option<Vec<Tag>>, Error> {
        match self {
            Self::Layout(layout) => {
                let _permit = self.permit().await;
                let (layout, name) = (layout.clone(), format!("tags of {self}"));
                run_blocking(&name, move || layout.tags()).await.map(Some)
            }
            Self::Remote(remote) => Ok(remote.tags_with_clock().await?.tags),
        }
    }

    /// Fetches and verifies the config of a manifest.
    pub(crate) async fn config(
        &self,
        descriptor: &Descriptor,
    ) -> Result<Verified<ImageConfig>, Error> {
        let name = format!("config {self}@{}", descriptor.digest);
        let known = self.cache().and_then(|cache| cache.blob(descriptor.digest));
        if let Some(bytes) = known
            && let Ok(config) = document::config(&bytes, descriptor, &name)
        {
            return Ok(config);
        }
        let bytes = self.document(descriptor, &name).await?;
        let config = document::config(&bytes, descriptor, &name)?;
        if let Some(cache) = self.cache() {
            cache.store(descriptor.digest, None, &bytes);
        }
        Ok(config)
    }

    /// Fetches and verifies a small blob.
    pub(crate) async fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let name = format!("blob {self}@{}", descriptor.digest);
        let bytes = self.document(descriptor, &name).await?;
        document::blob(&bytes, descriptor, &name)?;
        Ok(bytes)
    }

    /// Lists the manifests that are attached to a digest (OCI distribution specification, "Listing
    /// Referrers"). The caller verifies each of them.
    pub(crate) async fn referrers(&self, digest: Digest) -> Result<Vec<Descriptor>, Error> {
        let listed = match self {
            Self::Layout(layout) => {
                let (layout, name) = (layout.clone(), format!("{self}@{digest}"));
                run_blocking(&name, move || layout.referrers(digest)).await?
            }
            Self::Remote(remote) => remote.referrers(digest).await?,
        };
        if !listed.is_empty() {
            return Ok(listed);
        }
        let tag = TagOrDigest::Tag(attached_tag(digest, "")?);
        let found = self.manifest(&tag, None).await?;
        // GitLab's registry resolves this tag to the image itself.
        match found
            .filter(|found| found.digest != digest)
            .map(|found| found.value)
        {
            None => Ok(Vec::new()),
            Some(Manifest::Index(index)) => Ok(index.manifests),
            Some(Manifest::Image(_)) => Err(Error::unavailable(
                format!("{self}{tag}"),
                "expected an index of the attached manifests, found an image",
            )),
        }
    }

    /// Fetches a descriptor's document without verifying it.
    async fn document(&self, descriptor: &Descriptor, name: &str) -> Result<Vec<u8>, Error> {
        if descriptor.size > MAX_DOCUMENT {
            return Err(Error::unavailable(
                name,
                format!("it has {} bytes, more than 4 MiB", descriptor.size),
            ));
        }
        let _permit = self.permit().await;
        match self {
            Self::Layout(layout) => {
                let (layout, descriptor) = (layout.clone(), descriptor.clone());
                run_blocking(name, move || layout.blob(&descriptor)).await
            }
            Self::Remote(remote) => remote.blob(descriptor, name).await,
        }
    }

    /// Limits concurrent reads from layouts; the HTTP client limits those from registries.
    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        match self {
            Self::Layout(layout) => layout.memory.permit().await,
            Self::Remote(_) => None,
        }
    }

    /// The memory limit of the set.
    fn memory(&self) -> &memory::MemoryLimit {
        match self {
            Self::Layout(layout) => &layout.memory,
            Self::Remote(remote) => &remote.memory,
        }
    }

    /// Opens a layer. The caller consumes it in a blocking thread and verifies it.
    ///
    /// An open layer of a registry occupies a request slot of its host: consume or drop it.
    pub(crate) async fn layer(&self, descriptor: &Descriptor) -> Result<Layer, Error> {
        let name = format!("layer {self}@{}", descriptor.digest);
        match self {
            Self::Layout(layout) => {
                let (layout, descriptor) = (layout.clone(), descriptor.clone());
                let file = run_blocking(&name, move || layout.layer(&descriptor)).await?;
                Ok(Layer::File(file))
            }
            Self::Remote(remote) => Ok(Layer::Stream(remote.layer(descriptor, &name).await?)),
        }
    }

    /// Checks that the source has a layer, without reading it.
    pub(crate) async fn check_layer(&self, descriptor: &Descriptor) -> Result<(), Error> {
        match self {
            Self::Layout(_) => self.layer(descriptor).await.map(drop),
            Self::Remote(remote) => {
                let name = format!("layer {self}@{}", descriptor.digest);
                remote.check_blob(descriptor, &name).await
            }
        }
    }
}

/// The tag of a manifest that is attached to a digest: `sha256-HEX` and a suffix.
pub(crate) fn attached_tag(digest: Digest, suffix: &str) -> Result<Tag, Error> {
    let tag = format!("sha256-{}{suffix}", digest.hex());
    Tag::parse(&tag).map_err(|error| Error::unavailable(tag, error.to_string()))
}

/// Runs file operations in a blocking thread.
async fn run_blocking<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::unavailable(
            name,
            format!("reading was interrupted: {error}"),
        )),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(layout) => fmt::Display::fmt(layout, f),
            Self::Remote(remote) => fmt::Display::fmt(remote, f),
        }
    }
}

/// The mappings of one run: the command line, then the environment, then the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// Layers of mappings, the strongest first.
    layers: Vec<Vec<Mapping>>,
    registries: Registries,
    memory: MemoryLimit,
    keeps_manifests: bool,
    requested: RequestedRepositories,
}

/// The repositories whose source was requested; clones share the record.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestedRepositories(Arc<Mutex<HashSet<Repository>>>);

impl RequestedRepositories {
    fn record(&self, repository: &Repository) {
        self.lock().insert(repository.clone());
    }

    /// The mappings whose prefix none of the repositories has; none if there are no repositories.
    pub(crate) fn unmatched<'m>(&self, mappings: &'m [Mapping]) -> Vec<&'m Mapping> {
        let repositories = self.lock();
        let matches = |mapping: &&Mapping| {
            let mut repositories = repositories.iter();
            repositories.any(|repository| mapping.prefix.rest_of(repository).is_some())
        };
        let mappings = mappings.iter();
        mappings
            .filter(|mapping| !repositories.is_empty() && !matches(mapping))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Repository>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error for a repository without a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{repository}` cannot be read: {reason}")]
pub(crate) struct SourcesError {
    repository: String,
    reason: String,
}

impl Sources {
    /// `layers` starts with the strongest. An unmapped repository is read from its own registry.
    pub(crate) fn new(layers: Vec<Vec<Mapping>>, registries: Registries) -> Self {
        Self {
            layers,
            registries,
            memory: MemoryLimit::default(),
            keeps_manifests: false,
            requested: RequestedRepositories::default(),
        }
    }

    /// The same sources, which record the repositories for which they are requested.
    pub(crate) fn recorded_in(self, requested: &RequestedRepositories) -> Self {
        Self {
            requested: requested.clone(),
            ..self
        }
    }

    /// The same sources, which request a manifest by its digest once in the run.
    pub(crate) fn keeping_manifests(self) -> Self {
        Self {
            keeps_manifests: true,
            ..self
        }
    }

    /// All mappings, the strongest layer first.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.layers.iter().flatten()
    }

    /// The source of `repository`.
    pub(crate) fn source(&self, repository: &Repository) -> Result<Source, SourcesError> {
        let remote = match self.mapping(repository) {
            Some((SourceLocation::Layouts(directory), rest)) => {
                let mut layout = Layout::new(directory.join(&rest));
                layout.memory = self.memory.clone();
                return Ok(Source::Layout(layout));
            }
            Some((SourceLocation::Registry(endpoint), rest)) => {
                self.registries.mapped(endpoint, &rest)
            }
            None => self.registries.repository(repository),
        };
        let failed = |reason| SourcesError {
            repository: repository.to_string(),
            reason,
        };
        let mut remote: Remote = remote.map_err(failed)?;
        let roots = self.registries.read_roots();
        roots.map_err(|error| failed(error.to_string()))?;
        remote.memory = self.memory.clone();
        remote.keeps_manifests = self.keeps_manifests;
        Ok(Source::Remote(remote))
    }

    /// The longest mapping of `repository` in the strongest layer that has one, and the remaining
    /// part of the repository.
    pub(crate) fn mapping(&self, repository: &Repository) -> Option<(&SourceLocation, String)> {
        self.requested.record(repository);
        let (mapping, rest) = self
            .layers
            .iter()
            .find_map(|layer| Mapping::longest(layer, repository))?;
        Some((&mapping.location, rest))
    }
}

/// The maximum number of matching tags that are compared with a digest.
const MAX_COMPARED: usize = 100;
/// The maximum number of tags that are resolved concurrently.
const CONCURRENCY: usize = 8;

/// The reason that a pattern selects no tag, or a tag no manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoTag {
    /// No tag matches, or the tag does not exist.
    Missing,
    /// Several tags match, in order, and the digest is unknown.
    Several(Vec<Tag>),
    /// Several tags match, in order, and none resolves to the expected digest.
    OtherDigests(Vec<Tag>),
    /// The registry cannot be read, or the tag is ambiguous.
    Failed(Error),
}

impl From<Error> for NoTag {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Selects the only tag that matches a pattern. If several match and the digest is known, the first
/// that resolves to it, or else the first that resolves to an index with it. A pattern without `*` costs no request.
pub(crate) async fn select_tag(
    source: &Source,
    pattern: &TagPattern,
    expected: Option<Digest>,
) -> Result<Tag, NoTag> {
    if let Some(tag) = pattern.tag() {
        return Ok(tag.clone());
    }
    let mut matches = source.tags().await?.unwrap_or_default();
    matches.retain(|tag| pattern.matches(tag));
    match (matches.as_slice(), expected) {
        ([], _) => return Err(NoTag::Missing),
        ([only], _) => return Ok(only.clone()),
        (several, Some(_)) if several.len() <= MAX_COMPARED => {}
        _ => return Err(NoTag::Several(matches)),
    }
    let mut manifests = stream::iter(&matches)
        .map(|tag| async move {
            let reference = TagOrDigest::Tag(tag.clone());
            (tag, source.manifest(&reference, None).await)
        })
        .buffered(CONCURRENCY);
    let mut index_with_digest = None;
    while let Some((tag, manifest)) = manifests.next().await {
        let Some(manifest) = manifest? else { continue };
        if Some(manifest.digest) == expected {
            return Ok(tag.clone());
        }
        if let Manifest::Index(index) = &manifest.value
            && index
                .manifests
                .iter()
                .any(|entry| Some(entry.digest) == expected)
        {
            index_with_digest.get_or_insert_with(|| tag.clone());
        }
    }
    drop(manifests);
    index_with_digest.ok_or(NoTag::OtherDigests(matches))
}

/// Whether a digest exists without a tag: no tag resolves to it or to an index with it. `expected` are tried first; of
/// the others, at most 100 are compared; with more, the result is an error, because it is unknown. A digest that does not
/// exist is an error.
pub(crate) async fn is_untagged(
    source: &Source,
    digest: Digest,
    expected: &[Tag],
) -> Result<bool, Error> {
    if matches!(source, Source::Layout(_)) {
        return Ok(false);
    }
    for tag in expected {
        if is_tag_of(source, tag, digest).await? {
            return Ok(false);
        }
    }
    let mut others = source.tags().await?.unwrap_or_default();
    others.retain(|tag| !expected.contains(tag));
    if others.len() > MAX_COMPARED {
        let reason = format!(
            "whether a tag resolves to it is unknown: there are {} other tags, and at most {MAX_COMPARED} are compared",
            others.len()
        );
        let help = "pin the digest with its tag (NAME:TAG@DIGEST), which is compared first";
        return Err(Error::unavailable(format!("{source}@{digest}"), reason).help(help));
    }
    let mut compared = stream::iter(&others)
        .map(|tag| is_tag_of(source, tag, digest))
        .buffered(CONCURRENCY);
    while let Some(is_tag) = compared.next().await {
        if is_tag? {
            return Ok(false);
        }
    }
    let reference = TagOrDigest::Digest(digest);
    if source.manifest(&reference, None).await?.is_none() {
        let message = format!("{source}@{digest} does not exist, and no tag resolves to it");
        return Err(Error::failed(Code::DIGEST_MISSING, message));
    }
    Ok(true)
}

/// Whether a tag resolves to a digest, or to an index with it.
async fn is_tag_of(source: &Source, tag: &Tag, digest: Digest) -> Result<bool, Error> {
    let reference = TagOrDigest::Tag(tag.clone());
    let found = source.manifest(&reference, None).await?;
    Ok(found.is_some_and(|found| match found.value {
        _ if found.digest == digest => true,
        Manifest::Index(index) => index.manifests.iter().any(|entry| entry.digest == digest),
        Manifest::Image(_) => false,
    }))
}

#[cfg(test)]
mod tests;
