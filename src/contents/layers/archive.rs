//! Iterates over the members of a tar archive, with the paths and sizes from extended headers.
//!
//! This is our own parser, because no crate bounds long names, interprets contradictory headers
//! exactly as Go's `archive/tar` does (the engines unpack with it), and skips contents without
//! copying them: docs/decisions/0006-layers.md. `layer` interprets the members.

use std::io::Read;

use super::{
    limits::LayerErrorKind,
    pax::{Header, PaxHeader, until_nul},
    stream::{BLOCK, UncompressedStream},
};
use crate::oci::Digest;

/// The maximum size of an extended header or a long name, in bytes, as in Go's reader.
const MAX_HEADER_CONTENT: u64 = 1024 * 1024;

/// A member of an archive.
pub(super) struct ArchiveEntry {
    /// The path as stored.
    pub(super) path: Vec<u8>,
    /// The target of a link as stored.
    pub(super) link: Vec<u8>,
    pub(super) kind: MemberKind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The length of the stored content; 0 for a member that is not a file.
    pub(super) size: u64,
    /// The value of the extended attribute `security.capability`, cut after 32 bytes.
    pub(super) capability: Option<Box<[u8]>>,
    /// The stored content omits the holes of the file.
    pub(super) is_sparse: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    HardLink,
    Symlink,
    Directory,
    /// A device or a named pipe.
    Other,
}

/// A reader of archives.
pub(super) struct Archive<D> {
    stream: UncompressedStream<D>,
    /// The unread bytes of the current member's content, and its padding.
    content: u64,
    padding: u64,
}

/// The extended headers that apply to the next member.
#[derive(Default)]
struct PendingHeaders {
    pax: PaxHeader,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<D: Read> Archive<D> {
    pub(super) fn new(stream: UncompressedStream<D>) -> Self {
        Self {
            stream,
            content: 0,
            padding: 0,
        }
    }

    /// The next member; `None` at the end of the archive, with or without the two empty blocks.
    pub(super) fn next(&mut self) -> Result<Option<ArchiveEntry>, LayerErrorKind> {
        let mut pending = PendingHeaders::default();
        loop {
            self.stream.skip(self.content)?;
            self.stream.skip_up_to(self.padding)?;
            (self.content, self.padding) = (0, 0);
            let Some(block) = self.block()? else {
                return Ok(None);
            };
            let header = Header::parse(&block).map_err(|reason| self.malformed(reason))?;
            match header.kind() {
                // A second header replaces the first.
                b'x' => pending.pax = self.pax_header(&header)?,
                // Readers disagree about whether a global header applies to the members after it.
                b'g' => {
                    if self.pax_header(&header)?.sets_attributes() {
                        return Err(self.malformed(
                            "a global header gives paths, sizes, owners or capabilities",
                        ));
                    }
                }
                b'L' => pending.name = Some(self.long_name(&header)?),
                b'K' => pending.link = Some(self.long_name(&header)?),
                _ => return self.member(&header, pending).map(Some),
            }
        }
    }

    /// The content of the current member. The caller bounds its size.
    pub(super) fn content(&mut self) -> Result<Vec<u8>, LayerErrorKind> {
        let length = usize::try_from(self.content).unwrap_or(usize::MAX);
        self.content = 0;
        self.stream.bytes(length)
    }

    /// An error at the header of the current member.
    pub(super) fn malformed(&self, reason: impl Into<String>) -> LayerErrorKind {
        LayerErrorKind::Archive {
            offset: self.stream.offset().saturating_sub(BLOCK as u64),
            reason: reason.into(),
        }
    }

    /// Consumes the bytes after the archive, which only count for the digest.
    pub(super) fn finish(self) -> Result<Digest, LayerErrorKind> {
        self.stream.finish()
    }

    /// The next header block; `None` at the end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerErrorKind> {
        const EMPTY: [u8; BLOCK] = [0; BLOCK];
        let block = self.stream.block()?;
        if block != Some(EMPTY) {
            return Ok(block);
        }
        match self.stream.block()? {
            None | Some(EMPTY) => Ok(None),
            Some(_) => Err(self.malformed("one empty block, where two end an archive")),
        }
    }

    fn member(
        &mut self,
        header: &Header<'_>,
        pending: PendingHeaders,
    ) -> Result<ArchiveEntry, LayerErrorKind> {
        let pax = pending.pax;
        let malformed = |reason: &'static str| self.malformed(reason);
        let uid = pax
            .uid
            .map_or_else(|| header.uid(), Ok)
            .map_err(malformed)?;
        let gid = pax
            .gid
            .map_or_else(|| header.gid(), Ok)
            .map_err(malformed)?;
        let mode = header.mode().map_err(malformed)?;
        let size = pax
            .size
            .map_or_else(|| header.size(), Ok)
            .map_err(malformed)?;
        let path = pending
            .name
            .or_else(|| pax.member_path().cloned())
            .unwrap_or_else(|| header.name());
        let link = pending
            .link
            .or_else(|| pax.link.clone())
            .unwrap_or_else(|| header.link());
        let kind = match header.kind() {
            // Before POSIX, a directory was a file with a trailing slash in its name.
            0 if path.ends_with(b"/") => MemberKind::Directory,
            0 | b'0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::HardLink,
            b'2' => MemberKind::Symlink,
            b'5' => MemberKind::Directory,
            b'3' | b'4' | b'6' => MemberKind::Other,
            kind => {
                return Err(self.malformed(format!(
                    "a member of the unknown type `{}`",
                    kind.escape_ascii()
                )));
            }
        };
        // Only files have content, even if the header of another member has a size.
        let size = if kind == MemberKind::File { size } else { 0 };
        let is_old_sparse = header.kind() == b'S';
        if is_old_sparse {
            self.skip_sparse_map(header)?;
        }
        self.set_size(size)?;
        Ok(ArchiveEntry {
            path,
            link,
            kind,
            mode,
            uid,
            gid,
            size,
            capability: pax.capability.clone(),
            is_sparse: is_old_sparse || pax.is_sparse(),
        })
    }

    /// Skips the blocks between the header of a sparse file and its content. The size of the file does
    /// not include them.
    fn skip_sparse_map(&mut self, header: &Header<'_>) -> Result<(), LayerErrorKind> {
        let mut has_more = header
            .has_extended_map()
            .map_err(|reason| self.malformed(reason))?;
        while has_more {
            let Some(block) = self.stream.block()? else {
                return Err(self.malformed("it ends within the map of a sparse file"));
            };
            has_more = block[504] != 0;
        }
        Ok(())
    }

    fn set_size(&mut self, size: u64) -> Result<(), LayerErrorKind> {
        if size > i64::MAX as u64 {
            return Err(self.malformed("a file of impossible size"));
        }
        self.content = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn long_name(&mut self, header: &Header<'_>) -> Result<Vec<u8>, LayerErrorKind> {
        Ok(until_nul(&self.header_content(header)?).to_vec())
    }

    fn pax_header(&mut self, header: &Header<'_>) -> Result<PaxHeader, LayerErrorKind> {
        let content = self.header_content(header)?;
        PaxHeader::parse(&content).map_err(|reason| self.malformed(reason))
    }

    /// The content of an extended header or a long name.
    fn header_content(&mut self, header: &Header<'_>) -> Result<Vec<u8>, LayerErrorKind> {
        let size = header.size().map_err(|reason| self.malformed(reason))?;
        if size > MAX_HEADER_CONTENT {
            return Err(self.malformed(format!(
                "an extended header of {size} bytes: at most {MAX_HEADER_CONTENT} are read"
            )));
        }
        self.set_size(size)?;
        self.content()
    }
}
