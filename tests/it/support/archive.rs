//! Layers as uncompressed tar archives; equal input makes equal bytes.

use tar::{Builder, EntryType, Header};

/// A tar archive under construction.
pub(crate) struct Archive(Builder<Vec<u8>>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub(crate) fn file(self, name: impl AsRef<str>, content: impl AsRef<[u8]>) -> Self {
        self.file_with(name, 0o644, content)
    }

    pub(crate) fn file_of_mode(self, name: &str, mode: u32) -> Self {
        self.file_with(name, mode, "x")
    }

    pub(crate) fn file_with(
        mut self,
        name: impl AsRef<str>,
        mode: u32,
        content: impl AsRef<[u8]>,
    ) -> Self {
        let content = content.as_ref();
        let mut header = header(mode);
        header.set_size(content.len() as u64);
        self.0
            .append_data(&mut header, name.as_ref(), content)
            .unwrap();
        self
    }

    pub(crate) fn directory(self, name: impl AsRef<str>) -> Self {
        self.directory_of_mode(name.as_ref(), 0o755)
    }

    pub(crate) fn directory_of_mode(self, name: &str, mode: u32) -> Self {
        self.empty(EntryType::Directory, name, mode)
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, 0o777, name, target)
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Link, 0o644, name, target)
    }

    pub(crate) fn pipe(self, name: &str) -> Self {
        self.empty(EntryType::Fifo, name, 0o644)
    }

    /// The archive with the two empty blocks at its end.
    pub(crate) fn end(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn empty(mut self, kind: EntryType, name: &str, mode: u32) -> Self {
        let mut header = header(mode);
        header.set_entry_type(kind);
        self.0
            .append_data(&mut header, name, [].as_slice())
            .unwrap();
        self
    }

    fn link(mut self, kind: EntryType, mode: u32, name: &str, target: &str) -> Self {
        let mut header = header(mode);
        header.set_entry_type(kind);
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }
}

/// A header without an entry type, which also means a regular file.
fn header(mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(mode);
    header.set_size(0);
    header.set_mtime(0);
    header
}
