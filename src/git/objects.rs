//! The contents of objects, from one `git cat-file --batch`.
//!
//! Requests are sent in chunks that fit into an empty pipe, and all responses to a chunk are
//! consumed before the next one is sent. So the two processes cannot block each other with full
//! pipes.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    process::{ChildStdin, ChildStdout},
};

use super::{GitError, ObjectId, command::Running, is_regular};

/// The maximum number of requests of a chunk: POSIX guarantees 4096 bytes without blocking, and the
/// longest id has 64 digits and a newline.
const CHUNK: usize = 4096 / 65;

/// The maximum size of a commit, tag or tree, in bytes.
const MAX_OBJECT: u64 = 256 * 1024 * 1024;

const COMMAND: &str = "cat-file";
const END: &str = "the end of the output instead of an object";

/// Computes the result for an object, or `None`.
type Digest<T> = dyn FnMut(&ObjectId, &mut dyn Read) -> io::Result<Option<T>>;

/// A process that returns objects, and the digests of the requested contents.
pub(crate) struct Objects<T> {
    running: Running,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    digest: Box<Digest<T>>,
    pending: Vec<ObjectId>,
    digests: HashMap<ObjectId, T>,
}

/// An object of any kind.
#[derive(Debug)]
pub(crate) enum Object {
    /// The content of a file, which is not read.
    Blob,
    /// The entries of a directory.
    Tree(Vec<u8>),
    /// A commit, or an annotated tag: headers and a message.
    Text(Vec<u8>),
}

/// The header of a response.
struct Header {
    kind: String,
    size: u64,
}

impl<T> Objects<T> {
    pub(super) fn new(
        mut running: Running,
        digest: impl FnMut(&ObjectId, &mut dyn Read) -> io::Result<Option<T>> + 'static,
    ) -> Result<Self, GitError> {
        Ok(Self {
            stdin: Some(running.stdin()?),
            stdout: BufReader::with_capacity(64 * 1024, running.stdout()?),
            running,
            digest: Box::new(digest),
            pending: Vec::new(),
            digests: HashMap::new(),
        })
    }

    /// Requests the digest of a blob or an annotated tag.
    pub(crate) fn request(&mut self, id: ObjectId) -> Result<(), GitError> {
        self.pending.push(id);
        if self.pending.len() == CHUNK {
            self.read_pending()?;
        }
        Ok(())
    }

    /// The content of a blob; `None` if it is larger than `most` bytes.
    pub(crate) fn blob(&mut self, id: ObjectId, most: u64) -> Result<Option<Vec<u8>>, GitError> {
        self.read_pending()?;
        self.send(&[id])?;
        let size = self.content_size(&id)?;
        let mut bytes = Vec::new();
        if size > most {
            self.content(size, |_| Ok(()))?;
            return Ok(None);
        }
        self.content(size, |content| content.read_to_end(&mut bytes).map(drop))?;
        Ok(Some(bytes))
    }

    /// An object of any kind; `None` if it is missing in this clone.
    pub(crate) fn object(&mut self, id: ObjectId) -> Result<Option<Object>, GitError> {
        self.read_pending()?;
        self.send(&[id])?;
        let Some(Header { kind, size }) = self.header(&id)? else {
            return Ok(None);
        };
        if kind == "blob" {
            self.content(size, |_| Ok(()))?;
            return Ok(Some(Object::Blob));
        }
        if size > MAX_OBJECT {
            return Err(unexpected("a commit, tag or tree of more than 256 MiB"));
        }
        let mut bytes = Vec::new();
        self.content(size, |content| content.read_to_end(&mut bytes).map(drop))?;
        Ok(Some(match kind.as_str() {
            "tree" => Object::Tree(bytes),
            _ => Object::Text(bytes),
        }))
    }

    /// The regular file at a path from the top of the repository in the tree of a commit; `None` if there is no
    /// such file.
    pub(super) fn regular_file(
        &mut self,
        commit: ObjectId,
        path: &[u8],
    ) -> Result<Option<ObjectId>, GitError> {
        let mut next = commit;
        let mut entries = loop {
            match self.object(next)?.ok_or(GitError::Missing(next))? {
                Object::Text(text) => next = target(&text)?,
                Object::Tree(entries) => break entries,
                Object::Blob => return Err(unexpected("a commit without a tree")),
            }
        };
        let mut names = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            let Some(entry) = find_entry(&entries, name, commit.length())? else {
                return Ok(None);
            };
            if names.peek().is_none() {
                return Ok(Some(entry.id).filter(|_| is_regular(entry.mode)));
            }
            let id = entry.id;
            if entry.mode != b"40000" {
                return Ok(None);
            }
            entries = match self.object(id)?.ok_or(GitError::Missing(id))? {
                Object::Tree(entries) => entries,
                Object::Blob | Object::Text(_) => {
                    return Err(unexpected("a directory that is not a tree"));
                }
            };
        }
        Ok(None)
    }

    /// The digests of all requested contents that have one.
    pub(crate) fn finish(mut self) -> Result<HashMap<ObjectId, T>, GitError> {
        self.read_pending()?;
        self.stdin = None;
        self.running.finish(&[])?;
        Ok(self.digests)
    }

    fn read_pending(&mut self) -> Result<(), GitError> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        self.send(&pending)?;
        for id in pending {
            let size = self.content_size(&id)?;
            let mut content = self.stdout.by_ref().take(size);
            let digest = (self.digest)(&id, &mut content).map_err(io_error)?;
            self.digests.extend(digest.map(|digest| (id, digest)));
            let unread = content.limit();
            self.content(unread, |_| Ok(()))?;
        }
        Ok(())
    }

    fn send(&mut self, ids: &[ObjectId]) -> Result<(), GitError> {
        let mut lines = String::new();
        for id in ids {
            let _ = writeln!(lines, "{id}");
        }
        let sent = match &mut self.stdin {
            Some(stdin) => stdin.write_all(lines.as_bytes()),
            None => Err(io::Error::other("it has exited")),
        };
        sent.map_err(|error| self.exit_reason(io_error(error)))
    }

    /// The size of a blob or an annotated tag, from the header of its response.
    fn content_size(&mut self, id: &ObjectId) -> Result<u64, GitError> {
        match self.header(id)? {
            Some(Header { kind, size }) if kind == "blob" || kind == "tag" => Ok(size),
            Some(_) => Err(unexpected("an object other than a blob or a tag")),
            None => Err(GitError::Missing(*id)),
        }
    }

    /// Parses the first line of a response: `ID TYPE SIZE`, or `ID missing`.
    fn header(&mut self, id: &ObjectId) -> Result<Option<Header>, GitError> {
        let mut line = Vec::new();
        let mut start = self.stdout.by_ref().take(256);
        start.read_until(b'\n', &mut line).map_err(io_error)?;
        if line.is_empty() {
            return Err(self.exit_reason(unexpected(END)));
        }
        let line = String::from_utf8_lossy(&line);
        let mut words = line.trim_end().split(' ');
        if words.next() != Some(id.to_string().as_str()) {
            return Err(unexpected("a response for another object"));
        }
        let (kind, size) = (words.next(), words.next());
        match (kind, size.and_then(|size| size.parse().ok())) {
            (Some("missing"), None) => Ok(None),
            (Some(kind @ ("blob" | "tree" | "commit" | "tag")), Some(size)) => Ok(Some(Header {
                kind: kind.to_owned(),
                size,
            })),
            _ => Err(unexpected("an object of unknown type")),
        }
    }

    /// Consumes the remaining response: an object of `size` bytes and a newline.
    fn content(
        &mut self,
        size: u64,
        read: impl FnOnce(&mut dyn Read) -> io::Result<()>,
    ) -> Result<(), GitError> {
        let mut content = self.stdout.by_ref().take(size);
        read(&mut content).map_err(io_error)?;
        io::copy(&mut content, &mut io::sink()).map_err(io_error)?;
        // The newline is missing if the output was cut within the content.
        match self.stdout.read_exact(&mut [0]) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.exit_reason(unexpected(END))),
        }
    }

    /// The reason of git for its exit; `error` if git reports none.
    fn exit_reason(&mut self, error: GitError) -> GitError {
        self.stdin = None;
        self.running.finish(&[]).err().unwrap_or(error)
    }
}

fn io_error(error: io::Error) -> GitError {
    GitError::Io {
        command: COMMAND,
        error,
    }
}

fn unexpected(what: &'static str) -> GitError {
    GitError::Malformed {
        command: COMMAND,
        what,
    }
}

/// The target in the first line of a commit or a tag: `tree ID`, or `object ID`.
pub(super) fn target(text: &[u8]) -> Result<ObjectId, GitError> {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let id = line
        .strip_prefix(b"tree ")
        .or_else(|| line.strip_prefix(b"object "));
    id.and_then(ObjectId::parse)
        .ok_or(unexpected("a commit or tag without a target"))
}

/// An entry of a tree: `MODE NAME`, a NUL, the bytes of the id.
pub(super) struct TreeEntry<'t> {
    pub(super) mode: &'t [u8],
    pub(super) name: &'t [u8],
    pub(super) id: ObjectId,
}

impl<'t> TreeEntry<'t> {
    pub(super) fn split(rest: &mut &'t [u8], length: usize) -> Result<Self, GitError> {
        Self::parse(rest, length).ok_or(unexpected("a tree that cannot be read"))
    }

    /// Removes the first entry; `None` if it is malformed.
    fn parse(rest: &mut &'t [u8], length: usize) -> Option<Self> {
        let space = memchr::memchr(b' ', rest)?;
        let nul = memchr::memchr(0, rest)?;
        let end = nul + 1 + length;
        let entry = Self {
            mode: &rest[..space],
            name: rest.get(space + 1..nul)?,
            id: ObjectId::from_bytes(rest.get(nul + 1..end)?)?,
        };
        *rest = &rest[end..];
        Some(entry)
    }
}

/// The entry of a tree with this name.
fn find_entry<'t>(
    entries: &'t [u8],
    name: &[u8],
    length: usize,
) -> Result<Option<TreeEntry<'t>>, GitError> {
    let mut rest = entries;
    while !rest.is_empty() {
        let entry = TreeEntry::split(&mut rest, length)?;
        if entry.name == name {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}
