//! A quick test of the sets that are available for rollback: whether each pinned digest exists, and whether its
//! tag still resolves to it. It verifies nothing else; [`super::rehearse`] runs every check.

use std::collections::HashMap;

use futures_util::future;

use super::{Services, SiteHistory};
use crate::{
    base::error::{Class, Error, Errors},
    config::Config,
    core::history::HistoryEntry,
    git::ObjectId,
    oci::{Digest, TagOrDigest, registry::Source},
};

/// The results of the quick test.
#[derive(Debug, Default)]
pub(crate) struct QuickTest {
    /// The commits of the sets with a result. A set with a tag that was not compared has none, unless a
    /// digest is missing.
    ready: HashMap<ObjectId, bool>,
    /// The errors that prevented results.
    pub errors: Vec<Error>,
}

impl QuickTest {
    /// The result of a set; `None` if it was not tested.
    pub(crate) fn result(&self, entry: &HistoryEntry) -> Option<bool> {
        self.ready.get(&entry.commit).copied()
    }
}

/// Tests the sets with at most two requests for each image and set.
pub(crate) fn quick_test(
    history: &SiteHistory,
    config: &Config,
    services: &Services,
) -> Result<QuickTest, Errors> {
    let sources = services.sources_of_images(config)?;
    let sets = history.available()?;
    let tests = sets.iter().map(|set| test_set(set, config, &sources));
    let message = "testing the sets that are available for rollback";
    let results = services.wait(future::join_all(tests), message);
    let mut test = QuickTest::default();
    for (set, result) in sets.iter().zip(results) {
        match result {
            Ok(Some(ready)) => {
                test.ready.insert(set.commit, ready);
            }
            Ok(None) => {}
            Err(errors) => test.errors.extend(errors),
        }
    }
    Ok(test)
}

async fn test_set(
    set: &HistoryEntry,
    config: &Config,
    sources: &[Source],
) -> Result<Option<bool>, Vec<Error>> {
    let mut tests = Vec::new();
    for (image, source) in config.images.iter().zip(sources) {
        // The set contains only images with pins.
        if let Some(digest) = set.images.get(&image.name) {
            tests.push(test_image(set, *digest, config, source));
        }
    }
    let (mut ready, mut errors) = (Some(true), Vec::new());
    for result in future::join_all(tests).await {
        match result {
            Ok(Some(false)) => return Ok(Some(false)),
            Ok(Some(true)) => {}
            Ok(None) => ready = None,
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(ready)
    } else {
        Err(errors)
    }
}

/// Tests one image; `None` if its tag is unknown, because `revision.tag` is a pattern with `*`.
async fn test_image(
    set: &HistoryEntry,
    digest: Digest,
    config: &Config,
    source: &Source,
) -> Result<Option<bool>, Error> {
    let pattern = set
        .revision
        .as_ref()
        .map(|revision| config.revision.exact_tag(revision));
    let found = reported(source, TagOrDigest::Digest(digest)).await?;
    if found != Some(digest) {
        return Ok(Some(false));
    }
    let Some(Some(tag)) = pattern else {
        return Ok(None);
    };
    let found = reported(source, TagOrDigest::Tag(tag)).await?;
    Ok(Some(found == Some(digest)))
}

/// The digest of a manifest; `None` if it is missing or does not match its digest.
async fn reported(source: &Source, reference: TagOrDigest) -> Result<Option<Digest>, Error> {
    match source.reported_digest(&reference).await {
        Err(error) if matches!(error.class, Class::WrongBytes | Class::MissingContent) => Ok(None),
        found => found,
    }
}
