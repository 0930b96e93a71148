//! Properties of layers: every archive is an error or a consistent tree, however its bytes are split.

use std::io::{self, Read};

use crate::{
    contents::layers::{
        Budget, ContentFilter, Encoding, FileType, LayerDescriptor, LayerTree, Tree, merge,
        read_layer,
    },
    oci::Digest,
};

const BLOCK: usize = 512;

/// Archives and whiteouts: the first byte determines the number of layers in the rest and their
/// compression.
pub fn layers(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else {
        return;
    };
    compressed(mode, rest);
    let count = usize::from(mode % 3) + 1;
    let blocks = rest.len().div_ceil(BLOCK);
    let length = blocks.div_ceil(count).max(1) * BLOCK;
    let archives: Vec<_> = rest.chunks(length).map(with_checksums).collect();
    let trees = archives
        .iter()
        .map(|archive| layer(archive))
        .collect::<Option<Vec<_>>>();
    let Some(trees) = trees else { return };
    let Ok(tree) = merge(&trees, |_| {}) else {
        return;
    };
    let lines = lines(&tree);
    check_tree(&tree);
    // An empty layer changes nothing.
    let empty = layer(&[]).unwrap();
    let unchanged = merge(trees.iter().chain([&empty]), |_| {}).unwrap();
    assert_eq!(self::lines(&unchanged), lines);
    // An opaque whiteout of the root hides every lower entry.
    let opaque = layer(&with_checksums(&header(b".wh..wh..opq"))).unwrap();
    let hidden = merge(trees.iter().chain([&opaque]), |_| {}).unwrap();
    assert_eq!(self::lines(&hidden), [] as [String; 0]);
}

/// Any bytes as a compressed layer.
fn compressed(mode: u8, bytes: &[u8]) {
    let encoding = if mode < 128 {
        Encoding::Gzip
    } else {
        Encoding::Zstd
    };
    let descriptor = LayerDescriptor {
        encoding,
        ..plain(bytes)
    };
    let budget = Budget::new(Budget::IMAGE);
    // Compressed bytes whose content has the same digest do not exist, so this only must not panic.
    let _ = read_layer(bytes, &descriptor, &ContentFilter::default(), &budget);
}

fn plain(bytes: &[u8]) -> LayerDescriptor {
    let digest = Digest::of(bytes);
    LayerDescriptor {
        digest,
        size: bytes.len() as u64,
        encoding: Encoding::Plain,
        diff_id: digest,
    }
}

/// Returns one byte per read.
struct Slow<'b>(&'b [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

/// Reads a layer and checks that the result is the same however its bytes are split, stays within
/// its budget, and is verified.
fn layer(archive: &[u8]) -> Option<LayerTree> {
    let filter = ContentFilter {
        names: vec![b"a".to_vec()],
        lengths: vec![3],
        databases: true,
    };
    let read = |descriptor: &LayerDescriptor, budget: u64| {
        read_layer(archive, descriptor, &filter, &Budget::new(budget))
    };
    let descriptor = plain(archive);
    let whole = read(&descriptor, Budget::IMAGE);
    let slow = read_layer(
        Slow(archive),
        &descriptor,
        &filter,
        &Budget::new(Budget::IMAGE),
    );
    let tree = match (whole, slow) {
        (Ok(whole), Ok(slow)) => {
            let merged = |layer| merge([layer], |_| {}).map(|tree| lines(&tree));
            assert_eq!(whole.cost(), slow.cost());
            assert_eq!(
                format!("{:?}", merged(&whole)),
                format!("{:?}", merged(&slow))
            );
            whole
        }
        (whole, slow) => {
            assert_eq!(format!("{:?}", whole.err()), format!("{:?}", slow.err()));
            return None;
        }
    };
    assert!(tree.len() <= archive.len() / BLOCK);
    let cost = tree.cost() as u64;
    assert!(read(&descriptor, cost).is_ok());
    assert!(cost == 0 || read(&descriptor, cost - 1).is_err());
    let other = Digest::of(b"other");
    for wrong in [
        LayerDescriptor {
            digest: other,
            ..descriptor.clone()
        },
        LayerDescriptor {
            diff_id: other,
            ..descriptor.clone()
        },
        LayerDescriptor {
            size: descriptor.size + 1,
            ..descriptor.clone()
        },
    ] {
        assert!(read(&wrong, Budget::IMAGE).is_err(), "{wrong:?}");
    }
    Some(tree)
}

/// Checks that no name in a tree is empty, `..` or a whiteout, and that every listed path resolves to
/// its entry.
fn check_tree(tree: &Tree) {
    let root = tree.find(b"").unwrap();
    for entry in tree.list(&root, |_| true).into_iter().skip(1) {
        for name in entry.path.split(|byte| *byte == b'/') {
            assert!(!matches!(name, b"" | b"." | b"..") && !name.starts_with(b".wh."));
        }
        if !matches!(entry.inode.kind, FileType::Symlink(_)) {
            let found = tree.find(&entry.path).unwrap();
            assert_eq!(found.path, entry.path);
            assert!(std::ptr::eq(found.inode, entry.inode));
        }
    }
}

/// All entries below the root, one line each.
fn lines(tree: &Tree) -> Vec<String> {
    let root = tree.find(b"").unwrap();
    let entries = tree.list(&root, |_| true).into_iter().skip(1);
    entries
        .map(|entry| format!("{:?} {:?}", entry.path, entry.inode))
        .collect()
}

/// The header of an empty file.
fn header(name: &[u8]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(b"00000000000");
    block[156] = b'0';
    block
}

/// The archive with corrected checksums in its headers, so that a changed byte is not rejected at
/// once.
fn with_checksums(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    let mut offset = 0;
    while let Some(block) = archive.get_mut(offset..offset + BLOCK) {
        offset += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let size = block[124..136]
            .iter()
            .take_while(|byte| (b'0'..b'8').contains(byte));
        let size = size.fold(0, |size, digit| size * 8 + usize::from(digit - b'0'));
        if matches!(block[156], b'0' | 0 | b'7' | b'x' | b'g' | b'L' | b'K') {
            offset = offset.saturating_add(size.next_multiple_of(BLOCK));
        }
    }
    archive
}
