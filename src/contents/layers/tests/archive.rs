//! Writes tar archives byte by byte, so that tests can create malformed ones.

/// A builder of archives.
#[derive(Default, Clone)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    uid: u64,
    gid: u64,
}

/// A header block. The size is not checked.
pub(crate) fn header(kind: u8, name: &[u8], link: &[u8], size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(if kind == b'5' {
        b"0000755\0"
    } else {
        b"0000644\0"
    });
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    with_checksum(block)
}

/// The block with a valid checksum.
pub(crate) fn with_checksum(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A record of an extended header.
pub(crate) fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let body = keyword.len() + value.len() + 3;
    let digits = (1..20).find(|digits| (body + digits).to_string().len() == *digits);
    let length = body + digits.unwrap_or_default();
    [
        length.to_string().as_bytes(),
        b" ",
        keyword.as_bytes(),
        b"=",
        value,
        b"\n",
    ]
    .concat()
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets the owner of the following members.
    pub(crate) fn owned(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn content(self, content: &[u8]) -> Self {
        let padding = content.len().next_multiple_of(512) - content.len();
        self.raw(content).raw(&vec![0; padding])
    }

    fn member(self, kind: u8, mode: Option<u32>, name: &[u8], link: &[u8], content: &[u8]) -> Self {
        let mut this = self;
        if name.len() > 100 {
            this = this.long(b'L', name);
        }
        let mut block = header(
            kind,
            &name[..name.len().min(100)],
            link,
            content.len() as u64,
        );
        if let Some(mode) = mode {
            block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        }
        block[108..116].copy_from_slice(format!("{:07o}\0", this.uid).as_bytes());
        block[116..124].copy_from_slice(format!("{:07o}\0", this.gid).as_bytes());
        this.raw(&with_checksum(block)).content(content)
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.member(b'0', None, name.as_ref(), b"", content.as_ref())
    }

    pub(crate) fn file_of_mode(self, name: &str, mode: u32) -> Self {
        self.member(b'0', Some(mode), name.as_bytes(), b"", b"x")
    }

    pub(crate) fn directory(self, name: impl AsRef<[u8]>) -> Self {
        self.member(b'5', None, name.as_ref(), b"", b"")
    }

    pub(crate) fn directory_of_mode(self, name: &str, mode: u32) -> Self {
        self.member(b'5', Some(mode), name.as_bytes(), b"", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.member(b'2', Some(0o777), name.as_bytes(), target.as_bytes(), b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.member(b'1', None, name.as_bytes(), target.as_bytes(), b"")
    }

    pub(crate) fn device(self, name: &str) -> Self {
        self.member(b'6', None, name.as_bytes(), b"", b"")
    }

    /// Adds GNU's header for a long name (`L`) or link target (`K`).
    pub(crate) fn long(self, kind: u8, name: &[u8]) -> Self {
        let name = [name, b"\0"].concat();
        self.raw(&header(kind, b"././@LongLink", b"", name.len() as u64))
            .content(&name)
    }

    /// Adds an extended header for the next member (`x`) or for all (`g`).
    pub(crate) fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records
            .iter()
            .flat_map(|(keyword, value)| record(keyword, value))
            .collect();
        self.raw(&header(kind, b"PaxHeaders/x", b"", data.len() as u64))
            .content(&data)
    }

    /// Completes the archive with two empty blocks.
    pub(crate) fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).bytes
    }

    /// Returns the archive without the two empty blocks.
    pub(crate) fn unterminated(self) -> Vec<u8> {
        self.bytes
    }
}
