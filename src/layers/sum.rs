//! The digests of a layer's bytes, as they are stored and inflated: computed on threads of their own where
//! the layer is large, so that inflating and hashing take both of two processors.

use std::{
    io, mem,
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread::{self, JoinHandle},
};

use crate::oci::{Digest, Hasher};

/// Bytes that are handed over together.
const PART: usize = 128 * 1024;
/// Parts that wait at most; reading waits for hashing then.
const WAITING: usize = 4;
/// The smallest stored layer, in bytes, for which a thread is worth its start.
const LARGE: u64 = 4 * 1024 * 1024;

/// A digest that grows.
pub(super) enum Sum {
    /// On this thread.
    Here(Hasher),
    /// On another one.
    Beside(Beside),
}

/// The other thread, and what it has not received yet.
pub(super) struct Beside {
    part: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<Digest>,
}

impl Sum {
    /// For a layer that is stored in `size` bytes.
    pub(super) fn of(size: u64) -> Self {
        let alone = || thread::available_parallelism().map_or(1, usize::from) == 1;
        if size < LARGE || alone() {
            return Self::here();
        }
        Beside::start().map_or_else(|_| Self::here(), Self::Beside)
    }

    fn here() -> Self {
        Self::Here(Hasher::default())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Here(hasher) => hasher.update(bytes),
            Self::Beside(beside) => beside.update(bytes),
        }
    }

    /// The digest of everything; an error if the other thread is gone.
    pub(super) fn finish(self) -> io::Result<Digest> {
        match self {
            Self::Here(hasher) => Ok(hasher.finish()),
            Self::Beside(beside) => beside.finish(),
        }
    }
}

impl Beside {
    fn start() -> io::Result<Self> {
        let (full, parts) = sync_channel::<Vec<u8>>(WAITING);
        let (back, empty) = channel();
        let hash = move || {
            let mut hasher = Hasher::default();
            for part in parts {
                hasher.update(&part);
                // Whoever reads may have ended.
                let _ = back.send(part);
            }
            hasher.finish()
        };
        Ok(Self {
            part: Vec::with_capacity(PART),
            full,
            empty,
            thread: thread::Builder::new().spawn(hash)?,
        })
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PART - self.part.len()));
            self.part.extend_from_slice(now);
            bytes = rest;
            if self.part.len() == PART {
                self.hand_over();
            }
        }
    }

    fn hand_over(&mut self) {
        let mut next = self
            .empty
            .try_recv()
            .unwrap_or_else(|_| Vec::with_capacity(PART));
        next.clear();
        // A thread that is gone is reported at the end.
        let _ = self.full.send(mem::replace(&mut self.part, next));
    }

    fn finish(mut self) -> io::Result<Digest> {
        self.hand_over();
        drop(self.full);
        let gone = |_| io::Error::other("the hashing thread stopped unexpectedly");
        self.thread.join().map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_threads_give_the_same_digest_however_the_bytes_come() {
        let bytes: Vec<u8> = (0..3 * PART + 17)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        for length in [0, 1, PART - 1, PART, PART + 1, bytes.len()] {
            for step in [1, 511, 4096, PART, 2 * PART] {
                let bytes = &bytes[..length];
                if step == 1 && length > PART + 1 {
                    continue;
                }
                let mut beside = Sum::Beside(Beside::start().unwrap());
                for part in bytes.chunks(step) {
                    beside.update(part);
                }
                assert_eq!(
                    beside.finish().unwrap(),
                    Digest::of(bytes),
                    "{length} by {step}"
                );
            }
        }
    }

    #[test]
    fn small_layers_start_no_thread() {
        assert!(matches!(Sum::of(LARGE - 1), Sum::Here(_)));
    }
}
