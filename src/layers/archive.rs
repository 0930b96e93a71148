//! The members of a tar archive, one after the other, with the names and sizes that extended
//! headers give them.
//!
//! Our own walk, because what must be bounded (long names), exact (what Go's `archive/tar`, with
//! which the engines unpack, takes from contradictory headers) or skipped without copying
//! (contents) is not to be had from a crate: docs/decisions/0006-layers.md. What members mean is
//! for `layer`.

use std::io::Read;

use super::{
    error::LayerErrorKind,
    header::{Header, until_nul},
    pax::Extended,
    stream::{BLOCK, Plain},
};
use crate::oci::Digest;

/// The longest extended header and the longest long name, in bytes, as in Go's reader.
const LONG_MAX: u64 = 1024 * 1024;

/// One member of an archive.
pub(super) struct Member {
    /// As it was written.
    pub(super) path: Vec<u8>,
    /// The target of a link, as it was written.
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The stored content's length; 0 for what has none.
    pub(super) size: u64,
    /// The stored content lacks the file's holes.
    pub(super) sparse: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Directory,
    /// Devices and named pipes.
    Other,
}

/// An archive that is being read.
pub(super) struct Archive<D> {
    plain: Plain<D>,
    /// What of the current member's content has not been read, and the padding behind it.
    content: u64,
    padding: u64,
}

/// Headers that describe the member behind them.
#[derive(Default)]
struct PendingHeaders {
    extended: Extended,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<D: Read> Archive<D> {
    pub(super) fn new(plain: Plain<D>) -> Self {
        Self {
            plain,
            content: 0,
            padding: 0,
        }
    }

    /// The next member; `None` at the end of the archive, whether or not it has the two empty
    /// blocks.
    pub(super) fn next(&mut self) -> Result<Option<Member>, LayerErrorKind> {
        let mut ahead = PendingHeaders::default();
        loop {
            self.plain.skip(self.content)?;
            self.plain.pass(self.padding)?;
            (self.content, self.padding) = (0, 0);
            let Some(block) = self.block()? else {
                return Ok(None);
            };
            let header = Header::parse(&block).map_err(|reason| self.broken(reason))?;
            match header.kind() {
                // A second one replaces the first.
                b'x' => ahead.extended = self.parsed(&header)?,
                // Readers disagree about whether these count for the members behind them.
                b'g' => {
                    if self.parsed(&header)?.moves_something() {
                        return Err(self.broken("a global header gives paths, sizes or owners"));
                    }
                }
                b'L' => ahead.name = Some(until_nul(&self.long(&header)?).to_vec()),
                b'K' => ahead.link = Some(until_nul(&self.long(&header)?).to_vec()),
                _ => return self.member(&header, ahead).map(Some),
            }
        }
    }

    /// The whole content of the member that was read last. The caller bounds its size.
    pub(super) fn content(&mut self) -> Result<Vec<u8>, LayerErrorKind> {
        let length = usize::try_from(std::mem::take(&mut self.content)).unwrap_or(usize::MAX);
        self.plain.take(length)
    }

    /// A fault at the header that was read last.
    pub(super) fn broken(&self, reason: impl Into<String>) -> LayerErrorKind {
        LayerErrorKind::Archive {
            at: self.plain.at().saturating_sub(BLOCK as u64),
            reason: reason.into(),
        }
    }

    /// Reads what lies behind the archive (it counts for the digest, and for nothing else).
    pub(super) fn finish(self) -> Result<Digest, LayerErrorKind> {
        self.plain.drain()
    }

    /// The next header block; `None` at the end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerErrorKind> {
        let empty = [0; BLOCK];
        match self.plain.block()? {
            Some(block) if block == empty => match self.plain.block()? {
                Some(block) if block != empty => {
                    Err(self.broken("one empty block, where two end an archive"))
                }
                _ => Ok(None),
            },
            other => Ok(other),
        }
    }

    fn member(
        &mut self,
        header: &Header<'_>,
        ahead: PendingHeaders,
    ) -> Result<Member, LayerErrorKind> {
        let number = |found: Result<u32, &'static str>| found.map_err(|reason| self.broken(reason));
        let extended = ahead.extended;
        let uid = extended.uid.map_or_else(|| number(header.uid()), Ok)?;
        let gid = extended.gid.map_or_else(|| number(header.gid()), Ok)?;
        let mode = header.mode().map_err(|reason| self.broken(reason))?;
        let size = extended
            .size
            .map_or_else(|| header.size(), Ok)
            .map_err(|reason| self.broken(reason))?;
        let path = ahead
            .name
            .or_else(|| extended.name().cloned())
            .unwrap_or_else(|| header.name());
        let link = ahead
            .link
            .or_else(|| extended.link.clone())
            .unwrap_or_else(|| header.link());
        let kind = match header.kind() {
            // Before POSIX a directory was a file whose name ends in a slash.
            0 if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Directory,
            b'3' | b'4' | b'6' => Kind::Other,
            kind => {
                return Err(self.broken(format!(
                    "a member of the unknown type `{}`",
                    kind.escape_ascii()
                )));
            }
        };
        // Only files have content, whatever the size of others says.
        let size = if kind == Kind::File { size } else { 0 };
        let old_sparse = header.kind() == b'S';
        if old_sparse {
            self.skip_map(header)?;
        }
        self.announce(size)?;
        Ok(Member {
            path,
            link,
            kind,
            mode,
            uid,
            gid,
            size,
            sparse: old_sparse || extended.sparse(),
        })
    }

    /// The blocks between a sparse file's header and its content, which its size does not count.
    fn skip_map(&mut self, header: &Header<'_>) -> Result<(), LayerErrorKind> {
        let mut more = header.map_goes_on().map_err(|reason| self.broken(reason))?;
        while more {
            let block = self
                .plain
                .block()?
                .ok_or_else(|| self.broken("it ends within the map of a sparse file"))?;
            more = block[504] != 0;
        }
        Ok(())
    }

    fn announce(&mut self, size: u64) -> Result<(), LayerErrorKind> {
        if size > i64::MAX as u64 {
            return Err(self.broken("a file of impossible size"));
        }
        self.content = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// The content of a header that holds a name or records.
    fn long(&mut self, header: &Header<'_>) -> Result<Vec<u8>, LayerErrorKind> {
        let size = header.size().map_err(|reason| self.broken(reason))?;
        if size > LONG_MAX {
            return Err(self.broken(format!(
                "an extended header of {size} bytes: at most {LONG_MAX} are read"
            )));
        }
        self.announce(size)?;
        self.content()
    }

    fn parsed(&mut self, header: &Header<'_>) -> Result<Extended, LayerErrorKind> {
        let data = self.long(header)?;
        Extended::parse(&data).map_err(|reason| self.broken(reason))
    }
}
