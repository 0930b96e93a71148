//! Each line of what layers can be, as a test; real images are in `tests/it/inventory_tree.rs`.

use std::io::{Read, Write};

use super::*;
use crate::oci::Digest;

pub(crate) mod archive;

use archive::{Archive, header, seal};

mod layers;
mod merging;

/// A plain layer of these bytes.
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
        .map_err(|error| error.fault)
}

/// The tree of layers that are all well-formed, each file with its layer behind it.
pub(crate) fn tree(archives: &[Archive]) -> Tree {
    merged(archives).unwrap()
}

fn merged(archives: &[Archive]) -> Result<Tree, MergeError> {
    merge(&layers(archives), |_| {})
}

pub(crate) fn layers(archives: &[Archive]) -> Vec<LayerTree> {
    let want = ContentFilter {
        names: vec![b"passwd".to_vec(), b"group".to_vec()],
        lengths: vec![20],
    };
    let read = |archive: &Archive| {
        let bytes = archive.clone().end();
        read_layer(&*bytes, &plain(&bytes), &want, &budget()).unwrap()
    };
    archives.iter().map(read).collect()
}

/// Everything below the root: `path@layer` for files, `path/` for directories, `path -> target` for
/// symlinks.
fn shown(tree: &Tree) -> Vec<String> {
    let root = tree.find(b"").unwrap();
    let mut lines = Vec::new();
    for item in tree.below(&root, |_| true).into_iter().skip(1) {
        let path = String::from_utf8_lossy(&item.path).into_owned();
        lines.push(match &item.inode.kind {
            FileType::File(_) => format!("{path}@{}", item.inode.layer),
            FileType::Directory => format!("{path}/"),
            FileType::Symlink(target) => format!("{path} -> {}", String::from_utf8_lossy(target)),
            FileType::Other => format!("{path}!"),
        });
    }
    lines
}

fn all(archives: &[Archive]) -> Vec<String> {
    shown(&tree(archives))
}

fn a() -> Archive {
    Archive::new()
}
