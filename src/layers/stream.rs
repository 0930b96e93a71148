//! A layer's bytes on their way: counted, hashed, uncompressed, hashed again; at most one buffer of
//! them is kept.

use std::io::{self, ErrorKind, Read};

use super::{error::LayerErrorKind, sum::Sum};
use crate::oci::Digest;

/// Bytes of the inflated stream that are looked at together; larger ones were not faster
/// (docs/decisions/0006-layers.md).
const BUFFER: usize = 128 * 1024;

/// The unit of tar archives.
pub(super) const BLOCK: usize = 512;

/// The bytes of a blob from its source, verified against the descriptor's size and digest.
pub(super) struct Announced<R> {
    inner: R,
    sum: Sum,
    size: u64,
    read: u64,
    fault: Option<LayerErrorKind>,
}

impl<R: Read> Announced<R> {
    pub(super) fn new(inner: R, size: u64) -> Self {
        Self {
            inner,
            sum: Sum::of(size),
            size,
            read: 0,
            fault: None,
        }
    }

    /// Reads what nobody asked for, then compares. A fault here explains every error of whoever
    /// read the bytes.
    pub(super) fn finish(mut self, announced: Digest) -> Result<(), LayerErrorKind> {
        let mut rest = vec![0; BUFFER];
        while self.fault.is_none() && matches!(self.read(&mut rest), Ok(1..)) {}
        if let Some(error) = self.fault {
            return Err(error);
        }
        let got = self.sum.finish().map_err(LayerErrorKind::Read)?;
        if got == announced {
            Ok(())
        } else {
            Err(LayerErrorKind::Digest { got })
        }
    }

    fn fail(&mut self, fault: LayerErrorKind) -> io::Error {
        let error = io::Error::other(fault.to_string());
        self.fault.get_or_insert(fault);
        error
    }

    fn retried(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fail(LayerErrorKind::Read(error))),
                Ok(read) => return Ok(read),
            }
        }
    }
}

impl<R: Read> Read for Announced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = self.size - self.read;
        if left == 0 {
            return match self.retried(&mut [0])? {
                0 => Ok(0),
                _ => Err(self.fail(LayerErrorKind::TooLong {
                    announced: self.size,
                })),
            };
        }
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.retried(&mut buffer[..most])?;
        if read == 0 {
            let error = LayerErrorKind::Truncated {
                announced: self.size,
                got: self.read,
            };
            return Err(self.fail(error));
        }
        self.sum.update(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

/// The uncompressed bytes, taken block by block.
pub(super) struct Plain<D> {
    decoder: D,
    encoding: &'static str,
    buffer: Box<[u8]>,
    /// What of the buffer has not been taken yet.
    start: usize,
    end: usize,
    sum: Sum,
    /// All bytes that came so far.
    total: u64,
    limit: u64,
}

impl<D: Read> Plain<D> {
    pub(super) fn new(decoder: D, encoding: &'static str, limit: u64, sum: Sum) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self {
            decoder,
            encoding,
            buffer,
            start: 0,
            end: 0,
            sum,
            total: 0,
            limit,
        }
    }

    /// Offset of the next byte.
    pub(super) fn at(&self) -> u64 {
        self.total - self.held() as u64
    }

    pub(super) fn broken(&self, reason: impl Into<String>) -> LayerErrorKind {
        LayerErrorKind::Archive {
            at: self.at(),
            reason: reason.into(),
        }
    }

    fn held(&self) -> usize {
        self.end - self.start
    }

    /// Makes more bytes available; how many.
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
        self.sum.update(&self.buffer[self.end..self.end + read]);
        self.end += read;
        self.total += read as u64;
        if self.total > self.limit {
            Err(LayerErrorKind::Inflates { limit: self.limit })
        } else {
            Ok(read)
        }
    }

    /// The next block; `None` at the end.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerErrorKind> {
        while self.held() < BLOCK {
            if self.fill()? == 0 {
                return if self.held() == 0 {
                    Ok(None)
                } else {
                    Err(self.broken("it ends within a header"))
                };
            }
        }
        let mut block = [0; BLOCK];
        block.copy_from_slice(&self.buffer[self.start..self.start + BLOCK]);
        self.start += BLOCK;
        Ok(Some(block))
    }

    /// Passes over `length` bytes of a file's content.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), LayerErrorKind> {
        match self.pass(length)? {
            0 => Ok(()),
            missing => {
                Err(self.broken(format!("it ends {missing} bytes before the end of a file")))
            }
        }
    }

    /// Passes over up to `length` bytes; how many were not there.
    pub(super) fn pass(&mut self, mut length: u64) -> Result<u64, LayerErrorKind> {
        loop {
            let now = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(self.held());
            self.start += now;
            length -= now as u64;
            if length == 0 || self.fill()? == 0 {
                return Ok(length);
            }
        }
    }

    /// The next `length` bytes. The caller bounds `length`.
    pub(super) fn take(&mut self, length: usize) -> Result<Vec<u8>, LayerErrorKind> {
        let mut taken = Vec::new();
        loop {
            let now = (length - taken.len()).min(self.held());
            taken.extend_from_slice(&self.buffer[self.start..self.start + now]);
            self.start += now;
            if taken.len() == length {
                return Ok(taken);
            }
            if self.fill()? == 0 {
                return Err(self.broken("it ends within a file or a long name"));
            }
        }
    }

    /// Reads the rest, whatever it is, and gives the digest of everything.
    pub(super) fn drain(mut self) -> Result<Digest, LayerErrorKind> {
        self.start = self.end;
        while self.fill()? > 0 {
            self.start = self.end;
        }
        self.sum.finish().map_err(LayerErrorKind::Read)
    }
}
