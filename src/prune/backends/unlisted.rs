//! The versions of a plain registry that a list of tags does not contain: those of unfinished deletions, those that
//! are attached to protected versions, and those that tracked files contain.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Registry, registry::RepositoryReader};
use crate::{
    base::error::{Class, Code, Error},
    oci::{Descriptor, Digest, registry::Source},
    prune::{ImageProtection, Progress, Rules, backends, protected},
};

/// The maximum number of requests for digests in tracked files.
const MAX_MENTIONED: usize = 2_000;
/// The maximum number of files in the message about these digests.
const MAX_FILES: usize = 10;

impl Registry {
    /// Reads the digests whose deletion an earlier run could not finish.
    pub(super) async fn read_unfinished(
        &self,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let Some(unfinished) = &self.unfinished else {
            return Ok(());
        };
        let digests = BTreeSet::from_iter(unfinished.digests()?);
        self.read_unknown(&self.source, digests.clone(), reader, progress)
            .await?;
        let listing = &mut reader.listing;
        for digest in digests {
            let mut versions = listing.versions.iter();
            let version = versions.find(|version| version.digest == digest);
            // A new tag is a new purpose. It may be deleted again only for a reason of its own.
            if version.is_some_and(|version| version.tags.is_empty()) {
                listing.unfinished.insert(digest);
            } else {
                unfinished.remove(digest);
            }
        }
        Ok(())
    }

    /// Reads the digests that are not known yet, as versions without a tag.
    pub(super) async fn read_unknown(
        &self,
        source: &Source,
        mut digests: BTreeSet<Digest>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let listing = &reader.listing;
        digests
            .retain(|digest| !listing.nodes.contains_key(digest) && !listing.lost.contains(digest));
        self.read_untagged(source, digests, reader, progress).await
    }

    /// Requests the manifests that are attached to protected versions, because they need no tag.
    pub(super) async fn read_referrers(
        &self,
        protection: ImageProtection<'_>,
        rules: &Rules<'_>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let mut requested = BTreeSet::new();
        loop {
            let protected = protected(&reader.listing, protection, rules.prune);
            let digests = protected.iter().map(|protected| protected.version.digest);
            let subjects: Vec<Digest> = digests.filter(|d| requested.insert(*d)).collect();
            if subjects.is_empty() {
                return Ok(());
            }
            progress.begin("reading signatures and attestations", Some(subjects.len()));
            let requests = stream::iter(subjects).map(|subject| async move {
                let referrers = self.source.referrers(subject).await;
                progress.step();
                referrers
            });
            let referrers: Vec<Vec<Descriptor>> = requests
                .buffered(backends::MAX_REQUESTS)
                .try_collect()
                .await?;
            let referrers = referrers.iter().flatten().map(|referrer| referrer.digest);
            let known = &reader.listing.nodes;
            let unread = referrers.filter(|digest| !known.contains_key(digest));
            self.read_untagged(&self.source, unread.collect(), reader, progress)
                .await?;
        }
    }

    /// Requests the digests that run without a known name: one may be that of an index without a tag.
    pub(super) async fn read_running(
        &self,
        protection: ImageProtection<'_>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let running = protection.running_ids().collect();
        self.read_possible(running, reader, progress).await
    }

    /// Requests the digests that are unknown, and no configs: docker-registry answers 500 if a config is requested as a
    /// manifest.
    async fn read_possible(
        &self,
        mut digests: BTreeSet<Digest>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let nodes = &reader.listing.nodes;
        let configs: BTreeSet<Digest> = nodes.values().filter_map(|node| node.config).collect();
        digests.retain(|digest| !configs.contains(digest) && !nodes.contains_key(digest));
        progress.begin("looking for configs", Some(digests.len()));
        let requests = stream::iter(digests).map(|digest| async move {
            let is_plain = self.remote.is_plain_blob(digest).await;
            progress.step();
            (!is_plain).then_some(digest)
        });
        let manifests: Vec<Option<Digest>> =
            requests.buffered(backends::MAX_REQUESTS).collect().await;
        let manifests = manifests.into_iter().flatten().collect();
        self.read_untagged(&self.source, manifests, reader, progress)
            .await
    }

    /// Requests the unlisted digests that tracked files contain after `sha256:`, since an untagged index
    /// appears nowhere else, and the nested indexes.
    pub(super) async fn read_mentioned(
        &self,
        protection: ImageProtection<'_>,
        reader: &mut RepositoryReader,
        progress: &Progress,
    ) -> Result<(), Error> {
        let unlisted: BTreeSet<Digest> = protection
            .references()
            .filter(|digest| !reader.listing.nodes.contains_key(digest))
            .collect();
        if unlisted.len() > MAX_MENTIONED {
            let message = format!(
                "tracked files name {} digests after sha256: that {} does not list; repin requests at most {MAX_MENTIONED}: {}",
                unlisted.len(),
                self.source,
                protection.describe_files(&unlisted, MAX_FILES)
            );
            let hint =
                "run prune in a repository without these files, which are probably lock files";
            return Err(Error::new(Class::Unavailable, Code::TOO_MANY_DIGESTS, message).help(hint));
        }
        self.read_possible(unlisted, reader, progress).await?;
        backends::nested(&self.source, &mut reader.listing, progress).await
    }
}
