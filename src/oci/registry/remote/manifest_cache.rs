//! The manifests that a run requested by digest: present ones with their bytes, and missing ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::oci::{Digest, RawManifest};

/// The limit of the kept bytes. Further manifests are requested again.
const LIMIT: usize = 16 << 20;

/// A manifest, or `None` if it is missing. Concurrent readers wait for one request.
pub(super) type Slot = Arc<OnceCell<Option<RawManifest>>>;

/// The repository and the digest of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) repository: String,
    pub(super) digest: Digest,
}

/// The manifests of a run.
#[derive(Debug, Default)]
pub(super) struct ManifestCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    slots: HashMap<Key, Slot>,
    bytes: usize,
}

impl ManifestCache {
    pub(super) fn slot(&self, key: &Key) -> Slot {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.slots.entry(key.clone()).or_default())
    }

    /// Counts the bytes of a manifest after its request. Wrong bytes are not kept.
    pub(super) fn keep(&self, key: &Key, manifest: Option<&RawManifest>) {
        let Some(manifest) = manifest else {
            return;
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = kept.bytes + manifest.bytes.len();
        if bytes > LIMIT || Digest::of(&manifest.bytes) != key.digest {
            kept.slots.remove(key);
        } else {
            kept.bytes = bytes;
        }
    }
}
