//! The text of the journal: the set and the revision of a run, its files, their old and new digests, and
//! their new contents.
//!
//! This module writes and parses the text; `state` stores it. A stored journal is hostile: a path must
//! be below the root and must not belong to git or repin, lengths must fit the text, and every digest
//! must match.
//!
//! ```text
//! repin journal 2 <token> <number of files>
//! <length of set path> <length of revision>
//! <set path><revision>
//! <length of path> <old sha256> <new sha256> <length of content>
//! <path><content>
//! …
//! <sha256 of all preceding bytes>
//! ```
//!
//! Several sets may share a root, and so its journal. Version 1, which earlier builds wrote, lacks the
//! two lines about the set.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{self, Write},
    mem,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use crate::{
    base::files::{RelPath, is_reserved},
    config::SetPath,
    core::plan::FileChange,
    oci::{Digest, Hasher},
};

const HEADER: &str = "repin journal 2 ";
const HEADER_WITHOUT_SET: &str = "repin journal 1 ";

/// The set and the revision of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunIdentity {
    pub(crate) set_path: SetPath,
    /// `None` if the run does not change pins.
    pub(crate) revision: Option<String>,
}

/// The changes of one run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Journal<'a> {
    /// Makes the file names of the copies unique.
    token: u64,
    /// `None` in version 1.
    pub(super) run: Option<RunIdentity>,
    pub(super) items: Vec<Item<'a>>,
}

/// A changed file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) path: RelPath,
    pub(super) old: Digest,
    pub(super) new: Digest,
    pub(super) new_content: &'a [u8],
    /// The name of the copy next to the target: it contains the new content before the exchange, and
    /// the old content afterwards.
    pub(super) copy: String,
    /// The name of the hard link that keeps the old content where the file system cannot exchange two
    /// files in one step.
    pub(super) old_link: String,
}

impl Item<'_> {
    /// The target's name in its directory.
    pub(super) fn name(&self) -> &OsStr {
        self.path
            .as_path()
            .file_name()
            .expect("a RelPath has a file name")
    }

    /// The path of `name` in the target's directory.
    pub(super) fn sibling(&self, name: &str) -> RelPath {
        RelPath::new(&self.path.as_path().with_file_name(name))
            .expect("a sibling of a RelPath is a RelPath")
    }
}

impl<'a> Journal<'a> {
    pub(super) fn new(changes: &'a [FileChange], token: u64, run: RunIdentity) -> Self {
        let mut journal = Self {
            token,
            run: Some(run),
            items: Vec::new(),
        };
        for change in changes {
            let FileChange {
                path,
                old_sha256,
                new_sha256,
                new,
                ..
            } = change;
            journal.push(path.clone(), *old_sha256, *new_sha256, new);
        }
        journal
    }

    fn push(&mut self, path: RelPath, old: Digest, new: Digest, new_content: &'a [u8]) {
        let copy = format!(".repin-{:016x}-{}", self.token, self.items.len());
        self.items.push(Item {
            path,
            old,
            new,
            new_content,
            old_link: format!("{copy}-old"),
            copy,
        });
    }

    /// Writes the text.
    pub(super) fn write(&self, output: impl Write) -> io::Result<()> {
        let mut output = HashingWriter {
            inner: output,
            hasher: Hasher::default(),
        };
        let header = match &self.run {
            Some(_) => HEADER,
            None => HEADER_WITHOUT_SET,
        };
        writeln!(output, "{header}{:016x} {}", self.token, self.items.len())?;
        if let Some(RunIdentity { set_path, revision }) = &self.run {
            let set_path = set_path.file().as_bytes();
            let revision = revision.as_deref().unwrap_or_default().as_bytes();
            writeln!(output, "{} {}", set_path.len(), revision.len())?;
            output.write_all(set_path)?;
            output.write_all(revision)?;
            output.write_all(b"\n")?;
        }
        for item in &self.items {
            let path = item.path.as_bytes();
            let (old, new) = (item.old.hex(), item.new.hex());
            let (path_length, content_length) = (path.len(), item.new_content.len());
            writeln!(output, "{path_length} {old} {new} {content_length}")?;
            output.write_all(path)?;
            output.write_all(item.new_content)?;
            output.write_all(b"\n")?;
        }
        let checksum = mem::take(&mut output.hasher).finish().hex();
        writeln!(output.inner, "{checksum}")?;
        output.flush()
    }

    /// Parses the text. The error describes the defect.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        let body_length = text.len().checked_sub(CHECKSUM_LINE).ok_or(TRUNCATED)?;
        let (body, checksum) = text.split_at(body_length);
        if checksum != format!("{}\n", Digest::of(body).hex()).as_bytes() {
            return Err("the checksum is wrong".to_owned());
        }
        let mut parser = Parser { rest: body };
        let line = parser.line()?;
        let (header, has_set) = if let Some(header) = line.strip_prefix(HEADER) {
            (header, true)
        } else {
            let header = line.strip_prefix(HEADER_WITHOUT_SET);
            (header.ok_or("another version of repin wrote it")?, false)
        };
        let (token, count) = header.split_once(' ').ok_or(MALFORMED)?;
        let mut journal = Self {
            token: u64::from_str_radix(token, 16).map_err(|_| MALFORMED)?,
            run: if has_set { Some(parser.run()?) } else { None },
            items: Vec::new(),
        };
        let mut paths = BTreeSet::new();
        while !parser.rest.is_empty() {
            parser.item(&mut journal)?;
        }
        if count.parse() != Ok(journal.items.len()) {
            return Err("the number of files differs from its header".to_owned());
        }
        if !journal.items.iter().all(|item| paths.insert(&item.path)) {
            return Err("it lists a file twice".to_owned());
        }
        Ok(journal)
    }
}

/// The length of the last line.
const CHECKSUM_LINE: usize = 65;
const TRUNCATED: &str = "it ends early";
const MALFORMED: &str = "a line is malformed";

struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.bytes(end.ok_or(TRUNCATED)?)?;
        self.rest = &self.rest[1..];
        std::str::from_utf8(line).map_err(|_| MALFORMED.to_owned())
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn run(&mut self) -> Result<RunIdentity, String> {
        let (path_length, revision_length) = self.line()?.split_once(' ').ok_or(MALFORMED)?;
        let path_length = path_length.parse().map_err(|_| MALFORMED)?;
        let revision_length = revision_length.parse().map_err(|_| MALFORMED)?;
        let path = Path::new(OsStr::from_bytes(self.bytes(path_length)?));
        let set_path = SetPath::new(path).map_err(|error| error.to_string())?;
        let revision = std::str::from_utf8(self.bytes(revision_length)?);
        let revision = revision.map_err(|_| MALFORMED)?.to_owned();
        if !self.line()?.is_empty() {
            return Err(MALFORMED.to_owned());
        }
        Ok(RunIdentity {
            set_path,
            revision: (!revision.is_empty()).then_some(revision),
        })
    }

    fn item(&mut self, journal: &mut Journal<'a>) -> Result<(), String> {
        let fields: Vec<_> = self.line()?.split(' ').collect();
        let [path_length, old, new, content_length] = fields[..] else {
            return Err(MALFORMED.to_owned());
        };
        let path_length = path_length.parse().map_err(|_| MALFORMED)?;
        let content_length = content_length.parse().map_err(|_| MALFORMED)?;
        let old = Digest::from_hex(old).map_err(|_| MALFORMED)?;
        let new = Digest::from_hex(new).map_err(|_| MALFORMED)?;
        let path = parse_path(self.bytes(path_length)?)?;
        let content = self.bytes(content_length)?;
        if Digest::of(content) != new {
            return Err(format!(
                "the new content of {path} does not match its digest"
            ));
        }
        if !self.line()?.is_empty() {
            return Err(MALFORMED.to_owned());
        }
        journal.push(path, old, new, content);
        Ok(())
    }
}

/// Parses the path of a file that a plan may change: the scanner never enters the directories of git
/// and repin.
fn parse_path(bytes: &[u8]) -> Result<RelPath, String> {
    let path =
        RelPath::new(Path::new(OsStr::from_bytes(bytes))).map_err(|error| error.to_string())?;
    let mut names = path.as_bytes().split(|&byte| byte == b'/');
    if names.any(is_reserved) || path.as_bytes().contains(&0) {
        let bytes = String::from_utf8_lossy(bytes);
        return Err(format!("it lists {bytes}, which no plan changes"));
    }
    Ok(path)
}

/// Hashes the bytes that it writes.
struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &[u8], new: &[u8]) -> FileChange {
        FileChange {
            path: RelPath::new(Path::new(OsStr::from_bytes(path))).unwrap(),
            pins: 1,
            old: b"old".to_vec(),
            new: new.to_vec(),
            old_sha256: Digest::of(b"old"),
            new_sha256: Digest::of(new),
        }
    }

    fn run() -> RunIdentity {
        RunIdentity {
            set_path: SetPath::new(Path::new(OsStr::from_bytes(b"envs/\xff\n/repin.yaml")))
                .unwrap(),
            revision: Some("v1\n".to_owned()),
        }
    }

    /// A writer whose buffered bytes cannot be written.
    struct FullDisk;

    impl Write for FullDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn journal_in_a_buffer_is_not_written() {
        let changes = [change(b"a", b"new")];
        let written = Journal::new(&changes, 1, run()).write(FullDisk);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    fn text(changes: &[FileChange]) -> Vec<u8> {
        let mut text = Vec::new();
        Journal::new(changes, 0xfeed, run())
            .write(&mut text)
            .unwrap();
        text
    }

    fn with_checksum(body: &[u8]) -> Vec<u8> {
        [body, Digest::of(body).hex().as_bytes(), b"\n"].concat()
    }

    #[test]
    fn journal_with_arbitrary_bytes_round_trips() {
        let changes = [
            change(b"a/b\n c.yml", b"new\0\n\n"),
            change(b"\xff\xfe/d", b""),
            change(b"e", &[b'\n'; 100]),
        ];
        let text = text(&changes);
        assert_eq!(
            Journal::parse(&text).unwrap(),
            Journal::new(&changes, 0xfeed, run())
        );
    }

    #[test]
    fn journal_without_a_revision_round_trips() {
        let run = RunIdentity {
            revision: None,
            ..run()
        };
        let changes = [change(b"a", b"new")];
        let journal = Journal::new(&changes, 1, run.clone());
        let mut text = Vec::new();
        journal.write(&mut text).unwrap();
        assert_eq!(Journal::parse(&text).unwrap().run, Some(run));
    }

    #[test]
    fn journal_of_an_earlier_build_has_no_set() {
        let changes = [change(b"a", b"new")];
        let hex = |bytes: &[u8]| Digest::of(bytes).hex();
        let (old, new) = (hex(b"old"), hex(b"new"));
        let body = format!("repin journal 1 {:016x} 1\n1 {old} {new} 3\nanew\n", 0xfeed);
        let text = with_checksum(body.as_bytes());
        let parsed = Journal::parse(&text).unwrap();
        assert_eq!(parsed.run, None);
        assert_eq!(parsed.items, Journal::new(&changes, 0xfeed, run()).items);
        let mut written = Vec::new();
        parsed.write(&mut written).unwrap();
        assert_eq!(written, text);
    }

    #[test]
    fn truncated_or_changed_journal_is_refused() {
        let text = text(&[change(b"a", b"new"), change(b"b", b"newer")]);
        for end in 0..text.len() {
            assert!(Journal::parse(&text[..end]).is_err(), "cut at {end}");
        }
        for offset in 0..text.len() {
            let mut text = text.clone();
            text[offset] ^= 1;
            assert!(Journal::parse(&text).is_err(), "changed at {offset}");
        }
    }

    #[test]
    fn hostile_journal_with_valid_checksum_is_refused() {
        let hex = Digest::of(b"new").hex();
        let item = |path: &str| format!("{} {hex} {hex} 3\n{path}new\n", path.len());
        let journal =
            |items: &str| format!("repin journal 2 {:016x} 1\n10 1\nrepin.yamla\n{items}", 7);
        assert!(Journal::parse(&with_checksum(journal(&item("a")).as_bytes())).is_ok());
        let hostile = [
            "/etc/passwd",
            "../a",
            "a/../../b",
            ".",
            "",
            "a/.git/config",
            ".git",
            ".repin/lock",
            ".repin-1",
            "a\0b",
        ];
        for path in hostile {
            assert!(
                Journal::parse(&with_checksum(journal(&item(path)).as_bytes())).is_err(),
                "{path:?}"
            );
        }
        let malformed = [
            journal("").replace("repin journal 2", "repin journal 3"),
            journal(&item("a")).replace("repin journal 2", "repin journal 1"),
            journal(&item("a")).replace("10 1\n", "10\n"),
            journal(&item("a")).replace("10 1\n", "x 1\n"),
            journal(&item("a")).replace("10 1\n", "10 x\n"),
            journal(&item("a")).replace("10 1\n", "10 2\n"),
            journal(&item("a")).replace("10 1\n", "9 1\n"),
            journal(&item("a")).replace("10 1\n", "0 11\n"),
            journal(&item("a")).replace("10 1\n", "10 18446744073709551615\n"),
            journal(&item("a")).replace("repin.yaml", "../re.yaml"),
            journal(""),
            journal(&(item("a") + &item("b"))),
            journal(&(item("a") + &item("./a"))).replace(" 1\n", " 2\n"),
            journal(&item("a").replace("anew", "anow")),
            journal(&item("a").replace(" 3\n", " 99999999999999999999999\n")),
            journal(&item("a").replace(" 3\n", " 18446744073709551615\n")),
            journal(&item("a").replace(" 3\n", " 2\n")),
            journal(&item("a").replace(&hex, "abc")),
            "repin journal 2 7\n".to_owned(),
            String::new(),
        ];
        for text in malformed {
            assert!(
                Journal::parse(&with_checksum(text.as_bytes())).is_err(),
                "{text:?}"
            );
        }
    }
}
