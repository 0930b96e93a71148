//! Lines and columns of offsets in a file.
//!
//! The two ways to read a file: whole, if pins are searched for, and in blocks, if only digests are.

use std::{
    io::{self, Read},
    ops::Range,
};

/// The encodings with different line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// ASCII characters are single bytes.
    Bytes,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// Detects the encoding by a byte order mark, or by the zero next to the first ASCII character.
    fn detect(start: &[u8]) -> Self {
        match start {
            [0xff, 0xfe, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] => Self::Utf16Be,
            [first, 0, ..] if first.is_ascii() && *first != 0 => Self::Utf16Le,
            [0, second, ..] if second.is_ascii() && *second != 0 => Self::Utf16Be,
            _ => Self::Bytes,
        }
    }
}

/// Counts the lines of a file up to offsets that never decrease.
#[derive(Debug)]
pub(super) struct Lines {
    /// The offset in the file of the bytes that the callers pass.
    base: usize,
    bytes: Counter,
    /// Counts the lines of UTF-16 text if the file may be such text.
    utf16: Option<Counter>,
}

impl Lines {
    /// The lines of a file that starts with these bytes.
    pub(super) fn new(start: &[u8]) -> Self {
        let utf16 = match Encoding::detect(start) {
            Encoding::Bytes => None,
            encoding => Some(Counter::new(encoding)),
        };
        Self {
            base: 0,
            bytes: Counter::new(Encoding::Bytes),
            utf16,
        }
    }

    /// Continues after these bytes.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        self.bytes.count(bytes, self.base);
        if let Some(utf16) = &mut self.utf16 {
            utf16.count(bytes, self.base);
        }
        self.base += bytes.len();
    }

    /// The offset in the file of the byte at `at`.
    pub(super) fn offset(&self, at: usize) -> usize {
        self.base + at
    }

    /// The line and column of the byte at `at`, both starting at 1; columns are bytes.
    pub(super) fn place(&mut self, bytes: &[u8], at: usize) -> (usize, usize) {
        self.bytes.place(bytes, at, self.base)
    }

    /// The line of the byte at `at`, starting at 1, in the encoding of the file.
    pub(super) fn line(&mut self, bytes: &[u8], at: usize) -> usize {
        self.place_utf16(bytes, at).0
    }

    /// The line and column of a UTF-16 character at `at`.
    pub(super) fn place_utf16(&mut self, bytes: &[u8], at: usize) -> (usize, usize) {
        let counter = self.utf16.as_mut().unwrap_or(&mut self.bytes);
        counter.place(bytes, at, self.base)
    }
}

#[derive(Debug)]
struct Counter {
    encoding: Encoding,
    /// The newlines before `counted`.
    newlines: usize,
    /// The offset in the file of the first byte of the current line.
    line_start: usize,
    /// The offset in the file up to which newlines were counted.
    counted: usize,
}

impl Counter {
    fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            newlines: 0,
            line_start: 0,
            counted: 0,
        }
    }

    fn count(&mut self, bytes: &[u8], base: usize) {
        let Some(uncounted) = bytes.get(self.counted - base..) else {
            return;
        };
        let first = self.counted;
        let newlines = memchr::memchr_iter(b'\n', uncounted);
        let is_even = |at: &usize| (first + at).is_multiple_of(2);
        let (count, next_line) = match self.encoding {
            Encoding::Bytes => breaks(newlines, 1),
            Encoding::Utf16Le => breaks(newlines.filter(is_even), 2),
            Encoding::Utf16Be => breaks(newlines.filter(|at| !is_even(at)), 1),
        };
        self.newlines += count;
        if let Some(next_line) = next_line {
            self.line_start = first + next_line;
        }
        self.counted = base + bytes.len();
    }

    fn place(&mut self, bytes: &[u8], at: usize, base: usize) -> (usize, usize) {
        self.count(&bytes[..at], base);
        let column = (base + at).saturating_sub(self.line_start) + 1;
        (self.newlines + 1, column)
    }
}

/// The number of line breaks, and the offset of the next line, `width` bytes after the last break.
fn breaks(
    offsets: impl DoubleEndedIterator<Item = usize> + Clone,
    width: usize,
) -> (usize, Option<usize>) {
    let last = offsets.clone().next_back();
    // `memchr` counts single bytes without visiting each newline.
    (offsets.count(), last.map(|last| last + width))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_or_first_character_decides_the_encoding() {
        for (start, expected) in [
            (&b"\xff\xfea\0"[..], Encoding::Utf16Le),
            (b"\xfe\xff\0a", Encoding::Utf16Be),
            (b"a\0", Encoding::Utf16Le),
            (b"\0a", Encoding::Utf16Be),
            (b"ab", Encoding::Bytes),
            (b"\0\0", Encoding::Bytes),
            (b"\xe9\0", Encoding::Bytes),
            (b"\0\xe9", Encoding::Bytes),
            (b"", Encoding::Bytes),
        ] {
            assert_eq!(Encoding::detect(start), expected, "{start:?}");
        }
    }
}
