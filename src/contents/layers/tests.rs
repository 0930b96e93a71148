//! Tests of archives and merges.

use std::io::{Read, Write};

use super::*;
use crate::oci::Digest;

pub(crate) mod archive;

use archive::{Archive, header, with_checksum};

mod images;
mod layers;
mod merging;
mod stored;

/// The descriptor of an uncompressed layer.
fn plain(bytes: &[u8]) -> LayerDescriptor {
    let digest = Digest::of(bytes);
    LayerDescriptor {
        digest,
        size: bytes.len() as u64,
        encoding: Encoding::Plain,
        diff_id: digest,
    }
}

fn budget() -> Budget {
    Budget::new(Budget::IMAGE)
}

fn read(bytes: &[u8]) -> Result<LayerTree, LayerErrorKind> {
    read_layer(bytes, &plain(bytes), &ContentFilter::default(), &budget())
        .map_err(|error| error.kind)
}

/// The tree of well-formed layers.
pub(crate) fn tree(archives: &[Archive]) -> Tree {
    try_merge(archives).unwrap()
}

fn try_merge(archives: &[Archive]) -> Result<Tree, MergeError> {
    merge(&layers(archives), |_| {})
}

pub(crate) fn layers(archives: &[Archive]) -> Vec<LayerTree> {
    let filter = ContentFilter {
        names: vec![b"passwd".to_vec(), b"group".to_vec()],
        lengths: vec![20],
        databases: true,
    };
    let read = |archive: &Archive| {
        let bytes = archive.clone().end();
        read_layer(&*bytes, &plain(&bytes), &filter, &budget()).unwrap()
    };
    archives.iter().map(read).collect()
}

/// Lists a tree: `path@layer` for files, `path/` for directories, `path -> target` for symlinks, `path!`
/// for other files.
fn describe(tree: &Tree) -> Vec<String> {
    let root = tree.find(b"").unwrap();
    let mut lines = Vec::new();
    for entry in tree.list(&root, |_| true).into_iter().skip(1) {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        lines.push(match &entry.inode.kind {
            FileType::File(_) => format!("{path}@{}", entry.inode.layer),
            FileType::Directory => format!("{path}/"),
            FileType::Symlink(target) => format!("{path} -> {}", String::from_utf8_lossy(target)),
            FileType::Other => format!("{path}!"),
        });
    }
    lines
}

fn merged_paths(archives: &[Archive]) -> Vec<String> {
    describe(&tree(archives))
}

fn tar() -> Archive {
    Archive::new()
}
