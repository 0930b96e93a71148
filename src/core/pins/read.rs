//! The two ways to read a file: whole, if pins are searched for, and in blocks, if only digests are.

use std::{
    io::{self, Read},
    ops::Range,
};

use super::lines::Lines;

/// The maximum size of a file in which pins are searched for, in bytes. The limit bounds the memory of
/// a search that always has the whole file.
pub(crate) const MAX_PINNED_FILE: usize = 16 * 1024 * 1024;
/// The size of a block, in bytes.
pub(super) const BLOCK: usize = 128 * 1024;

/// A file that was loaded, unless it is too large.
pub(crate) enum WholeFile<'b, R> {
    Complete(&'b [u8]),
    /// A reader of the file from its start.
    TooLarge(io::Chain<&'b [u8], R>),
}

/// Loads a whole file of at most 16 MiB into `buffer`.
pub(crate) fn read_whole<R: Read>(
    mut reader: R,
    buffer: &mut Vec<u8>,
) -> io::Result<WholeFile<'_, R>> {
    buffer.clear();
    let limit = MAX_PINNED_FILE as u64 + 1;
    reader.by_ref().take(limit).read_to_end(buffer)?;
    if buffer.len() > MAX_PINNED_FILE {
        return Ok(WholeFile::TooLarge(buffer.chain(reader)));
    }
    Ok(WholeFile::Complete(buffer))
}

/// Loads a file of any size in overlapping blocks. `visit` receives each block, and the range of
/// the block without the bytes of earlier blocks: at least `overlap` bytes surround this range,
/// unless the file starts or ends there. Returns whether `buffer` still contains the whole file.
pub(super) fn each_block(
    mut reader: impl Read,
    buffer: &mut Vec<u8>,
    overlap: usize,
    mut visit: impl FnMut(&[u8], Range<usize>, &mut Lines),
) -> io::Result<bool> {
    buffer.clear();
    let mut read = reader.by_ref().take(BLOCK as u64).read_to_end(buffer)?;
    let mut lines = Lines::new(buffer);
    let mut covered = 0;
    loop {
        // Fewer bytes than requested: the end of the file.
        if read < BLOCK {
            visit(buffer, covered..buffer.len(), &mut lines);
            return Ok(covered == 0);
        }
        let end = buffer.len().saturating_sub(overlap).max(covered);
        visit(buffer, covered..end, &mut lines);
        let done = end.saturating_sub(overlap);
        lines.advance(&buffer[..done]);
        buffer.drain(..done);
        covered = end - done;
        read = reader.by_ref().take(BLOCK as u64).read_to_end(buffer)?;
    }
}
