//! Layers: every archive is an error or a consistent tree, however its bytes are split.

use std::io::{self, Read};

use crate::{
    layers::{
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
    let archives: Vec<_> = rest.chunks(length).map(sealed).collect();
    let read = archives
        .iter()
        .map(|archive| layer(archive))
        .collect::<Option<Vec<_>>>();
    let Some(read) = read else { return };
    let Ok(tree) = merge(&read, |_| {}) else {
        return;
    };
    let lines = lines(&tree);
    holds_together(&tree);
    // A layer that brings nothing changes nothing.
    let nothing = layer(&[]).unwrap();
    let again = merge(read.iter().chain([&nothing]), |_| {}).unwrap();
    assert_eq!(self::lines(&again), lines);
    // What stands above decides alone once everything below is hidden.
    let opaque = layer(&sealed(&header(b".wh..wh..opq"))).unwrap();
    let hidden = merge(read.iter().chain([&opaque]), |_| {}).unwrap();
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
    // The digest of what is inside is not known, so that none is believed.
    if let Ok(tree) = read_layer(bytes, &descriptor, &ContentFilter::default(), &budget) {
        assert_eq!(tree.diff_id(), Digest::of(bytes));
    }
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

/// One byte at a time.
struct Slow<'b>(&'b [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let length = to.len().min(1);
        self.0.read(&mut to[..length])
    }
}

/// Reads a layer and checks that the result is the same however its bytes are split, stays within
/// its budget, and is verified.
fn layer(archive: &[u8]) -> Option<LayerTree> {
    let want = ContentFilter {
        names: vec![b"a".to_vec()],
        lengths: vec![3],
    };
    let read = |descriptor: &LayerDescriptor, budget: u64| {
        read_layer(archive, descriptor, &want, &Budget::new(budget))
    };
    let descriptor = plain(archive);
    let whole = read(&descriptor, Budget::IMAGE);
    let slow = read_layer(
        Slow(archive),
        &descriptor,
        &want,
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

/// Checks that no name in a tree is empty, hidden or leads upward, and that every path leads to the
/// entry that is listed under it.
fn holds_together(tree: &Tree) {
    let root = tree.find(b"").unwrap();
    for item in tree.below(&root, |_| true).into_iter().skip(1) {
        for name in item.path.split(|byte| *byte == b'/') {
            assert!(!matches!(name, b"" | b"." | b"..") && !name.starts_with(b".wh."));
        }
        if !matches!(item.inode.kind, FileType::Symlink(_)) {
            let found = tree.find(&item.path).unwrap();
            assert_eq!(found.path, item.path);
            assert!(std::ptr::eq(found.inode, item.inode));
        }
    }
}

/// All entries below the root, one line each.
fn lines(tree: &Tree) -> Vec<String> {
    let root = tree.find(b"").unwrap();
    let below = tree.below(&root, |_| true).into_iter().skip(1);
    below
        .map(|item| format!("{:?} {:?}", item.path, item.inode))
        .collect()
}

/// A header of an empty file.
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
fn sealed(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    let mut at = 0;
    while let Some(block) = archive.get_mut(at..at + BLOCK) {
        at += BLOCK;
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
            at = at.saturating_add(size.next_multiple_of(BLOCK));
        }
    }
    archive
}
