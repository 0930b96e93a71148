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

/// The fewest digits of an abbreviated commit (gitrevisions(7)).
const DIGITS: usize = 4;

/// The known order of builds.
pub(super) struct Orders {
    source: Option<RepositoryName>,
    /// Whether the first is an ancestor of the second. Locked during a request, so that no pair is
    /// requested twice.
    known: Mutex<HashMap<[String; 2], Option<bool>>>,
}

impl Orders {
    pub(super) fn of(rules: &Fleet) -> Self {
        Self {
            source: rules.source.as_deref().and_then(RepositoryName::parse),
            known: Mutex::default(),
        }
    }

    /// The order of `revision` and the revision that is pinned now.
    pub(super) async fn order(
        &self,
        reader: &dyn FleetReader,
        revision: &Revision,
        pinned: &Revision,
    ) -> Result<Order, Error> {
        let pinned = pinned.clone();
        if *revision == pinned {
            return Ok(Order::Same);
        }
        let Some(source) = &self.source else {
            return Ok(Order::Unknown(UnknownOrder::NoSource { pinned }));
        };
        let older = self
            .is_ancestor(reader, revision.as_str(), pinned.as_str())
            .await?;
        Ok(match older {
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
        reader: &dyn FleetReader,
        other: &str,
        revision: &Revision,
    ) -> Result<RevisionAge, Error> {
        let ours = revision.as_str();
        Ok(
            if self.is_ancestor(reader, ours, other).await? == Some(true) {
                RevisionAge::Newer
            } else if self.is_ancestor(reader, other, ours).await? == Some(true) {
                RevisionAge::Older
            } else {
                RevisionAge::Unknown
            },
        )
    }

    async fn is_ancestor(
        &self,
        reader: &dyn FleetReader,
        older: &str,
        newer: &str,
    ) -> Result<Option<bool>, Error> {
        // Other names could be a branch or a tag.
        let commit = |name: &str| name.len() >= DIGITS && is_hex(name.as_bytes());
        let Some(source) = self
            .source
            .as_ref()
            .filter(|_| commit(older) && commit(newer))
        else {
            return Ok(None);
        };
        let mut known = self.known.lock().await;
        let key = [older.to_owned(), newer.to_owned()];
        if let Some(known) = known.get(&key) {
            return Ok(*known);
        }
        let found = reader.is_ancestor(source, older, newer).await?;
        known.insert(key, found);
        Ok(found)
    }
}
