//! Objects, from `git cat-file --batch`: all queries of a repository share one process.
//!
//! Requests are sent in chunks that fit into an empty pipe, and all responses to a chunk are
//! consumed before the next one is sent. So the two processes cannot block each other with full
//! pipes.
//!
//! The files in the tree of a commit.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fmt::{self, Write as _},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{ChildStdin, ChildStdout},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Git, GitError, ObjectId,
    command::{Mode, Running},
    is_regular,
};
use crate::base::files::{Globs, RelPath, Snapshot};

/// The maximum number of requests of a chunk: POSIX guarantees 4096 bytes without blocking, and the
/// longest id has 64 digits and a newline.
const CHUNK: usize = 4096 / 65;

/// The maximum size of a commit, tag or tree, in bytes.
const MAX_OBJECT: u64 = 256 * 1024 * 1024;

const CAT_FILE: &str = "cat-file";
const END: &str = "the end of the output instead of an object";

/// The idle process of a repository, if one was started. Each start costs more than most queries.
pub(super) type IdleProcess = Arc<Mutex<Option<CatFile>>>;

/// A file in a commit's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeFile {
    Content(Vec<u8>),
    /// The path is missing, or not a regular file.
    Absent,
    /// Larger than was requested.
    TooLarge,
}

/// An object of any kind.
#[derive(Debug)]
pub(crate) enum Object {
    /// The content of a file, which is not read.
    Blob,
    /// The entries of a directory.
    Tree(Vec<u8>),
    /// A commit: headers and a message.
    Commit(Vec<u8>),
    /// An annotated tag: headers and a message.
    Tag(Vec<u8>),
}

impl Git {
    /// Sends queries to a process, which is reused unless a query fails: its output may be incomplete or unread.
    fn cat_file<T>(
        &self,
        query: impl FnOnce(&mut CatFile) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let known = idle().take().and_then(CatFile::if_running);
        let mut process = match known {
            Some(process) => process,
            None => CatFile::new(self.start(CAT_FILE, &["--batch".into()], Mode::Input)?)?,
        };
        let result = query(&mut process)?;
        *idle() = Some(process);
        Ok(result)
    }

    /// Whether this clone contains the commit.
    pub(crate) fn has_commit(&self, commit: &ObjectId) -> Result<bool, GitError> {
        match self.object(*commit) {
            Ok(object) => Ok(matches!(object, Some(Object::Commit(_)))),
            // git before 2.44 tries to fetch a missing object of a partial clone, which is not allowed.
            Err(GitError::Failed { .. }) if self.is_partial()? => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The file at `path` below the root in the tree of `commit`, if it has at most `most` bytes.
    pub(crate) fn file(
        &self,
        commit: &ObjectId,
        path: &RelPath,
        most: u64,
    ) -> Result<TreeFile, GitError> {
        let whole = [self.prefix(), path.as_bytes()].concat();
        let Some(blob) = self.regular_file(*commit, &whole)? else {
            return Ok(TreeFile::Absent);
        };
        let content = self.blob(blob, most)?;
        Ok(content.map_or(TreeFile::TooLarge, TreeFile::Content))
    }

    /// The content of a blob; `None` if it is larger than `most` bytes.
    pub(crate) fn blob(&self, id: ObjectId, most: u64) -> Result<Option<Vec<u8>>, GitError> {
        match self.present_blob(id, most) {
            Err(GitError::Missing(_)) if self.fetch_missing(&[id])? => self.present_blob(id, most),
            read => read,
        }
    }

    fn present_blob(&self, id: ObjectId, most: u64) -> Result<Option<Vec<u8>>, GitError> {
        self.cat_file(|process| {
            process.send(&[id])?;
            let Some(size) = process.content_size(&id)? else {
                // Its response is complete: the process stays.
                return Ok(Err(GitError::Missing(id)));
            };
            let mut bytes = Vec::new();
            if size > most {
                process.content(size, |_| Ok(()))?;
                return Ok(Ok(None));
            }
            process.content(size, |content| content.read_to_end(&mut bytes).map(drop))?;
            Ok(Ok(Some(bytes)))
        })?
    }

    /// An object of any kind; `None` if it is missing in this clone.
    pub(crate) fn object(&self, id: ObjectId) -> Result<Option<Object>, GitError> {
        self.cat_file(|process| {
            process.send(&[id])?;
            let Some(Header { kind, size }) = process.header(&id)? else {
                return Ok(None);
            };
            if kind == Kind::Blob {
                process.content(size, |_| Ok(()))?;
                return Ok(Some(Object::Blob));
            }
            if size > MAX_OBJECT {
                return Err(unexpected("a commit, tag or tree of more than 256 MiB"));
            }
            let mut bytes = Vec::new();
            process.content(size, |content| content.read_to_end(&mut bytes).map(drop))?;
            Ok(Some(match kind {
                Kind::Blob => Object::Blob,
                Kind::Tree => Object::Tree(bytes),
                Kind::Commit => Object::Commit(bytes),
                Kind::Tag => Object::Tag(bytes),
            }))
        })
    }

    /// The object that an expression of git names, such as `HEAD^{commit}` (gitrevisions(7)); `None` if there is none here.
    pub(super) fn resolve(&self, expression: &str) -> Result<Option<ObjectId>, GitError> {
        self.cat_file(|process| {
            process.send(&[expression])?;
            let line = process.line()?;
            let mut words = line.split(' ');
            let Some(id) = words
                .next()
                .and_then(|word| ObjectId::parse(word.as_bytes()))
            else {
                return Ok(None);
            };
            let Some(header) = Header::parse(words)? else {
                return Ok(None);
            };
            process.content(header.size, |_| Ok(()))?;
            Ok(Some(id))
        })
    }

    /// The regular file at a path from the top of the repository in the tree of a commit; `None` if there is no
    /// such file.
    pub(crate) fn regular_file(
        &self,
        commit: ObjectId,
        path: &[u8],
    ) -> Result<Option<ObjectId>, GitError> {
        let mut next = commit;
        let mut entries = loop {
            match self.object(next)?.ok_or(GitError::Missing(next))? {
                Object::Commit(text) | Object::Tag(text) => next = target(&text)?,
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
                _ => return Err(unexpected("a directory that is not a tree")),
            };
        }
        Ok(None)
    }

    /// Requests for many objects; `digest` computes a result from each content.
    pub(crate) fn objects<T>(
        &self,
        mut digest: impl FnMut(&mut dyn Read) -> io::Result<Option<T>> + 'static,
    ) -> Objects<T> {
        self.objects_by_id(move |_, content| digest(content))
    }

    /// Like [`Self::objects`], for a digest that depends on the id.
    pub(crate) fn objects_by_id<T>(
        &self,
        digest: impl FnMut(&ObjectId, &mut dyn Read) -> io::Result<Option<T>> + 'static,
    ) -> Objects<T> {
        Objects {
            git: self.clone(),
            digest: Box::new(digest),
            pending: Vec::new(),
            absent: Vec::new(),
            digests: HashMap::new(),
        }
    }
}

/// Computes the result for an object, or `None`.
type Digest<T> = dyn FnMut(&ObjectId, &mut dyn Read) -> io::Result<Option<T>>;

/// The digests of the requested contents.
pub(crate) struct Objects<T> {
    git: Git,
    digest: Box<Digest<T>>,
    pending: Vec<ObjectId>,
    /// Requested contents that are missing here and will be fetched together.
    absent: Vec<ObjectId>,
    digests: HashMap<ObjectId, T>,
}

impl<T> Objects<T> {
    /// Requests the digest of a blob or an annotated tag.
    pub(crate) fn request(&mut self, id: ObjectId) -> Result<(), GitError> {
        self.pending.push(id);
        if self.pending.len() == CHUNK {
            self.read_pending()?;
        }
        Ok(())
    }

    /// The digests of all requested contents that have one.
    pub(crate) fn finish(mut self) -> Result<HashMap<ObjectId, T>, GitError> {
        self.read_pending()?;
        let absent = std::mem::take(&mut self.absent);
        if !absent.is_empty() {
            self.git.fetch_missing(&absent)?;
            self.git.source = None;
            for id in absent {
                self.request(id)?;
            }
            self.read_pending()?;
        }
        Ok(self.digests)
    }

    fn read_pending(&mut self) -> Result<(), GitError> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let (digest, digests, absent) = (&mut self.digest, &mut self.digests, &mut self.absent);
        let has_source = self.git.source.is_some();
        self.git.cat_file(|process| {
            process.send(&pending)?;
            for id in pending {
                let Some(size) = process.content_size(&id)? else {
                    if !has_source {
                        return Err(GitError::Missing(id));
                    }
                    absent.push(id);
                    continue;
                };
                let read = |content: &mut dyn Read| {
                    digests.extend(digest(&id, content)?.map(|digest| (id, digest)));
                    Ok(())
                };
                process.content(size, read)?;
            }
            Ok(())
        })
    }
}

/// A process that returns objects.
#[derive(Debug)]
pub(super) struct CatFile {
    running: Running,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blob,
    Tree,
    Commit,
    Tag,
}

/// The header of a response.
struct Header {
    kind: Kind,
    size: u64,
}

impl Header {
    /// Parses the words after the id: `TYPE SIZE`, or `missing`.
    fn parse<'w>(mut words: impl Iterator<Item = &'w str>) -> Result<Option<Self>, GitError> {
        let kind = match words.next() {
            Some("missing") => return Ok(None),
            Some("blob") => Some(Kind::Blob),
            Some("tree") => Some(Kind::Tree),
            Some("commit") => Some(Kind::Commit),
            Some("tag") => Some(Kind::Tag),
            _ => None,
        };
        let size = words.next().and_then(|size| size.parse().ok());
        match (kind, size) {
            (Some(kind), Some(size)) => Ok(Some(Self { kind, size })),
            _ => Err(unexpected("an object of unknown type")),
        }
    }
}

impl CatFile {
    fn new(mut running: Running) -> Result<Self, GitError> {
        Ok(Self {
            stdin: Some(running.stdin()?),
            stdout: BufReader::with_capacity(64 * 1024, running.stdout()?),
            running,
        })
    }

    /// `None` if a signal to the process group ended it.
    fn if_running(mut self) -> Option<Self> {
        self.running.is_running().then_some(self)
    }

    fn send(&mut self, names: &[impl fmt::Display]) -> Result<(), GitError> {
        let mut lines = String::new();
        for name in names {
            let _ = writeln!(lines, "{name}");
        }
        let sent = match &mut self.stdin {
            Some(stdin) => stdin.write_all(lines.as_bytes()),
            None => Err(io::Error::other("it has exited")),
        };
        sent.map_err(|error| self.exit_reason(io_error(error)))
    }

    /// The size of a blob or an annotated tag, from the header of its response; `None` if it is missing.
    fn content_size(&mut self, id: &ObjectId) -> Result<Option<u64>, GitError> {
        match self.header(id)? {
            Some(Header {
                kind: Kind::Blob | Kind::Tag,
                size,
            }) => Ok(Some(size)),
            Some(_) => Err(unexpected("an object other than a blob or a tag")),
            None => Ok(None),
        }
    }

    /// The header of the response for an id; `None` if the object is missing.
    fn header(&mut self, id: &ObjectId) -> Result<Option<Header>, GitError> {
        let line = self.line()?;
        let mut words = line.split(' ');
        if words.next() != Some(id.to_string().as_str()) {
            return Err(unexpected("a response for another object"));
        }
        Header::parse(words)
    }

    /// The first line of a response.
    fn line(&mut self) -> Result<String, GitError> {
        let mut line = Vec::new();
        let mut start = self.stdout.by_ref().take(256);
        start.read_until(b'\n', &mut line).map_err(io_error)?;
        if line.is_empty() {
            return Err(self.exit_reason(unexpected(END)));
        }
        Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
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
        command: CAT_FILE,
        error,
    }
}

fn unexpected(what: &'static str) -> GitError {
    GitError::Malformed {
        command: CAT_FILE,
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

const LS_TREE: &str = "ls-tree";
/// The maximum size of an entry, in bytes.
const MAX_ENTRY: u64 = 64 * 1024;

/// The files below the root that globs match in the tree of a commit.
#[derive(Debug)]
pub(crate) struct FilesAt {
    pub(crate) files: Snapshot,
    /// The first file that was not read because of its size.
    pub(crate) too_large: Option<RelPath>,
}

impl Git {
    /// The files that `globs` match in the tree of `commit`, each of at most `most` bytes.
    pub(crate) fn files_at(
        &self,
        commit: &ObjectId,
        globs: &Globs,
        most: u64,
    ) -> Result<FilesAt, GitError> {
        let mut found = FilesAt {
            files: Snapshot::default(),
            too_large: None,
        };
        let mut wanted = Vec::new();
        self.entries(commit, |mode, id, path| {
            let Some(path) = path.strip_prefix(self.prefix()) else {
                return;
            };
            let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(path))) else {
                return;
            };
            if mode.starts_with(b"100") {
                found.files.note_chart(&path);
            }
            if !Snapshot::lists(globs, &path) {
                return;
            }
            match mode {
                mode if is_regular(mode) => wanted.push((path, id)),
                b"120000" => found.files.insert_symlink(path),
                _ => {}
            }
        })?;
        if self.source.is_some() {
            let ids: Vec<_> = wanted.iter().map(|(_, id)| *id).collect();
            self.fetch_missing(&self.missing(&ids)?)?;
        }
        for (path, id) in wanted {
            match self.blob(id, most)? {
                Some(content) => found.files.insert(path, content),
                None => found.too_large = found.too_large.or(Some(path)),
            }
        }
        Ok(found)
    }

    /// Visits each regular file in the tree of `commit`, with the id of its content. The path begins at
    /// the top of the repository.
    pub(crate) fn regular_files(
        &self,
        commit: &ObjectId,
        mut visit: impl FnMut(RelPath, ObjectId),
    ) -> Result<(), GitError> {
        self.entries(commit, |mode, id, path| {
            if is_regular(mode)
                && let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(path)))
            {
                visit(path, id);
            }
        })
    }

    /// Visits the mode, the id and the path of every entry of a tree except directories: `MODE TYPE ID`,
    /// a tab, the path, a NUL.
    pub(super) fn entries(
        &self,
        commit: &ObjectId,
        mut visit: impl FnMut(&[u8], ObjectId, &[u8]),
    ) -> Result<(), GitError> {
        let args = ["-r", "-z", "--full-tree"].map(OsString::from);
        let args = [&args[..], &[commit.to_string().into()]].concat();
        let mut running = self.start(LS_TREE, &args, Mode::Read)?;
        let mut listed = BufReader::with_capacity(64 * 1024, running.stdout()?);
        let mut entry = Vec::new();
        loop {
            entry.clear();
            let read = listed.by_ref().take(MAX_ENTRY).read_until(0, &mut entry);
            if read.map_err(|error| running.io(error))? == 0 {
                break;
            }
            let malformed = || GitError::Malformed {
                command: LS_TREE,
                what: "a malformed entry",
            };
            let entry = entry.strip_suffix(&[0]).ok_or_else(malformed)?;
            let tab = memchr::memchr(b'\t', entry).ok_or_else(malformed)?;
            let mut words = entry[..tab].split(|b| *b == b' ');
            let (mode, id) = (
                words.next().unwrap_or_default(),
                words.nth(1).and_then(ObjectId::parse),
            );
            visit(mode, id.ok_or_else(malformed)?, &entry[tab + 1..]);
        }
        running.finish(&[]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::tests::{git, id};

    #[test]
    fn process_is_shared_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        git(path, &["init", "-q"]);
        std::fs::write(path.join("a"), "first").unwrap();
        git(path, &["add", "a"]);
        git(path, &["commit", "-q", "-m", "x"]);
        git(path, &["tag", "-a", "-m", "x", "v1"]);
        let [commit, tag, blob] = ["HEAD", "v1", "HEAD:a"].map(|name| id(path, name));
        let absent = ObjectId::parse(&[b'1'; 40]).unwrap();
        let repository = Git::open(path).unwrap();
        let process = || {
            repository
                .idle
                .lock()
                .unwrap()
                .as_ref()
                .map(|p| p.running.id())
        };

        assert!(repository.has_commit(&commit).unwrap());
        let first = process();
        for other in [tag, blob, absent] {
            assert!(!repository.has_commit(&other).unwrap(), "{other}");
        }
        assert_eq!(repository.blob(blob, 5).unwrap().unwrap(), b"first");
        assert_eq!(repository.blob(blob, 4).unwrap(), None);
        let elsewhere = repository.with_prefix(b"deep/".to_vec());
        assert!(elsewhere.has_commit(&commit).unwrap());
        assert_eq!(process(), first);

        assert!(matches!(
            repository.blob(absent, 5),
            Err(GitError::Missing(_))
        ));
        assert_eq!(process(), first);
        let mut objects = repository.objects(|_| Err::<Option<()>, _>(io::Error::other("x")));
        objects.request(blob).unwrap();
        assert!(objects.finish().is_err());
        assert_eq!(process(), None, "a failed query may leave a response");

        assert!(repository.has_commit(&commit).unwrap());
        repository
            .idle
            .lock()
            .unwrap()
            .as_mut()
            .unwrap()
            .running
            .stop();
        assert!(repository.has_commit(&commit).unwrap());
    }
}
