//! How far the layers of a run are read: which image, and how many of its bytes. Nothing is shown here.

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

/// What is being read, and how much of it has come.
#[derive(Debug, Default)]
pub struct ReadingProgress {
    image: RefCell<String>,
    place: Cell<(usize, usize)>,
    expected: Cell<u64>,
    read: Arc<AtomicU64>,
}

impl ReadingProgress {
    /// Begins the image `name`, number `at` (from 0) of `total`.
    pub fn begin(&self, name: &str, at: usize, total: usize) {
        name.clone_into(&mut self.image.borrow_mut());
        self.place.set((at, total));
        self.expect(0);
    }

    /// The layers that are read have `bytes` together.
    pub(super) fn expect(&self, bytes: u64) {
        self.expected.set(bytes);
        self.read.store(0, Ordering::Relaxed);
    }

    /// The bytes of a layer, counted as they come.
    pub(super) fn counted<R: Read>(&self, bytes: R) -> impl Read + use<R> {
        Counted {
            inner: bytes,
            read: Arc::clone(&self.read),
        }
    }

    /// How far it is, on one line.
    pub fn describe(&self) -> String {
        let (at, total) = self.place.get();
        let mut text = format!("reading the layers of {}", self.image.borrow());
        if total > 1 {
            let _ = write!(text, " ({} of {total})", at + 1);
        }
        let (read, expected) = (self.read.load(Ordering::Relaxed), self.expected.get());
        if expected > 0 {
            let _ = write!(text, ": {} of {}", size(read.min(expected)), size(expected));
        }
        text
    }
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        ..10_240 => format!("{bytes} bytes"),
        10_240..MIB => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
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
    fn progress_names_the_image_and_its_bytes() {
        let reading = ReadingProgress::default();
        reading.begin("review linux/amd64", 1, 8);
        assert_eq!(
            reading.describe(),
            "reading the layers of review linux/amd64 (2 of 8)"
        );
        reading.expect(3 * MIB + MIB / 2);
        let mut layer = reading.counted(io::repeat(0).take(2 * MIB));
        io::copy(&mut layer, &mut io::sink()).unwrap();
        assert_eq!(
            reading.describe(),
            "reading the layers of review linux/amd64 (2 of 8): 2.0 MiB of 3.5 MiB"
        );
        reading.begin("fix", 0, 1);
        assert_eq!(reading.describe(), "reading the layers of fix");
    }

    #[test]
    fn sizes_have_a_unit() {
        let sizes = [0, 10_239, 10_240, MIB - 1, MIB, 25 * MIB + MIB / 10].map(size);
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
