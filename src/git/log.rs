//! Runs `git log` and parses its NUL-separated output commit by commit.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    os::unix::ffi::OsStringExt,
    process::ChildStdout,
    sync::Arc,
};

use super::{Git, GitError, LOG_OPTIONS, ObjectId, Stream};

const COMMAND: &str = "log";
const END: &str = "an end within a commit";

/// Id, parents, committer date and author's name, subject (the first paragraph on one line), and the
/// rest of the message. `-z` adds the NUL after the last field.
const FORMAT: &str = "--format=tformat:%H%x00%P%x00%cI %an%x00%s%x00%b";

/// Every commit, whether or not it changed a file of the pathspecs.
const REACHABLE_OPTIONS: &[&str] = &["--full-history", "--sparse"];

/// Compares each commit with its first parent only, and the first commit with the empty tree.
const CHANGE_OPTIONS: &[&str] = &[
    "--root",
    "--diff-merges=first-parent",
    "--raw",
    "--no-abbrev",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-relative",
];

/// The maximum length of a field in bytes. A longer field cannot be a path or a title of repin.
pub(crate) const MAX_FIELD: usize = 64 * 1024;
/// The maximum length of the text after the subject.
pub(crate) const MAX_BODY: usize = 16 * 1024 * 1024;

/// A commit that `git log` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) id: ObjectId,
    pub(crate) parents: Parents,
    pub(crate) info: CommitInfo,
    /// The lines of the message after the subject that may be trailers of repin.
    pub(crate) trailers: Vec<u8>,
    /// The changes since the first parent, within the pathspecs.
    pub(crate) changes: Vec<Change>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parents {
    pub(crate) first: Option<ObjectId>,
    pub(crate) others: Vec<ObjectId>,
}

/// The date, the author and the subject of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitInfo {
    /// `DATE AUTHOR`, then the subject, in one allocation that sets share, because a history has many commits.
    text: Arc<[u8]>,
    author_start: usize,
    subject_start: usize,
}

impl CommitInfo {
    pub(crate) fn new(date: &str, author: &str, subject: &[u8]) -> Self {
        let prefix = format!("{date} {author}");
        Self {
            author_start: date.len() + 1,
            subject_start: prefix.len(),
            text: [prefix.as_bytes(), subject].concat().into(),
        }
    }

    /// ISO 8601.
    pub(crate) fn date(&self) -> String {
        String::from_utf8_lossy(&self.text[..self.author_start - 1]).into_owned()
    }

    pub(crate) fn author(&self) -> String {
        String::from_utf8_lossy(&self.text[self.author_start..self.subject_start]).into_owned()
    }

    /// The first paragraph on one line.
    pub(crate) fn subject(&self) -> &[u8] {
        &self.text[self.subject_start..]
    }
}

/// A changed path of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: Vec<u8>,
    /// The new content; `None` if the path is no longer a regular file.
    pub(crate) blob: Option<ObjectId>,
}

/// The commits that a running `git log` prints.
pub(crate) struct Log {
    commits: LogParser<BufReader<ChildStdout>>,
    stream: Stream,
}

impl Log {
    /// Starts `git log` with these options and revisions, and paths after `--`.
    fn start(
        git: &Git,
        options: &[&str],
        revisions: impl IntoIterator<Item = String>,
        paths: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, GitError> {
        let options = [LOG_OPTIONS, options, &[FORMAT, "--end-of-options"]].concat();
        let options = options.iter().map(OsString::from);
        let revisions = revisions.into_iter().map(OsString::from);
        let paths = [OsString::from("--")].into_iter().chain(paths);
        let args: Vec<_> = options.chain(revisions).chain(paths).collect();
        let mut stream = git.stream(COMMAND, &args)?;
        let stdout = BufReader::with_capacity(64 * 1024, stream.stdout()?);
        Ok(Self {
            commits: LogParser::new(stdout),
            stream,
        })
    }

    /// Calls `each` with every commit until it returns an error.
    pub(crate) fn each(
        mut self,
        mut each: impl FnMut(Commit) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        loop {
            match self.commits.next() {
                Ok(Some(commit)) => each(commit)?,
                Ok(None) => return self.stream.finish(),
                Err(error @ GitError::Malformed { what: END, .. }) => {
                    // If git failed, its own message is the reason.
                    self.stream.finish()?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The commits that are reachable from `tip`, in any order, with the changes under `paths` (in the
/// repository; an empty path selects every file).
pub(crate) fn reachable(git: &Git, tip: &ObjectId, paths: &[Vec<u8>]) -> Result<Log, GitError> {
    let paths = paths
        .iter()
        .map(|path| OsString::from_vec([b":(top,literal)", path.as_slice()].concat()));
    let options = [REACHABLE_OPTIONS, CHANGE_OPTIONS].concat();
    Log::start(git, &options, [tip.to_string()], paths)
}

/// The commits that are reachable from `tip` and changed a file of the pathspecs, newest first.
pub(crate) fn changes(git: &Git, tip: &ObjectId, pathspecs: &[Vec<u8>]) -> Result<Log, GitError> {
    let paths = pathspecs.iter().cloned().map(OsString::from_vec);
    let options = [&["--full-history"], CHANGE_OPTIONS].concat();
    Log::start(git, &options, [tip.to_string()], paths)
}

/// The distinct commits that `tips` reach, with all changes.
pub(crate) fn all_changes(git: &Git, tips: &[ObjectId]) -> Result<Log, GitError> {
    let tips = tips.iter().map(ToString::to_string);
    Log::start(git, CHANGE_OPTIONS, tips, [])
}

/// The distinct commits that `tips` reach, without their changes.
pub(crate) fn messages(git: &Git, tips: &[ObjectId]) -> Result<Log, GitError> {
    let tips = tips.iter().map(ToString::to_string);
    Log::start(git, &["--no-patch"], tips, [])
}

/// The beginning of the keys of repin's trailers.
const TRAILER: &[u8] = b"repin-";

/// The lines of the text after a subject that may be trailers of repin.
pub(crate) fn trailer_lines(body: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for line in body.split(|byte| *byte == b'\n') {
        let start = line.get(..TRAILER.len()).unwrap_or_default();
        if start.eq_ignore_ascii_case(TRAILER) {
            lines.extend_from_slice(line);
            lines.push(b'\n');
        }
    }
    lines
}

/// Parses the output of `git log`.
pub(crate) struct LogParser<R> {
    reader: R,
    /// The last field.
    field: Vec<u8>,
}

impl<R: BufRead> LogParser<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            field: Vec::new(),
        }
    }

    /// The next commit; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Commit>, GitError> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let id = object_id(self.field()?)?;
        let words = self.field()?.split(|byte| *byte == b' ');
        let mut parents = words.filter(|word| !word.is_empty()).map(object_id);
        let parents = Parents {
            first: parents.next().transpose()?,
            others: parents.collect::<Result<_, _>>()?,
        };
        let mut text = String::from_utf8_lossy(self.field()?)
            .into_owned()
            .into_bytes();
        // A date contains no space.
        let date_end = memchr::memchr(b' ', &text).unwrap_or_else(|| {
            text.push(b' ');
            text.len() - 1
        });
        let subject_start = text.len();
        text.extend_from_slice(self.field()?);
        let info = CommitInfo {
            text: text.into(),
            author_start: date_end + 1,
            subject_start,
        };
        let trailers = trailer_lines(self.field_up_to(MAX_BODY)?);
        let mut changes = Vec::new();
        // An object id starts with another byte.
        while matches!(self.peek()?, Some(b'\n' | b':')) {
            changes.push(self.change()?);
        }
        Ok(Some(Commit {
            id,
            parents,
            info,
            trailers,
            changes,
        }))
    }

    /// `:OLDMODE NEWMODE OLDID NEWID STATUS`, a NUL, and the path (git-diff, "Raw output format").
    fn change(&mut self) -> Result<Change, GitError> {
        let mut words = self.field()?.split(|byte| *byte == b' ');
        let is_regular = matches!(words.nth(1), Some(b"100644" | b"100755" | b"100664"));
        let id = object_id(words.nth(1).unwrap_or_default())?;
        let path = self.field()?.to_vec();
        if path.is_empty() || path.len() == MAX_FIELD {
            return Err(malformed("a malformed path"));
        }
        Ok(Change {
            path,
            blob: is_regular.then_some(id),
        })
    }

    fn peek(&mut self) -> Result<Option<u8>, GitError> {
        let buffer = self.reader.fill_buf().map_err(|error| GitError::Io {
            command: COMMAND,
            error,
        })?;
        Ok(buffer.first().copied())
    }

    /// The bytes up to the next NUL, truncated at [`MAX_FIELD`].
    fn field(&mut self) -> Result<&[u8], GitError> {
        self.field_up_to(MAX_FIELD)
    }

    fn field_up_to(&mut self, max: usize) -> Result<&[u8], GitError> {
        let field = &mut self.field;
        field.clear();
        loop {
            let buffer = self.reader.fill_buf().map_err(|error| GitError::Io {
                command: COMMAND,
                error,
            })?;
            if buffer.is_empty() {
                return Err(malformed(END));
            }
            let end = memchr::memchr(0, buffer);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            field.extend_from_slice(&part[..part.len().min(max - field.len())]);
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                return Ok(&self.field);
            }
        }
    }
}

fn object_id(text: &[u8]) -> Result<ObjectId, GitError> {
    ObjectId::parse(text).ok_or_else(|| malformed("a malformed object id"))
}

fn malformed(what: &'static str) -> GitError {
    GitError::Malformed {
        command: COMMAND,
        what,
    }
}
