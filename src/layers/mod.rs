//! What files an image holds: layers as byte streams, merged into one tree of paths.
//!
//! A layer is read alone ([`read_layer`], in any order, concurrently, once for all images that
//! share it) and gives a list of entries; [`merge`] then stacks the lists from the lowest up, as
//! the OCI image specification's chapter "Image Layer Filesystem Changeset" says. Bytes are
//! verified while they stream and never written anywhere; contents are dropped, but for those that
//! a [`ContentFilter`] names. Nothing here knows what a configuration asks of the files.

mod archive;
mod error;
mod header;
mod layer;
mod limits;
mod merge;
mod nodes;
mod path;
mod pax;
mod read;
mod stream;
mod sum;

pub use error::{LayerError, LayerErrorKind, MergeError, MergeErrorKind};
pub use layer::LayerTree;
pub use limits::{Budget, ContentFilter};
pub use merge::{PlacedFile, merge};
pub use nodes::{Duplicate, FileType, Inode, Item, PathEntry, Tree};
pub use read::{Encoding, LayerDescriptor, read_layer};

#[cfg(test)]
pub(crate) mod tests;
