//! Why a layer, or a stack of layers, gives no tree: never a verdict about the image.

use std::io;

use crate::oci::Digest;

/// A layer that gives no list of files.
#[derive(Debug, thiserror::Error)]
#[error("layer {digest}: {fault}")]
pub struct LayerError {
    /// The layer, by its descriptor.
    pub digest: Digest,
    /// What is wrong with it.
    #[source]
    pub fault: LayerErrorKind,
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerErrorKind {
    /// Not a layer's media type, or one in a form that cannot be read.
    #[error(
        "its media type `{0}` is not a supported layer type (tar, plain or compressed by gzip or zstd)"
    )]
    MediaType(String),
    /// The source failed.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// Fewer bytes than the descriptor says.
    #[error("it ends after {got} bytes, but its descriptor states {announced}")]
    Truncated {
        /// By the descriptor.
        announced: u64,
        /// By the source.
        got: u64,
    },
    /// More bytes than the descriptor says.
    #[error("it has more bytes than the {announced} in its descriptor")]
    TooLong {
        /// By the descriptor.
        announced: u64,
    },
    /// The compressed bytes are not those of the descriptor.
    #[error("its bytes hash to {got}")]
    Digest {
        /// What was computed.
        got: Digest,
    },
    /// The uncompressed bytes are not those of the config.
    #[error("uncompressed it hashes to {got}, but the image's config states {announced}")]
    DiffId {
        /// By the config's `diff_ids`.
        announced: Digest,
        /// What was computed.
        got: Digest,
    },
    /// The compressed form is broken.
    #[error("it cannot be decompressed as {encoding}: {error}")]
    Decompress {
        /// The form that the media type says.
        encoding: &'static str,
        /// The decoder's error.
        #[source]
        error: io::Error,
    },
    /// The archive is broken, or can be read in more than one way.
    #[error("its archive is malformed at byte {at}: {reason}")]
    Archive {
        /// Offset of the header in the uncompressed bytes.
        at: u64,
        /// What is wrong there.
        reason: String,
    },
    /// It inflates to more than any layer of its size should.
    #[error(
        "it inflates to more than {limit} bytes, which is the limit for a layer of its compressed size"
    )]
    Inflates {
        /// The limit that it broke.
        limit: u64,
    },
    /// Its list of files would not fit in memory.
    #[error("the list of the image's files exceeds {limit} bytes")]
    Entries {
        /// The limit that it broke.
        limit: u64,
    },
}

/// A stack of layers that gives no tree.
#[derive(Debug, thiserror::Error)]
#[error("layer {layer} of the image: `{path}` {fault}")]
pub struct MergeError {
    /// Which layer, counted from 1, the lowest first.
    pub layer: usize,
    /// The entry's path, as far as it is UTF-8.
    pub path: String,
    /// What is wrong with it.
    #[source]
    pub fault: MergeErrorKind,
}

/// What is wrong with an entry at its place in the stack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeErrorKind {
    /// A hard link to a missing target.
    #[error("is a hard link to `{0}`, which is missing")]
    LinkTarget(String),
    /// A hard link to a directory.
    #[error("is a hard link to the directory `{0}`")]
    LinkToDirectory(String),
    /// Something on the way is neither a directory nor a link to one.
    #[error("lies in `{0}`, which is not a directory")]
    NotADirectory(String),
    /// Symlinks in a circle.
    #[error("lies behind more than 255 symbolic links")]
    Loop,
    /// The root is not a directory.
    #[error("would replace the root of the image with a non-directory")]
    Root,
}
