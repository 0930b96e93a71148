//! The pull limit of Docker Hub, which counts each GET of a manifest, and no HEAD.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};

use super::Registry;
use crate::{
    base::error::Error,
    oci::{
        Digest, TagOrDigest,
        registry::{Source, pull_limit_error},
    },
    prune::{Node, Progress, backends},
};

/// References with a key.
type Wants<K> = Vec<(K, TagOrDigest)>;

impl Registry {
    /// Refuses to request more manifests from `source` than Docker Hub still allows.
    pub(super) async fn check_pull_limit<K>(
        &self,
        source: &Source,
        wants: &[(K, TagOrDigest)],
    ) -> Result<(), Error> {
        if !self.is_on_hub {
            return Ok(());
        }
        let pulled = wants.iter().map(|(_, reference)| reference);
        let pulled: Vec<_> = pulled.filter(|it| !source.is_cached(it)).collect();
        let Some(first) = pulled.first() else {
            return Ok(());
        };
        let (estimate, needed) = (self.remote.estimate(first).await, pulled.len() as u64);
        // The read repeats a failed request and reports its failure.
        match estimate.ok().and_then(|estimate| estimate.pulls) {
            Some(remaining) if remaining < needed => Err(pull_limit_error(remaining, needed)),
            _ => Ok(()),
        }
    }

    /// On Docker Hub, the digests in `nodes` that references still have, by HEAD, and the references to request: this
    /// run verified the manifests of these digests, and a second listing by GET would exceed the limit of pulls.
    /// Digests that do not exist are omitted. On other registries, all references are to be requested.
    pub(super) async fn reported<K>(
        &self,
        wants: Wants<K>,
        nodes: &HashMap<Digest, Node>,
        progress: &Progress,
    ) -> (Vec<(K, Digest)>, Wants<K>) {
        // Without a known manifest, the digest of a tag proves nothing.
        let is_useful = |reference: &TagOrDigest| match reference {
            TagOrDigest::Tag(_) => !nodes.is_empty(),
            TagOrDigest::Digest(_) => true,
        };
        if !self.is_on_hub || !wants.iter().any(|(_, reference)| is_useful(reference)) {
            return (Vec::new(), wants);
        }
        progress.begin("comparing digests", Some(wants.len()));
        let requests = stream::iter(wants).map(|(key, reference)| async move {
            let digest = self.remote.reported_digest(&reference).await;
            progress.step();
            (key, reference, digest)
        });
        let mut replies = std::pin::pin!(requests.buffered(backends::MAX_REQUESTS));
        let (mut known, mut others) = (Vec::new(), Vec::new());
        while let Some((key, reference, digest)) = replies.next().await {
            match digest {
                Ok(Some(digest)) if nodes.contains_key(&digest) => known.push((key, digest)),
                Ok(None) if matches!(reference, TagOrDigest::Digest(_)) => {}
                // GET reports a failure, and a second time that a tag has no manifest.
                _ => others.push((key, reference)),
            }
        }
        (known, others)
    }

    /// The digest of a tag, or a digest that exists; `None` if it is missing. On Docker Hub, HEAD is the proof: without
    /// a remaining pull, GET is refused for a deleted digest as well.
    pub(super) async fn resolve(&self, reference: &TagOrDigest) -> Result<Option<Digest>, Error> {
        if self.is_on_hub {
            return self.remote.reported_digest(reference).await;
        }
        let found = self.source.manifest(reference, None).await?;
        Ok(found.map(|found| found.digest))
    }
}
