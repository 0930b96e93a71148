//! The selection of file contents, and the memory limit of an image's files.
//!
//! Errors of reading and merging layers. They are no verdict about the image.
//!
//! Paths in archives: components separated by slashes, relative to the root of the image.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::oci::Digest;

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

/// A failure to read a layer.
#[derive(Debug, thiserror::Error)]
#[error("layer {digest}: {kind}")]
pub(crate) struct LayerError {
    /// The digest of the layer's descriptor.
    pub digest: Digest,
    /// The cause.
    #[source]
    pub kind: LayerErrorKind,
}

/// The cause of a [`LayerError`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerErrorKind {
    /// The media type is not a layer type, or its compression is not supported.
    #[error(
        "its media type `{0}` is not a supported layer type (tar, plain or compressed by gzip or zstd)"
    )]
    MediaType(String),
    /// The source failed.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The blob is shorter than its descriptor states.
    #[error("it ends after {actual} bytes, but its descriptor states {expected}")]
    Truncated {
        /// The size in the descriptor.
        expected: u64,
        /// The actual size.
        actual: u64,
    },
    /// The blob is longer than its descriptor states.
    #[error("it has more bytes than the {expected} in its descriptor")]
    TooLong {
        /// The size in the descriptor.
        expected: u64,
    },
    /// The stored bytes do not match the digest of the descriptor.
    #[error("its bytes hash to {actual}")]
    Digest { actual: Digest },
    /// The uncompressed bytes do not match the image's config.
    #[error("uncompressed it hashes to {actual}, but the image's config states {expected}")]
    DiffId {
        /// The digest in `diff_ids`.
        expected: Digest,
        actual: Digest,
    },
    /// The compressed bytes are malformed.
    #[error("it cannot be decompressed as {encoding}: {error}")]
    Decompress {
        /// The compression of the media type.
        encoding: &'static str,
        /// The decoder's error.
        #[source]
        error: io::Error,
    },
    /// The archive is malformed or ambiguous.
    #[error("its archive is malformed at byte {offset}: {reason}")]
    Archive {
        /// The offset of the header in the uncompressed bytes.
        offset: u64,
        /// The defect.
        reason: String,
    },
    /// The uncompressed layer exceeds the limit for its compressed size.
    #[error(
        "it inflates to more than {limit} bytes, which is the limit for a layer of its compressed size"
    )]
    Inflates {
        /// The limit in bytes.
        limit: u64,
    },
    /// The list of files exceeds the memory limit.
    #[error("the list of the image's files exceeds {limit} bytes")]
    Entries {
        /// The limit in bytes.
        limit: u64,
    },
}

/// A failure to merge layers.
#[derive(Debug, thiserror::Error)]
#[error("layer {layer} of the image: `{path}` {kind}")]
pub(crate) struct MergeError {
    /// The number of the layer, counted from 1 for the lowest.
    pub layer: usize,
    /// The path of the entry, lossily converted to UTF-8.
    pub path: String,
    /// The cause.
    #[source]
    pub kind: MergeErrorKind,
}

/// The cause of a [`MergeError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MergeErrorKind {
    /// A hard link has a missing target.
    #[error("is a hard link to `{0}`, which is missing")]
    LinkTarget(String),
    /// A hard link has a directory as its target.
    #[error("is a hard link to the directory `{0}`")]
    LinkToDirectory(String),
    /// A parent is a file, or a symlink to a file.
    #[error("lies in `{0}`, which is not a directory")]
    NotADirectory(String),
    /// Symlinks form a loop.
    #[error("lies behind more than 255 symbolic links")]
    Loop,
    /// An entry would replace the root with a non-directory.
    #[error("would replace the root of the image with a non-directory")]
    Root,
}

/// The maximum length of a path, in bytes (Linux's `PATH_MAX`).
pub(super) const MAX_LENGTH: usize = 4096;

/// Splits a path into its components, without `.` and empty ones, and resolves `..` lexically, as
/// the engines do for the path of an entry. Returns `None` if the path is not inside the root. A
/// symlink target is different: its `..` is resolved in the tree.
pub(super) fn normalize(path: &[u8]) -> Option<Vec<&[u8]>> {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    Some(names)
}

/// The path in messages.
pub(super) fn display(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// The path of `name` in `directory`; the empty path is the root.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || name.is_empty() {
        [directory, name].concat()
    } else {
        [directory, b"/", name].concat()
    }
}
