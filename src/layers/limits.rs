//! The selection of file contents, and the memory limit of an image's files.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::LayerErrorKind;

/// The maximum size of a stored content.
const MAX_CONTENT: u64 = 1 << 20;

/// Selects the contents to store: those of regular files up to 1 MiB with one of the base names or
/// one of the lengths.
///
/// A known file can be found by its length at any path and through any link.
#[derive(Debug, Default, Clone)]
pub(crate) struct ContentFilter {
    /// Base names.
    pub names: Vec<Vec<u8>>,
    /// Lengths in bytes.
    pub lengths: Vec<u64>,
}

impl ContentFilter {
    /// A filter that selects the contents of both filters.
    #[must_use]
    pub(crate) fn or(mut self, other: Self) -> Self {
        self.names.extend(other.names);
        self.lengths.extend(other.lengths);
        self
    }

    pub(super) fn selects(&self, name: &[u8], size: u64) -> bool {
        size <= MAX_CONTENT
            && (self.lengths.contains(&size) || self.names.iter().any(|selected| selected == name))
    }
}

/// The memory that the entries of an image's layers and the merged tree may use, shared by concurrent
/// readers.
#[derive(Debug)]
pub(crate) struct Budget {
    remaining: AtomicU64,
    limit: u64,
}

impl Budget {
    /// The limit for one image, sufficient for about 350,000 files.
    pub(crate) const IMAGE: u64 = 80 << 20;

    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            remaining: AtomicU64::new(limit),
            limit,
        }
    }

    /// Deducts `bytes`, or fails if fewer remain.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), LayerErrorKind> {
        let deduct = |remaining: u64| remaining.checked_sub(bytes as u64);
        match self
            .remaining
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, deduct)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(LayerErrorKind::Entries { limit: self.limit }),
        }
    }
}
