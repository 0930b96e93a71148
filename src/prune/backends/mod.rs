//! Lists and deletes versions with the OCI distribution API or GitHub's packages API.
//!
//! Both backends return a [`Listing`] and delete the versions that [`super::apply`] requests. They
//! decide nothing.
//!
//! Fetches manifests concurrently.

mod dates;
mod ecr;
mod ghcr;
mod hub;
mod registry;
mod unlisted;
mod untag;

use std::{fmt, path::Path, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    ImageProtection, Listing, Node, Progress, Rules, Scope, Version,
    apply::{CurrentState, Deleting, Package},
    is_eligible,
};
use crate::{
    base::error::{Class, Code, Error},
    git::Git,
    oci::{
        Digest, Manifest, Tag, TagOrDigest, Verified,
        registry::{Deletion, Source},
    },
};

pub(crate) use ecr::Ecr;
pub(crate) use ghcr::Ghcr;
pub(crate) use registry::Registry;

/// A package of any backend.
#[derive(Debug)]
pub(crate) enum Backend {
    /// The OCI distribution API.
    Registry(Box<Registry>),
    /// GitHub's packages API, and the registry for manifests.
    Ghcr(Box<Ghcr>),
    /// The native API of Amazon ECR.
    Ecr(Box<Ecr>),
}

/// The first pause before a delayed deletion is verified. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A version that still exists after this pause was not deleted.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

impl Backend {
    /// The same backend, which reads immutable documents once. `directory`: that of repin in the user's cache.
    /// GitHub's packages are read in full: that a listed version has a manifest proves the listing.
    pub(crate) fn caching(self, directory: Option<&Path>) -> Self {
        match (self, directory) {
            (Self::Registry(registry), Some(directory)) => {
                Self::Registry(Box::new(registry.caching(directory)))
            }
            (backend, _) => backend,
        }
    }

    /// The same backend, which continues unfinished deletions in a clone, and knows its commits.
    pub(crate) fn in_clone(self, git: Option<&Git>) -> Result<Self, Error> {
        Ok(match (self, git) {
            (Self::Registry(registry), Some(git)) => {
                Self::Registry(Box::new(registry.in_clone(git)?))
            }
            (backend, _) => backend,
        })
    }

    /// Lists all versions with the data that `judge` needs.
    pub(crate) async fn list(
        &self,
        protection: ImageProtection<'_>,
        rules: &Rules<'_>,
        scope: Scope,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        match self {
            Self::Registry(registry) => registry.list(protection, rules, scope, progress).await,
            Self::Ghcr(ghcr) => ghcr.list(protection, rules, scope, progress).await,
            Self::Ecr(ecr) => ecr.list(protection, rules, scope, progress).await,
        }
    }

    /// Puts a tag on an existing digest, and verifies that it resolves to it. A tag that exists is not moved.
    pub(crate) async fn set_tag(&self, digest: Digest, tag: &Tag) -> Result<(), Error> {
        let source = match self {
            Self::Registry(registry) => registry.source(),
            Self::Ghcr(ghcr) => ghcr.source(),
            Self::Ecr(ecr) => return ecr.set_tag(digest, tag).await,
        };
        set_tag(source, digest, tag).await
    }

    /// Checks that deletion is supported, without a deletion.
    pub(crate) async fn deletes(&self) -> Result<(), Error> {
        match self {
            Self::Registry(registry) => registry.deletes().await,
            Self::Ghcr(_) => Ok(()),
            Self::Ecr(ecr) => ecr.deletes().await,
        }
    }
}

impl Package for Backend {
    async fn relist(
        &self,
        first: &Listing,
        rules: &Rules<'_>,
        progress: &Progress,
    ) -> Result<Listing, Error> {
        match self {
            Self::Registry(registry) => registry.relist(first, &[], progress).await,
            Self::Ghcr(ghcr) => ghcr.relist(first, progress).await,
            Self::Ecr(ecr) => ecr.relist_with_pulls(first, rules, progress).await,
        }
    }

    async fn list_after_deletion(
        &self,
        before: &Listing,
        keep: &[Version],
        progress: &Progress,
    ) -> Result<Listing, Error> {
        match self {
            Self::Registry(registry) => registry.relist(before, keep, progress).await,
            Self::Ghcr(ghcr) => ghcr.list_after_deletion(before, keep, progress).await,
            Self::Ecr(ecr) => ecr.relist(before, progress).await,
        }
    }

    async fn current_state(&self, version: &Version) -> Result<CurrentState, Error> {
        match self {
            Self::Registry(registry) => registry.current_state(version).await,
            Self::Ghcr(ghcr) => ghcr.current_state(version).await,
            Self::Ecr(ecr) => ecr.current_state(version).await,
        }
    }

    async fn delete(&self, version: &Version, deleting: &Deleting<'_>) -> Result<Deletion, Error> {
        match self {
            Self::Registry(registry) => registry.delete(version, deleting).await,
            Self::Ghcr(ghcr) => ghcr.delete(version).await,
            Self::Ecr(ecr) => ecr.delete(version).await,
        }
    }

    async fn is_deleted(&self, version: &Version) -> Result<bool, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let gone = match self {
                Self::Registry(registry) => registry.is_deleted(version).await?,
                Self::Ghcr(ghcr) => ghcr.is_deleted(version).await?,
                Self::Ecr(ecr) => ecr.is_deleted(version).await?,
            };
            if gone || pause > LONGEST_PAUSE {
                return Ok(gone);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    fn missing_permission(&self) -> &'static str {
        match self {
            Self::Registry(_) | Self::Ecr(_) => {
                "the registry hides deletions that it does not permit: grant the credentials the \
                 permission to delete in this repository"
            }
            Self::Ghcr(_) => {
                "GitHub answers 404 where the role Admin is missing: in the package's settings, \
                 \"Manage Actions access\", give this repository the role Admin; a personal access \
                 token needs `delete:packages` and a user with the role Admin on the package"
            }
        }
    }
}

/// Whether a version may be a candidate by its own date, so that the references of all versions are required.
fn has_candidate(listing: &Listing, protection: ImageProtection<'_>, rules: &Rules<'_>) -> bool {
    let now = listing.clock.earlier();
    listing.versions.iter().any(|version| {
        let date = listing.dates.get(&version.digest);
        let age = date.and_then(|date| now.duration_since(*date).ok());
        age.is_some_and(|age| rules.is_old(age))
            && is_eligible(listing, version, protection, rules.prune)
    })
}

/// The state of a version with other tags than before.
fn changed_tags(tags: &[Tag]) -> CurrentState {
    let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    let tags = if tags.is_empty() {
        "gone".to_owned()
    } else {
        tags.join(", ")
    };
    CurrentState::Changed(format!("its tags are {tags} now"))
}

/// The number of concurrent requests.
const MAX_REQUESTS: usize = 8;

/// Fetches the manifests in `wants` and passes each to the callback, in order. Stops at the first
/// error.
async fn read<K: Clone>(
    source: &Source,
    wants: Vec<(K, TagOrDigest)>,
    progress: &Progress,
    mut on_manifest: impl FnMut(K, Option<Verified<Manifest>>) -> Result<(), Error>,
) -> Result<(), Error> {
    let requests = stream::iter(wants).map(|(key, reference)| async move {
        let manifest = source.manifest(&reference, None).await;
        progress.step();
        manifest.map(|manifest| (key, manifest))
    });
    let mut responses = std::pin::pin!(requests.buffered(MAX_REQUESTS));
    while let Some((key, manifest)) = responses.try_next().await? {
        on_manifest(key, manifest)?;
    }
    Ok(())
}

/// Puts a tag on an existing digest of a registry.
pub(crate) async fn set_tag(source: &Source, digest: Digest, tag: &Tag) -> Result<(), Error> {
    let reference = TagOrDigest::Tag(tag.clone());
    let resolve = async || {
        let found = source.manifest(&reference, None).await?;
        Ok(found.map(|found| found.digest))
    };
    let set = async || match source {
        Source::Remote(remote) => remote.set_tag(digest, tag).await,
        Source::Layout(_) => {
            let message = format!("{source} is an image layout, in which repin sets no tag");
            Err(Error::input(Code::SOURCE, message))
        }
    };
    set_new_tag(source, digest, tag, resolve, set).await
}

/// The refusal to move a tag from another digest.
pub(crate) fn taken_tag(repository: &impl fmt::Display, tag: &Tag, digest: Digest) -> Error {
    let message = format!("{repository}:{tag} resolves to {digest} and is not moved");
    Error::new(Class::Unavailable, Code::CHANGED, message)
}

/// Puts a tag on a digest with `set`, and verifies it. A tag that `resolve` finds on another digest is not moved.
async fn set_new_tag(
    repository: &impl fmt::Display,
    digest: Digest,
    tag: &Tag,
    resolve: impl AsyncFn() -> Result<Option<Digest>, Error>,
    set: impl AsyncFnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    // Another process may have pushed the tag since the listing.
    let check = async || match resolve().await? {
        Some(found) if found != digest => {
            Err(taken_tag(repository, tag, found).help("choose another prefix, or remove that tag"))
        }
        found => Ok(found.is_some()),
    };
    if check().await? {
        return Ok(());
    }
    let result = set().await;
    // The response may be lost, and registries refuse to set an immutable tag again.
    if check().await? {
        return Ok(());
    }
    result?;
    let message = format!("{repository} accepted the tag {tag} for {digest}, but does not have it");
    Err(Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help("run the command again"))
}

/// Fetches nested indexes until the entries of all are known.
async fn nested(source: &Source, listing: &mut Listing, progress: &Progress) -> Result<(), Error> {
    loop {
        let unread = listing.unread_indexes();
        if unread.is_empty() {
            return Ok(());
        }
        let wants = unread
            .into_iter()
            .map(|digest| (digest, TagOrDigest::Digest(digest)))
            .collect();
        read(source, wants, progress, |digest, found| {
            let found = found.ok_or_else(|| {
                Error::new(
                    Class::Unavailable,
                    Code::LISTING,
                    format!("{source}@{digest} is part of an index, but it is missing"),
                )
                .help("cannot determine its parts, so nothing is deleted")
            })?;
            listing
                .nodes
                .insert(digest, Node::from_manifest(&found.value));
            Ok(())
        })
        .await?;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{Progress, set_new_tag};
    use crate::{
        base::error::{Class, Code, Error},
        oci::{Digest, Tag},
    };

    /// Registries refuse to set an immutable tag again, also if the response to the first request was lost.
    #[tokio::test]
    async fn refused_tag_is_read_again() {
        let (digest, other) = (Digest::of(b"a"), Digest::of(b"b"));
        let tag = Tag::parse("keep-a").unwrap();
        for (afterwards, expected) in [
            (Some(digest), None),
            (Some(other), Some(Code::CHANGED)),
            (None, Some(Code::DENIED)),
        ] {
            let found = Cell::new(None);
            let resolve = async || Ok(found.get());
            let set = async || {
                found.set(afterwards);
                Err(Error::new(
                    Class::Denied,
                    Code::DENIED,
                    "immutable".to_owned(),
                ))
            };
            let result = set_new_tag(&"r", digest, &tag, resolve, set).await;
            assert_eq!(result.err().map(|error| error.code), expected);
        }
    }

    #[test]
    fn progress_restarts_with_each_listing() {
        let progress = Progress::default();
        progress.begin("reading tags", Some(3));
        progress.step();
        progress.step();
        assert_eq!(progress.describe(), "reading tags: 2 of 3");
        progress.begin("listing tags", None);
        assert_eq!(progress.describe(), "listing tags");
        progress.set(7);
        assert_eq!(progress.describe(), "listing tags: 7");
    }
}
