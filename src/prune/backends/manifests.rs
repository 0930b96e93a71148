//! Reads manifests concurrently.

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    code::Code,
    error::{Class, Error},
    oci::{Manifest, TagOrDigest, Verified},
    prune::{Listing, Node, Progress},
    registry::Source,
};

/// The number of concurrent requests.
pub(super) const AT_ONCE: usize = 8;

/// Reads the manifests in `wants` and passes each to the callback, in order. Stops at the first error.
pub(super) async fn read<W: Clone>(
    source: &Source,
    wants: Vec<(W, TagOrDigest)>,
    progress: &Progress,
    mut each: impl FnMut(W, Option<Verified<Manifest>>) -> Result<(), Error>,
) -> Result<(), Error> {
    let asked = stream::iter(wants).map(|(what, want)| async move {
        let found = source.manifest(&want, None).await;
        progress.step();
        found.map(|found| (what, found))
    });
    let mut asked = std::pin::pin!(asked.buffered(AT_ONCE));
    while let Some((what, found)) = asked.try_next().await? {
        each(what, found)?;
    }
    Ok(())
}

/// Reads nested indexes until the entries of all are known.
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
