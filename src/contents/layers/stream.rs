//! The bytes of a layer: counted and hashed as stored, then decompressed and hashed a second time.
//! At most one buffer of them is in memory.
//!
//! The digest of a layer's stored or uncompressed bytes. A large layer is hashed on a separate thread,
//! so that decompressing and hashing use two processors.

use std::{
    io::{self, ErrorKind, Read},
    mem,
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread::{self, JoinHandle},
};

use super::limits::LayerErrorKind;
use crate::oci::{Digest, Hasher};

/// The size of the buffer of uncompressed bytes; larger ones were not faster
/// (docs/decisions/0006-layers.md).
const BUFFER: usize = 128 * 1024;

/// The size of a tar block.
pub(super) const BLOCK: usize = 512;

/// A blob that is verified against the size and digest of its descriptor.
pub(super) struct BlobReader<R> {
    source: R,
    hasher: StreamHasher,
    expected_size: u64,
    read: u64,
    /// The first error.
    error: Option<LayerErrorKind>,
}

impl<R: Read> BlobReader<R> {
    pub(super) fn new(source: R, expected_size: u64) -> Self {
        Self {
            source,
            hasher: StreamHasher::for_size(expected_size),
            expected_size,
            read: 0,
            error: None,
        }
    }

    /// Consumes the remaining blob, then compares the digest. An error of the blob explains every
    /// error of its decoder.
    pub(super) fn finish(mut self, expected: Digest) -> Result<(), LayerErrorKind> {
        let mut buffer = vec![0; BUFFER];
        while self.error.is_none() && matches!(self.read(&mut buffer), Ok(1..)) {}
        if let Some(error) = self.error {
            return Err(error);
        }
        let actual = self.hasher.finish().map_err(LayerErrorKind::Read)?;
        if actual == expected {
            Ok(())
        } else {
            Err(LayerErrorKind::Digest { actual })
        }
    }

    /// Stores the first error and returns it for the decoder.
    fn fail(&mut self, error: LayerErrorKind) -> io::Error {
        let message = error.to_string();
        self.error.get_or_insert(error);
        io::Error::other(message)
    }

    fn read_source(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.source.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fail(LayerErrorKind::Read(error))),
                Ok(read) => return Ok(read),
            }
        }
    }
}

impl<R: Read> Read for BlobReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let remaining = self.expected_size - self.read;
        if remaining == 0 {
            if self.read_source(&mut [0])? == 0 {
                return Ok(0);
            }
            return Err(self.fail(LayerErrorKind::TooLong {
                expected: self.expected_size,
            }));
        }
        let limit = usize::try_from(remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.read_source(&mut buffer[..limit])?;
        if read == 0 {
            return Err(self.fail(LayerErrorKind::Truncated {
                expected: self.expected_size,
                actual: self.read,
            }));
        }
        self.hasher.update(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

/// The uncompressed bytes of a layer, read block by block.
pub(super) struct UncompressedStream<D> {
    decoder: D,
    encoding: &'static str,
    buffer: Box<[u8]>,
    /// The unread part of the buffer is `start..end`.
    start: usize,
    end: usize,
    hasher: StreamHasher,
    /// The number of decoded bytes.
    total: u64,
    limit: u64,
}

impl<D: Read> UncompressedStream<D> {
    pub(super) fn new(
        decoder: D,
        encoding: &'static str,
        limit: u64,
        hasher: StreamHasher,
    ) -> Self {
        Self {
            decoder,
            encoding,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            hasher,
            total: 0,
            limit,
        }
    }

    /// The offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.total - self.buffered() as u64
    }

    /// An error at the next byte.
    pub(super) fn malformed(&self, reason: impl Into<String>) -> LayerErrorKind {
        LayerErrorKind::Archive {
            offset: self.offset(),
            reason: reason.into(),
        }
    }

    fn buffered(&self) -> usize {
        self.end - self.start
    }

    /// Decodes more bytes into the buffer and returns their number.
    fn fill(&mut self) -> Result<usize, LayerErrorKind> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = loop {
            match self.decoder.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(LayerErrorKind::Decompress {
                        encoding: self.encoding,
                        error,
                    });
                }
                Ok(read) => break read,
            }
        };
        self.hasher.update(&self.buffer[self.end..self.end + read]);
        self.end += read;
        self.total += read as u64;
        if self.total > self.limit {
            return Err(LayerErrorKind::Inflates { limit: self.limit });
        }
        Ok(read)
    }

    /// The next block; `None` at the end.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerErrorKind> {
        while self.buffered() < BLOCK {
            if self.fill()? > 0 {
                continue;
            }
            if self.buffered() == 0 {
                return Ok(None);
            }
            return Err(self.malformed("it ends within a header"));
        }
        let mut block = [0; BLOCK];
        block.copy_from_slice(&self.buffer[self.start..self.start + BLOCK]);
        self.start += BLOCK;
        Ok(Some(block))
    }

    /// Skips `length` bytes of a file's content.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), LayerErrorKind> {
        match self.skip_up_to(length)? {
            0 => Ok(()),
            missing => {
                Err(self.malformed(format!("it ends {missing} bytes before the end of a file")))
            }
        }
    }

    /// Skips up to `length` bytes, and returns the number of missing bytes at the end of the stream.
    pub(super) fn skip_up_to(&mut self, mut length: u64) -> Result<u64, LayerErrorKind> {
        loop {
            let skipped = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(self.buffered());
            self.start += skipped;
            length -= skipped as u64;
            if length == 0 || self.fill()? == 0 {
                return Ok(length);
            }
        }
    }

    /// The next `length` bytes. The caller bounds `length`.
    pub(super) fn bytes(&mut self, length: usize) -> Result<Vec<u8>, LayerErrorKind> {
        let mut bytes = Vec::new();
        loop {
            let count = (length - bytes.len()).min(self.buffered());
            bytes.extend_from_slice(&self.buffer[self.start..self.start + count]);
            self.start += count;
            if bytes.len() == length {
                return Ok(bytes);
            }
            if self.fill()? == 0 {
                return Err(self.malformed("it ends within a file or a long name"));
            }
        }
    }

    /// Consumes the remaining stream and returns the digest of all bytes.
    pub(super) fn finish(mut self) -> Result<Digest, LayerErrorKind> {
        self.start = self.end;
        while self.fill()? > 0 {
            self.start = self.end;
        }
        self.hasher.finish().map_err(LayerErrorKind::Read)
    }
}

/// The number of bytes that are sent to the thread at once.
const CHUNK: usize = 128 * 1024;
/// The maximum number of queued chunks; a full queue blocks the reader.
const QUEUE: usize = 4;
/// The smallest stored layer, in bytes, that justifies the start of a thread.
const MIN_THREADED: u64 = 4 * 1024 * 1024;

pub(super) enum StreamHasher {
    Inline(Hasher),
    Threaded(HashingThread),
}

pub(super) struct HashingThread {
    /// The next chunk to send.
    chunk: Vec<u8>,
    sender: SyncSender<Vec<u8>>,
    /// Buffers that the thread returns for reuse.
    buffers: Receiver<Vec<u8>>,
    handle: JoinHandle<Digest>,
}

impl StreamHasher {
    /// A hasher for a layer with a stored size of `size` bytes.
    pub(super) fn for_size(size: u64) -> Self {
        if size >= MIN_THREADED
            && thread::available_parallelism().is_ok_and(|processors| processors.get() > 1)
            && let Ok(thread) = HashingThread::start()
        {
            return Self::Threaded(thread);
        }
        Self::Inline(Hasher::default())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Inline(hasher) => hasher.update(bytes),
            Self::Threaded(thread) => thread.update(bytes),
        }
    }

    /// Returns the digest of all bytes, or an error if the thread panicked.
    pub(super) fn finish(self) -> io::Result<Digest> {
        match self {
            Self::Inline(hasher) => Ok(hasher.finish()),
            Self::Threaded(thread) => thread.finish(),
        }
    }
}

impl HashingThread {
    fn start() -> io::Result<Self> {
        let (sender, chunks) = sync_channel::<Vec<u8>>(QUEUE);
        let (buffer_sender, buffers) = channel();
        let hash = move || {
            let mut hasher = Hasher::default();
            for chunk in chunks {
                hasher.update(&chunk);
                // The reader may have stopped because of an error.
                let _ = buffer_sender.send(chunk);
            }
            hasher.finish()
        };
        Ok(Self {
            chunk: Vec::with_capacity(CHUNK),
            sender,
            buffers,
            handle: thread::Builder::new().spawn(hash)?,
        })
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let length = bytes.len().min(CHUNK - self.chunk.len());
            let (next, rest) = bytes.split_at(length);
            self.chunk.extend_from_slice(next);
            bytes = rest;
            if self.chunk.len() == CHUNK {
                self.send();
            }
        }
    }

    fn send(&mut self) {
        let mut buffer = self
            .buffers
            .try_recv()
            .unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        buffer.clear();
        // If the thread panicked, `finish` returns the error.
        let _ = self.sender.send(mem::replace(&mut self.chunk, buffer));
    }

    fn finish(mut self) -> io::Result<Digest> {
        self.send();
        drop(self.sender);
        self.handle
            .join()
            .map_err(|_| io::Error::other("the hashing thread stopped unexpectedly"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threaded_digest_is_independent_of_chunking() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 17)
            .map(|index| u8::try_from(index % 251).unwrap())
            .collect();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, bytes.len()] {
            for step in [1, 511, 4096, CHUNK, 2 * CHUNK] {
                let bytes = &bytes[..length];
                if step == 1 && length > CHUNK + 1 {
                    continue;
                }
                let mut hasher = StreamHasher::Threaded(HashingThread::start().unwrap());
                for chunk in bytes.chunks(step) {
                    hasher.update(chunk);
                }
                assert_eq!(
                    hasher.finish().unwrap(),
                    Digest::of(bytes),
                    "{length} by {step}"
                );
            }
        }
    }

    #[test]
    fn small_layers_start_no_thread() {
        assert!(matches!(
            StreamHasher::for_size(MIN_THREADED - 1),
            StreamHasher::Inline(_)
        ));
    }
}
