//! How much memory the manifests and configs of a set may take: what is read at once, and what is
//! kept of it.
//!
//! One document has at most 4 MiB, but an index names up to a hundred platforms, and a set has any
//! number of images. What only passes through, as when `prune` reads a package, is not counted.

use std::{
    collections::BTreeMap,
    mem::size_of,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    error::Error,
    oci::{Descriptor, Digest, ImageConfig, ImageManifest},
};

/// What may be kept of all documents, in bytes: about 2,000 platforms of the usual kind.
const LIMIT: u64 = 32 << 20;
/// How many documents of layouts are read at once; registries have a limit of their own.
const AT_ONCE: usize = 8;
/// What a small value takes besides its bytes: its entry in a map, and its place on the heap.
const VALUE: usize = 128;

/// The memory for the documents of one set, shared by the sources of its images.
#[derive(Debug, Clone)]
pub(super) struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Written by the one thread that runs all requests.
    left: AtomicU64,
    reading: Semaphore,
}

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Shared {
            left: AtomicU64::new(LIMIT),
            reading: Semaphore::new(AT_ONCE),
        }))
    }
}

impl Memory {
    /// Waits until a document may be read, and parsed while the permit is held.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // Closed by nobody; without a permit the document is read all the same.
        self.0.reading.acquire().await.ok()
    }

    /// Counts what is kept of the document `what`; an error once the documents of the set take
    /// more than the limit, and from then on.
    pub(super) fn keep(&self, bytes: usize, what: &str) -> Result<(), Error> {
        let left = self.0.left.load(Ordering::Relaxed);
        let rest = left.checked_sub(bytes as u64).filter(|rest| *rest > 0);
        self.0.left.store(rest.unwrap_or(0), Ordering::Relaxed);
        if rest.is_some() {
            return Ok(());
        }
        let limit = LIMIT >> 20;
        let reason =
            format!("the manifests and configs of the set take more than {limit} MiB of memory");
        Err(Error::unavailable(what, reason)
            .help("check what the images hold: labels and lists of layers are usually a few KiB"))
    }
}

/// The memory that the entries of an index take.
pub(super) fn of_entries(entries: &[Descriptor]) -> usize {
    entries.iter().map(of_entry).sum()
}

fn of_entry(entry: &Descriptor) -> usize {
    size_of::<Descriptor>() + entry.media_type.len() + of_map(&entry.annotations)
}

/// The memory that a manifest takes.
pub(super) fn of_manifest(manifest: &ImageManifest) -> usize {
    let others = manifest.subject.as_slice().iter().chain([&manifest.config]);
    let entries = manifest.layers.iter().chain(others);
    size_of::<ImageManifest>()
        + entries.map(of_entry).sum::<usize>()
        + of_map(&manifest.annotations)
}

/// The memory that a config takes.
pub(super) fn of_config(config: &ImageConfig) -> usize {
    let env = config.env.iter().map(|entry| entry.len() + VALUE);
    size_of::<ImageConfig>()
        + of_map(&config.labels)
        + env.sum::<usize>()
        + config.user.len()
        + config.created.as_ref().map_or(0, String::len)
        + config.diff_ids.len() * size_of::<Digest>()
}

fn of_map(map: &BTreeMap<String, String>) -> usize {
    map.iter()
        .map(|(name, value)| name.len() + value.len() + VALUE)
        .sum()
}
