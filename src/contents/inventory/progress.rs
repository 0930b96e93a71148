//! The progress of reading layers: the current image, and the number of its bytes. It is not printed here.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const MIB: u64 = 1 << 20;

/// The progress of reading layers.
#[derive(Debug, Default)]
pub(crate) struct ReadingProgress {
    image: RefCell<String>,
    /// The index of the image, and the number of images.
    position: Cell<(usize, usize)>,
    expected: Cell<u64>,
    read: Arc<AtomicU64>,
}

impl ReadingProgress {
    /// Starts the image `name` with the given index.
    pub(crate) fn begin(&self, name: &str, index: usize, total: usize) {
        name.clone_into(&mut self.image.borrow_mut());
        self.position.set((index, total));
        self.expect(0);
    }

    /// Sets the total size of the layers that will be read.
    pub(super) fn expect(&self, bytes: u64) {
        self.expected.set(bytes);
        self.read.store(0, Ordering::Relaxed);
    }

    /// Counts the bytes that are read from `blob`.
    pub(super) fn count<R: Read>(&self, blob: R) -> impl Read + use<R> {
        CountingReader {
            inner: blob,
            read: Arc::clone(&self.read),
        }
    }

    /// The progress in one line.
    pub(crate) fn describe(&self) -> String {
        let (index, total) = self.position.get();
        let mut text = format!("reading the layers of {}", self.image.borrow());
        if total > 1 {
            let _ = write!(text, " ({} of {total})", index + 1);
        }
        let (read, expected) = (self.read.load(Ordering::Relaxed), self.expected.get());
        if expected > 0 {
            let _ = write!(
                text,
                ": {} of {}",
                format_size(read.min(expected)),
                format_size(expected)
            );
        }
        text
    }
}

fn format_size(bytes: u64) -> String {
    match bytes {
        ..10_240 => format!("{bytes} bytes"),
        10_240..MIB => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

struct CountingReader<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_contains_image_and_bytes() {
        let progress = ReadingProgress::default();
        progress.begin("review linux/amd64", 1, 8);
        assert_eq!(
            progress.describe(),
            "reading the layers of review linux/amd64 (2 of 8)"
        );
        progress.expect(3 * MIB + MIB / 2);
        let mut layer = progress.count(io::repeat(0).take(2 * MIB));
        io::copy(&mut layer, &mut io::sink()).unwrap();
        assert_eq!(
            progress.describe(),
            "reading the layers of review linux/amd64 (2 of 8): 2.0 MiB of 3.5 MiB"
        );
        progress.begin("fix", 0, 1);
        assert_eq!(progress.describe(), "reading the layers of fix");
    }

    #[test]
    fn sizes_have_a_unit() {
        let sizes = [0, 10_239, 10_240, MIB - 1, MIB, 25 * MIB + MIB / 10].map(format_size);
        let expected = [
            "0 bytes",
            "10239 bytes",
            "10 KiB",
            "1023 KiB",
            "1.0 MiB",
            "25.0 MiB",
        ];
        assert_eq!(sizes, expected);
    }
}
