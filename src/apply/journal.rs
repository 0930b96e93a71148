//! The journal's text: which files a plan changes, from what to what, and the new bytes.
//!
//! Writing and parsing only; where it is kept, `state` knows. The text is hostile when it is read
//! back: a path is beneath the root and nothing of git's or repin's own, lengths are those of bytes
//! that are there, everything hashes.
//!
//! ```text
//! repin journal 1 <token> <number of files>
//! <length of path> <old sha256> <new sha256> <length of content>
//! <path><content>
//! …
//! <sha256 of all before>
//! ```

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use crate::{
    config::RelPath,
    files::is_reserved,
    oci::{Digest, Hasher},
    plan::FileChange,
};

const FIRST: &str = "repin journal 1 ";

/// All files of one run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Journal<'a> {
    /// Makes the names of this run's copies its own.
    token: u64,
    pub(super) items: Vec<Item<'a>>,
}

/// One file that changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) path: RelPath,
    pub(super) old: Digest,
    pub(super) new: Digest,
    /// The new content.
    pub(super) bytes: &'a [u8],
    /// The name beside the target that the new content is written to, and that the old one comes
    /// out at.
    pub(super) copy: String,
    /// The second name that keeps the old content where two files cannot be exchanged in one step.
    pub(super) spare: String,
}

impl Item<'_> {
    /// The target's name in its directory.
    pub(super) fn name(&self) -> &OsStr {
        self.path
            .as_path()
            .file_name()
            .expect("a RelPath is made of names")
    }

    /// The path of `name` beside the target.
    pub(super) fn beside(&self, name: &str) -> RelPath {
        RelPath::new(&self.path.as_path().with_file_name(name))
            .expect("a sibling of a RelPath is one")
    }
}

impl<'a> Journal<'a> {
    /// The journal of a plan.
    pub(super) fn of(changes: &'a [FileChange], token: u64) -> Self {
        let contents = changes
            .iter()
            .map(|c| (c.path.clone(), c.old_sha256, c.new_sha256, c.new.as_slice()));
        Self::new(token, contents.collect())
    }

    fn new(token: u64, contents: Vec<Change<'a>>) -> Self {
        let items = contents
            .into_iter()
            .enumerate()
            .map(|(place, (path, old, new, bytes))| {
                let copy = format!(".repin-{token:016x}-{place}");
                let spare = format!("{copy}-old");
                Item {
                    path,
                    old,
                    new,
                    bytes,
                    copy,
                    spare,
                }
            });
        Self {
            token,
            items: items.collect(),
        }
    }

    /// Writes the text.
    pub(super) fn write(&self, to: impl Write) -> io::Result<()> {
        let mut to = Hashing {
            to,
            hasher: Hasher::default(),
        };
        writeln!(to, "{FIRST}{:016x} {}", self.token, self.items.len())?;
        for Item {
            path,
            old,
            new,
            bytes,
            ..
        } in &self.items
        {
            let path = path.as_bytes();
            writeln!(
                to,
                "{} {} {} {}",
                path.len(),
                old.hex(),
                new.hex(),
                bytes.len()
            )?;
            to.write_all(path)?;
            to.write_all(bytes)?;
            to.write_all(b"\n")?;
        }
        let Hashing { mut to, hasher } = to;
        writeln!(to, "{}", hasher.finish().hex())?;
        to.flush()
    }

    /// Reads the text back; the error says what is wrong with it.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        let (body, sum) = text
            .len()
            .checked_sub(65)
            .map(|last| text.split_at(last))
            .ok_or(SHORT)?;
        if sum != format!("{}\n", Digest::of(body).hex()).as_bytes() {
            return Err("the checksum is wrong".to_owned());
        }
        let mut rest = Cursor(body);
        let first = rest
            .line()?
            .strip_prefix(FIRST)
            .ok_or("another version of repin wrote it")?;
        let (token, count) = first.split_once(' ').ok_or(SHAPE)?;
        let token = u64::from_str_radix(token, 16).map_err(|_| SHAPE)?;
        let mut contents = Vec::new();
        while !rest.0.is_empty() {
            contents.push(rest.file()?);
        }
        if count.parse() != Ok(contents.len()) {
            return Err("the number of files differs from its header".to_owned());
        }
        let paths: BTreeSet<_> = contents.iter().map(|(path, ..)| path.as_bytes()).collect();
        if paths.len() != contents.len() {
            return Err("it lists a file twice".to_owned());
        }
        Ok(Self::new(token, contents))
    }
}

const SHORT: &str = "it ends early";
const SHAPE: &str = "a line is malformed";

type Change<'a> = (RelPath, Digest, Digest, &'a [u8]);

/// What is still to be parsed.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.0.iter().position(|&byte| byte == b'\n').ok_or(SHORT)?;
        let line = std::str::from_utf8(&self.0[..end]).map_err(|_| SHAPE)?;
        self.0 = &self.0[end + 1..];
        Ok(line)
    }

    fn take(&mut self, length: &str) -> Result<&'a [u8], String> {
        let length: usize = length.parse().map_err(|_| SHAPE)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn file(&mut self) -> Result<Change<'a>, String> {
        let fields: Vec<_> = self.line()?.split(' ').collect();
        let [path, old, new, content] = fields[..] else {
            return Err(SHAPE.to_owned());
        };
        let digest = |digits| Digest::from_hex(digits).map_err(|_| SHAPE);
        let (path, old, new) = (checked(self.take(path)?)?, digest(old)?, digest(new)?);
        let bytes = self.take(content)?;
        if Digest::of(bytes) != new {
            return Err(format!(
                "the new content of {path} does not match its digest"
            ));
        }
        match self.line()? {
            "" => Ok((path, old, new, bytes)),
            _ => Err(SHAPE.to_owned()),
        }
    }
}

/// A path that a plan could have: nothing that the scanner never enters.
fn checked(path: &[u8]) -> Result<RelPath, String> {
    let shown = String::from_utf8_lossy(path);
    let path =
        RelPath::new(Path::new(OsStr::from_bytes(path))).map_err(|error| error.to_string())?;
    let ours = path.as_bytes().split(|&byte| byte == b'/').any(is_reserved);
    if ours || path.as_bytes().contains(&0) {
        return Err(format!("it lists {shown}, which no plan changes"));
    }
    Ok(path)
}

/// Hashes what passes through.
struct Hashing<W> {
    to: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
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

    fn text(changes: &[FileChange]) -> Vec<u8> {
        let mut text = Vec::new();
        Journal::of(changes, 0xfeed).write(&mut text).unwrap();
        text
    }

    /// The text with the right checksum after it.
    fn sealed(body: &[u8]) -> Vec<u8> {
        [body, Digest::of(body).hex().as_bytes(), b"\n"].concat()
    }

    #[test]
    fn journal_is_read_back_for_any_bytes() {
        let changes = [
            change(b"a/b\n c.yml", b"new\0\n\n"),
            change(b"\xff\xfe/d", b""),
            change(b"e", &[b'\n'; 100]),
        ];
        let text = text(&changes);
        assert_eq!(
            Journal::parse(&text).unwrap(),
            Journal::of(&changes, 0xfeed)
        );
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_noticed() {
        let text = text(&[change(b"a", b"new"), change(b"b", b"newer")]);
        for end in 0..text.len() {
            assert!(Journal::parse(&text[..end]).is_err(), "cut at {end}");
        }
        for at in 0..text.len() {
            let mut text = text.clone();
            text[at] ^= 1;
            assert!(Journal::parse(&text).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_journal_with_a_right_checksum_is_still_not_believed() {
        let hex = Digest::of(b"new").hex();
        let entry = |path: &str| format!("{} {hex} {hex} 3\n{path}new\n", path.len());
        let one = |entry: &str| format!("repin journal 1 {:016x} 1\n{entry}", 7);
        assert!(Journal::parse(&sealed(one(&entry("a")).as_bytes())).is_ok());
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
                Journal::parse(&sealed(one(&entry(path)).as_bytes())).is_err(),
                "{path:?}"
            );
        }
        let malformed = [
            one("").replace("repin journal 1", "repin journal 2"),
            one(""),
            one(&(entry("a") + &entry("b"))),
            one(&(entry("a") + &entry("./a"))).replace(" 1\n", " 2\n"),
            one(&entry("a").replace("anew", "anow")),
            one(&entry("a").replace(" 3\n", " 99999999999999999999999\n")),
            one(&entry("a").replace(" 3\n", " 18446744073709551615\n")),
            one(&entry("a").replace(" 3\n", " 2\n")),
            one(&entry("a").replace(&hex, "abc")),
            "repin journal 1 7\n".to_owned(),
            String::new(),
        ];
        for text in malformed {
            assert!(
                Journal::parse(&sealed(text.as_bytes())).is_err(),
                "{text:?}"
            );
        }
    }
}
