//! The files of an image: layers as byte streams, merged into one tree of paths.
//!
//! [`read_layer`] reads one layer into a list of entries. Layers may be read in any order and
//! concurrently, and once for all images that share a layer. [`merge()`] applies the lists from the
//! lowest layer up, as the OCI image specification describes in "Image Layer Filesystem Changeset".
//! Bytes are verified while they stream and are never written to disk. File contents are dropped
//! unless a [`ContentFilter`] selects them. The module knows no configuration.

mod archive;
mod layer;
mod limits;
mod merge;
mod pax;
mod read;
mod stream;
mod tree;

pub(crate) use layer::LayerTree;
pub(crate) use limits::{
    Budget, ContentFilter, IMAGE_DATABASES, LayerError, LayerErrorKind, MergeError,
};
pub(crate) use merge::merge;
pub(crate) use read::{Encoding, LayerDescriptor, read_layer};
pub(crate) use tree::{Duplicate, FileType, Inode, ResolvedPath, Tree};

#[cfg(test)]
pub(crate) mod tests;
