//! The memory limit for the manifests and configs of a set.
//!
//! Each document has at most 4 MiB, but an index may list a hundred platforms, and a set may have
//! any number of images. `prune` drops each document after use and counts none.

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
    base::error::Error,
    oci::{Descriptor, Digest, ImageConfig, ImageManifest, Platform, RuntimeConfig},
};

/// The limit in bytes: enough for about 2,000 usual platforms.
const LIMIT: u64 = 32 << 20;
/// The maximum number of concurrent reads from layouts; the HTTP client limits registries.
const CONCURRENCY: usize = 8;
/// The overhead of a small value: its node in a map, and its heap allocation.
const OVERHEAD: usize = 128;

/// The memory limit of one set, shared by the sources of its images.
#[derive(Debug, Clone)]
pub(super) struct MemoryLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The remaining bytes; only the thread of the requests changes them.
    remaining: AtomicU64,
    reads: Semaphore,
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self(Arc::new(Shared {
            remaining: AtomicU64::new(LIMIT),
            reads: Semaphore::new(CONCURRENCY),
        }))
    }
}

impl MemoryLimit {
    /// The permit to load and parse a document.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.0.reads.acquire().await.ok()
    }

    /// Counts the memory of a document. Once the documents of the set exceed the limit, every call
    /// is an error.
    pub(super) fn add(&self, bytes: usize, name: &str) -> Result<(), Error> {
        let remaining = self
            .0
            .remaining
            .load(Ordering::Relaxed)
            .saturating_sub(bytes as u64);
        self.0.remaining.store(remaining, Ordering::Relaxed);
        if remaining > 0 {
            return Ok(());
        }
        let limit = LIMIT >> 20;
        let reason =
            format!("the manifests and configs of the set take more than {limit} MiB of memory");
        Err(Error::unavailable(name, reason)
            .help("check the images: labels and lists of layers usually take a few KiB"))
    }
}

/// The memory of an index's entries.
pub(super) fn entries_size(entries: &[Descriptor]) -> usize {
    entries.iter().map(descriptor_size).sum()
}

fn descriptor_size(descriptor: &Descriptor) -> usize {
    let platform = descriptor.platform.as_ref();
    size_of::<Descriptor>()
        + descriptor.media_type.len()
        + descriptor.artifact_type.as_ref().map_or(0, String::len)
        + platform.map_or(0, platform_text)
        + map_size(&descriptor.annotations)
}

pub(super) fn manifest_size(manifest: &ImageManifest) -> usize {
    size_of::<ImageManifest>()
        + descriptor_size(&manifest.config)
        + manifest.subject.as_ref().map_or(0, descriptor_size)
        + manifest.artifact_type.as_ref().map_or(0, String::len)
        + entries_size(&manifest.layers)
        + map_size(&manifest.annotations)
}

pub(super) fn config_size(config: &ImageConfig) -> usize {
    let variables = config.env.iter().map(|entry| entry.len() + OVERHEAD);
    size_of::<ImageConfig>()
        + map_size(&config.labels)
        + variables.sum::<usize>()
        + config
            .runtime
            .as_ref()
            .map_or_else(String::len, runtime_size)
        + config.user.len()
        + config.created.as_ref().map_or(0, String::len)
        + platform_text(&config.platform)
        + config.diff_ids.len() * size_of::<Digest>()
}

fn runtime_size(runtime: &RuntimeConfig) -> usize {
    let texts = (runtime.entrypoint.iter().chain(&runtime.command))
        .chain(&runtime.exposed_ports)
        .chain(&runtime.volumes);
    let health_check = runtime.health_check.words();
    let texts = texts.chain(&health_check);
    texts.map(|text| text.len() + OVERHEAD).sum::<usize>()
        + runtime.working_dir.len()
        + runtime.stop_signal.len()
}

fn platform_text(platform: &Platform) -> usize {
    let optional = [&platform.variant, &platform.os_version];
    let optional = optional.into_iter().flatten().map(String::len);
    platform.os.len() + platform.architecture.len() + optional.sum::<usize>()
}

fn map_size(map: &BTreeMap<String, String>) -> usize {
    map.iter()
        .map(|(name, value)| name.len() + value.len() + OVERHEAD)
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_of_a_descriptor_counts() {
        let text = "x".repeat(1000);
        let base = json!({"mediaType": "m", "digest": Digest::of(b"").to_string(), "size": 0});
        let size_with = |name: &str, value| {
            let mut descriptor = base.clone();
            descriptor[name] = value;
            descriptor_size(&serde_json::from_value(descriptor).unwrap())
        };
        let without = size_with("size", json!(0));
        for (name, value) in [
            ("mediaType", json!(text)),
            ("artifactType", json!(text)),
            ("annotations", json!({"a": text})),
            ("platform", json!({"os": text, "architecture": ""})),
            ("platform", json!({"os": "", "architecture": text})),
            (
                "platform",
                json!({"os": "", "architecture": "", "variant": text}),
            ),
            (
                "platform",
                json!({"os": "", "architecture": "", "os.version": text}),
            ),
        ] {
            let size = size_with(name, value);
            assert!(size >= without + 999, "{name}: {size}, {without} without");
        }
    }
}
