//! Plans: the new contents of files, in memory, counted again before anyone may apply them.

use crate::{config::RelPath, image::Digest};

/// One file that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The file under the root.
    pub path: RelPath,
    /// How many of its pins change.
    pub pins: usize,
    /// The content that the plan was made from.
    pub old: Vec<u8>,
    /// The content that it gets.
    pub new: Vec<u8>,
    /// The SHA-256 of `old`.
    pub old_sha256: Digest,
    /// The SHA-256 of `new`.
    pub new_sha256: Digest,
}
