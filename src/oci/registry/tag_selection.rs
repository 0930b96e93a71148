//! The tag of a repository that a pattern with `*` selects.

use futures_util::{StreamExt as _, stream};

use super::Source;
use crate::{
    base::error::Error,
    oci::{Digest, Manifest, Tag, TagOrDigest, TagPattern},
};

/// The maximum number of matching tags that are compared with a digest.
const MAX_COMPARED: usize = 100;
/// The maximum number of tags that are resolved concurrently.
const CONCURRENCY: usize = 8;

/// The reason that a pattern selects no tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoTag {
    /// No tag matches, or the tag does not exist.
    Missing,
    /// Several tags match, in order, and the digest is unknown.
    Several(Vec<Tag>),
    /// Several tags match, in order, and none resolves to the expected digest.
    OtherDigests(Vec<Tag>),
}

/// Selects the only tag that matches a pattern. If several match and the digest is known, the first
/// that resolves to it, or else the first that resolves to an index with it. A pattern without `*` costs no request.
pub(crate) async fn select_tag(
    source: &Source,
    pattern: &TagPattern,
    expected: Option<Digest>,
) -> Result<Result<Tag, NoTag>, Error> {
    if let Some(tag) = pattern.tag() {
        return Ok(Ok(tag.clone()));
    }
    let mut matches = source.tags().await?.unwrap_or_default();
    matches.retain(|tag| pattern.matches(tag));
    match (matches.as_slice(), expected) {
        ([], _) => return Ok(Err(NoTag::Missing)),
        ([only], _) => return Ok(Ok(only.clone())),
        (several, Some(_)) if several.len() <= MAX_COMPARED => {}
        _ => return Ok(Err(NoTag::Several(matches))),
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
            return Ok(Ok(tag.clone()));
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
    Ok(index_with_digest.ok_or(NoTag::OtherDigests(matches)))
}
