//! Errors of reading and merging layers. They are no verdict about the image.

use std::io;

use crate::oci::Digest;

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
