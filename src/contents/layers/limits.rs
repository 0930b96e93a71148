//! The selection of file contents, and the memory limit of an image's files.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::LayerErrorKind;

/// The maximum size of a stored content.
const MAX_CONTENT: u64 = 1 << 20;

/// The maximum size of a package database.
const MAX_DATABASE: u64 = 128 << 20;

/// The memory for the package databases of one image, in all of its layers.
pub(crate) const IMAGE_DATABASES: u64 = 256 << 20;

/// Selects the contents to store: those of regular files up to 1 MiB with one of the base names or
/// one of the lengths, and those of package databases.
///
/// A known file can be found by its length at any path and through any link.
#[derive(Debug, Default, Clone)]
pub(crate) struct ContentFilter {
    /// Base names.
    pub names: Vec<Vec<u8>>,
    /// Lengths in bytes.
    pub lengths: Vec<u64>,
    /// Whether the package databases are selected.
    pub databases: bool,
}

/// The reason to store a content, which determines the budget that it is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    Content,
    Database,
}

impl ContentFilter {
    /// A filter that selects the contents of both filters.
    #[must_use]
    pub(crate) fn or(mut self, other: Self) -> Self {
        self.names.extend(other.names);
        self.lengths.extend(other.lengths);
        self.databases |= other.databases;
        self
    }

    /// Whether this filter selects every content that `other` selects.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.names.iter().all(|name| self.names.contains(name))
            && other
                .lengths
                .iter()
                .all(|length| self.lengths.contains(length))
            && (self.databases || !other.databases)
    }

    pub(super) fn selects(&self, directory: &[u8], name: &[u8], size: u64) -> Option<Selection> {
        if size <= MAX_CONTENT
            && (self.lengths.contains(&size) || self.names.iter().any(|selected| selected == name))
        {
            return Some(Selection::Content);
        }
        (self.databases && size <= MAX_DATABASE && is_database(directory, name, size))
            .then_some(Selection::Database)
    }
}

/// Whether a path in a layer may be the path of a package database. Only the last directories are
/// compared, because the directories above them may be symlinks of a lower layer.
fn is_database(directory: &[u8], name: &[u8], size: u64) -> bool {
    let is_in = |end: &[u8]| {
        directory
            .strip_suffix(end)
            .is_some_and(|start| start.is_empty() || start.ends_with(b"/"))
    };
    match name {
        b"status" => is_in(b"dpkg"),
        b"installed" => is_in(b"db"),
        b"rpmdb.sqlite" => is_in(b"rpm"),
        // An empty log is stored, so that it can be distinguished from one with changes.
        b"rpmdb.sqlite-wal" | b"rpmdb.sqlite-journal" => size == 0 && is_in(b"rpm"),
        name => is_in(b"status.d") && !name.ends_with(b".md5sums"),
    }
}

/// The memory that the entries of an image's layers and the merged tree may use, shared by concurrent
/// readers.
#[derive(Debug)]
pub(crate) struct Budget {
    remaining: AtomicU64,
    limit: u64,
    databases: AtomicU64,
}

impl Budget {
    /// The limit for one image, sufficient for about 350,000 files.
    pub(crate) const IMAGE: u64 = 80 << 20;

    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            remaining: AtomicU64::new(limit),
            limit,
            databases: AtomicU64::new(IMAGE_DATABASES),
        }
    }

    /// Deducts the size of a package database; returns false if less remains. A list of packages is
    /// not required, so this is no error.
    pub(crate) fn charge_database(&self, bytes: u64) -> bool {
        let deduct = |remaining: u64| remaining.checked_sub(bytes);
        self.databases
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, deduct)
            .is_ok()
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
