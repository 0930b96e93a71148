//! The order of builds by ancestry in the source repository, requested once for each pair of revisions.

use std::collections::HashMap;

use tokio::sync::Mutex;

use crate::{
    config::Fleet,
    error::Error,
    forge::fleet::{FleetReader, RepositoryName},
    history::{Order, UnknownOrder},
    oci::{Revision, is_hex},
    pull_request::reconcile::RevisionAge,
};

/// The minimum number of digits of an abbreviated commit (gitrevisions(7)).
const DIGITS_MIN: usize = 4;

/// The order of revisions in the source repository.
pub(super) struct SourceOrder {
    source: Option<RepositoryName>,
    /// Whether the first revision of a pair is an ancestor of the second. Locked during a request, so that
    /// no pair is requested twice.
    known: Mutex<HashMap<[String; 2], Option<bool>>>,
}

impl SourceOrder {
    pub(super) fn new(rules: &Fleet) -> Self {
        Self {
            source: rules.source.as_deref().and_then(RepositoryName::parse),
            known: Mutex::default(),
        }
    }

    /// The order of `revision` and the pinned revision.
    pub(super) async fn order(
        &self,
        reader: &FleetReader,
        revision: &Revision,
        pinned: &Revision,
    ) -> Result<Order, Error> {
        if revision == pinned {
            return Ok(Order::Same);
        }
        let pinned = pinned.clone();
        let Some(source) = &self.source else {
            return Ok(Order::Unknown(UnknownOrder::NoSource { pinned }));
        };
        let is_older = self
            .is_ancestor(reader, revision.as_str(), pinned.as_str())
            .await?;
        Ok(match is_older {
            Some(true) => Order::Older { pinned },
            Some(false) => Order::NotOlder { pinned },
            None => Order::Unknown(UnknownOrder::NotInSource {
                pinned,
                repository: source.to_string(),
            }),
        })
    }

    /// The age of another revision relative to `revision`.
    pub(super) async fn age(
        &self,
        reader: &FleetReader,
        other: &str,
        revision: &Revision,
    ) -> Result<RevisionAge, Error> {
        let ours = revision.as_str();
        if self.is_ancestor(reader, ours, other).await? == Some(true) {
            return Ok(RevisionAge::Newer);
        }
        if self.is_ancestor(reader, other, ours).await? == Some(true) {
            return Ok(RevisionAge::Older);
        }
        Ok(RevisionAge::Unknown)
    }

    async fn is_ancestor(
        &self,
        reader: &FleetReader,
        older: &str,
        newer: &str,
    ) -> Result<Option<bool>, Error> {
        let Some(source) = &self.source else {
            return Ok(None);
        };
        // Other texts could be a branch or a tag.
        let is_commit = |name: &str| name.len() >= DIGITS_MIN && is_hex(name.as_bytes());
        if !is_commit(older) || !is_commit(newer) {
            return Ok(None);
        }
        let mut known = self.known.lock().await;
        let key = [older.to_owned(), newer.to_owned()];
        if let Some(is_ancestor) = known.get(&key) {
            return Ok(*is_ancestor);
        }
        let is_ancestor = reader.is_ancestor(source, older, newer).await?;
        known.insert(key, is_ancestor);
        Ok(is_ancestor)
    }
}
