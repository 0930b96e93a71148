//! Fetches manifests concurrently.

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    base::{
        code::Code,
        error::{Class, Error},
    },
    oci::{Manifest, TagOrDigest, Verified, registry::Source},
    prune::{Listing, Node, Progress},
};

/// The number of concurrent requests.
pub(super) const MAX_REQUESTS: usize = 8;

/// Fetches the manifests in `wants` and passes each to the callback, in order. Stops at the first
/// error.
pub(super) async fn read<K: Clone>(
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

/// Fetches nested indexes until the entries of all are known.
pub(super) async fn nested(
    source: &Source,
    listing: &mut Listing,
    progress: &Progress,
) -> Result<(), Error> {
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
