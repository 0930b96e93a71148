//! The digest of a layer's stored or uncompressed bytes. A large layer is hashed on a separate thread,
//! so that decompressing and hashing use two processors.

use std::{
    io, mem,
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread::{self, JoinHandle},
};

use crate::oci::{Digest, Hasher};

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
