//! Reading a file of any size in chunks that overlap, and the lines and columns of places in it.
//!
//! Holds a chunk and the overlap at a time, however large the file is.

use std::{
    io::{self, Read},
    ops::Range,
};

/// Bytes that are read at once.
pub(super) const CHUNK: usize = 128 * 1024;

/// Part of a file, and the offset that it begins at.
pub(super) struct Window<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) base: usize,
}

/// How much around a place its search has to see, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Overlap {
    /// Bytes before it.
    pub(super) back: usize,
    /// Bytes from it on.
    pub(super) forward: usize,
}

impl Overlap {
    /// What both searches must see.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            back: self.back.max(other.back),
            forward: self.forward.max(other.forward),
        }
    }
}

/// Passes on the file part by part: each window with the range in it whose bytes were not handed
/// over before, and with the lines from where it begins. Of that range each byte has `overlap` around
/// it, as far as the file goes.
pub(super) fn each_window(
    mut reader: impl Read,
    buffer: &mut Vec<u8>,
    overlap: Overlap,
    mut visit: impl FnMut(&Window<'_>, Range<usize>, &mut Lines),
) -> io::Result<()> {
    let mut lines = None;
    let (mut base, mut reached) = (0, 0);
    buffer.clear();
    loop {
        let read = reader.by_ref().take(CHUNK as u64).read_to_end(buffer)?;
        let lines = lines.get_or_insert_with(|| Lines::of(buffer));
        let end = if read == 0 {
            buffer.len()
        } else {
            buffer.len().saturating_sub(overlap.forward).max(reached)
        };
        let window = Window {
            bytes: buffer,
            base,
        };
        visit(&window, reached..end, &mut { *lines });
        if read == 0 {
            return Ok(());
        }
        let drop = end.saturating_sub(overlap.back);
        lines.pass(&buffer[..drop], base);
        buffer.drain(..drop);
        base += drop;
        reached = end - drop;
    }
}

/// How the characters of a file are stored, as far as line ends depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// ASCII characters are single bytes.
    Bytes,
    /// UTF-16, the low byte first.
    Utf16Le,
    /// UTF-16, the high byte first.
    Utf16Be,
}

impl Encoding {
    /// By a byte order mark, or by the zero that the first ASCII character has beside it.
    fn of(beginning: &[u8]) -> Self {
        match beginning {
            [0xff, 0xfe, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] => Self::Utf16Be,
            [first, 0, ..] if first.is_ascii() && *first != 0 => Self::Utf16Le,
            [0, second, ..] if second.is_ascii() && *second != 0 => Self::Utf16Be,
            _ => Self::Bytes,
        }
    }

    /// The offset behind the line end whose newline byte is at `at`, if it is one.
    fn line_after(self, at: usize) -> Option<usize> {
        match self {
            Self::Bytes => Some(at + 1),
            Self::Utf16Le => (at.is_multiple_of(2)).then_some(at + 2),
            Self::Utf16Be => (at % 2 == 1).then_some(at + 1),
        }
    }
}

/// Counts lines up to places that only move forward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    narrow: Count,
    /// Of the file as UTF-16, if it may be.
    wide: Option<Count>,
}

impl Lines {
    /// Of a file that begins so.
    pub(super) fn of(beginning: &[u8]) -> Self {
        let wide = match Encoding::of(beginning) {
            Encoding::Bytes => None,
            encoding => Some(Count::new(encoding)),
        };
        Self {
            narrow: Count::new(Encoding::Bytes),
            wide,
        }
    }

    fn pass(&mut self, bytes: &[u8], base: usize) {
        self.narrow.pass(bytes, base);
        if let Some(wide) = &mut self.wide {
            wide.pass(bytes, base);
        }
    }

    /// Line and column, both 1-based, of a place in the window; columns are bytes.
    pub(super) fn place(&mut self, window: &Window<'_>, at: usize) -> (usize, usize) {
        self.narrow.place(window, at)
    }

    /// The same for a place among characters of two bytes.
    pub(super) fn place_wide(&mut self, window: &Window<'_>, at: usize) -> (usize, usize) {
        self.wide
            .as_mut()
            .unwrap_or(&mut self.narrow)
            .place(window, at)
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    encoding: Encoding,
    /// Newlines before `counted`.
    newlines: usize,
    /// Offset in the file of the current line's first byte.
    line_start: usize,
    /// Offset in the file up to which newlines were counted.
    counted: usize,
}

impl Count {
    fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            newlines: 0,
            line_start: 0,
            counted: 0,
        }
    }

    fn pass(&mut self, bytes: &[u8], base: usize) {
        let end = base + bytes.len();
        if end <= self.counted {
            return;
        }
        let fresh = &bytes[self.counted - base..];
        if self.encoding == Encoding::Bytes {
            if let Some(last) = memchr::memrchr(b'\n', fresh) {
                self.newlines += memchr::memchr_iter(b'\n', fresh).count();
                self.line_start = self.counted + last + 1;
            }
        } else {
            for at in memchr::memchr_iter(b'\n', fresh) {
                if let Some(start) = self.encoding.line_after(self.counted + at) {
                    self.newlines += 1;
                    self.line_start = start;
                }
            }
        }
        self.counted = end;
    }

    fn place(&mut self, window: &Window<'_>, at: usize) -> (usize, usize) {
        self.pass(&window.bytes[..at], window.base);
        let column = (window.base + at).saturating_sub(self.line_start) + 1;
        (self.newlines + 1, column)
    }
}
