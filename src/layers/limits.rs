//! What is kept of a layer, and how much memory that may take.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::LayerErrorKind;

/// The largest file whose content is kept.
const CONTENT_MAX: u64 = 1 << 20;

/// Which contents are kept: those of regular files up to 1 MiB that have one of the names or one of
/// the lengths.
///
/// By the length, since a file that is known elsewhere can be found again by it under any name and
/// behind any link.
#[derive(Debug, Default, Clone)]
pub struct ContentFilter {
    /// Base names.
    pub names: Vec<Vec<u8>>,
    /// Lengths in bytes.
    pub lengths: Vec<u64>,
}

impl ContentFilter {
    /// What either of the two names.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.names.extend(other.names);
        self.lengths.extend(other.lengths);
        self
    }

    pub(super) fn wants(&self, name: &[u8], size: u64) -> bool {
        size <= CONTENT_MAX
            && (self.lengths.contains(&size) || self.names.iter().any(|wanted| wanted == name))
    }
}

/// What the lists of an image's layers, and the tree made of them, may take in memory; shared by
/// those who read them.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
    limit: u64,
}

impl Budget {
    /// For one image: enough for about 350,000 files.
    pub const IMAGE: u64 = 80 << 20;

    /// A budget of so many bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            left: AtomicU64::new(limit),
            limit,
        }
    }

    /// Takes so many bytes of memory, if that many are left.
    pub fn charge(&self, bytes: usize) -> Result<(), LayerErrorKind> {
        let bytes = bytes as u64;
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        taken
            .map(drop)
            .map_err(|_| LayerErrorKind::Entries { limit: self.limit })
    }
}
