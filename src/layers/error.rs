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
    pub fault: LayerFault,
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerFault {
    /// Not a layer's media type, or one in a form that can't be read.
    #[error(
        "its media type `{0}` is not one of a layer that can be read (tar, plain or compressed by gzip or zstd)"
    )]
    MediaType(String),
    /// The source failed.
    #[error("it can't be read: {0}")]
    Read(#[source] io::Error),
    /// Fewer bytes than the descriptor says.
    #[error("it ends after {got} bytes, its descriptor says {announced}")]
    Truncated {
        /// By the descriptor.
        announced: u64,
        /// By the source.
        got: u64,
    },
    /// More bytes than the descriptor says.
    #[error("it has more bytes than the {announced} that its descriptor says")]
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
    #[error("uncompressed it hashes to {got}, the image's config says {announced}")]
    DiffId {
        /// By the config's `diff_ids`.
        announced: Digest,
        /// What was computed.
        got: Digest,
    },
    /// The compressed form is broken.
    #[error("it can't be uncompressed as {encoding}: {error}")]
    Decompress {
        /// The form that the media type says.
        encoding: &'static str,
        /// What the decoder said.
        #[source]
        error: io::Error,
    },
    /// The archive is broken, or can be read in more than one way.
    #[error("its archive is malformed at byte {at}: {why}")]
    Archive {
        /// Offset of the header in the uncompressed bytes.
        at: u64,
        /// What is wrong there.
        why: String,
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
    #[error("the image has more files than fit in the {limit} bytes that their list may take")]
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
    pub fault: MergeFault,
}

/// What is wrong with an entry at its place in the stack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeFault {
    /// A hard link to what is not there.
    #[error("is a hard link to `{0}`, which is not there")]
    LinkTarget(String),
    /// A hard link to a folder.
    #[error("is a hard link to the folder `{0}`")]
    LinkToFolder(String),
    /// Something on the way is neither a folder nor a link to one.
    #[error("lies in `{0}`, which is not a folder")]
    NotAFolder(String),
    /// Symlinks in a circle.
    #[error("lies behind more than 255 symbolic links")]
    Loop,
    /// The root is something else than a folder.
    #[error("would make the root of the image something else than a folder")]
    Root,
}
