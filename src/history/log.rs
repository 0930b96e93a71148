//! Reading `git log`: what it is asked, and its NUL-separated answer commit by commit.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    os::unix::ffi::OsStringExt,
    process::ChildStdout,
};

use crate::git::{Git, GitError, ObjectId, Stream};

const COMMAND: &str = "log";
const END: &str = "an end within a commit";

/// Id, parents, committer date and author's name, subject (git's own: the first paragraph on one
/// line), and the values of our trailer, a line each. The NUL behind the last field is that of `-z`.
const FORMAT: &str = "--format=tformat:%H%x00%P%x00%cI %an%x00%s%x00%(trailers:key=Repin-Set,valueonly,unfold,separator=%x0A)";

/// Said so that no configuration can say otherwise.
const PLAIN: &[&str] = &[
    "-z",
    "--encoding=UTF-8",
    "--no-color",
    "--no-notes",
    "--no-mailmap",
    "--no-show-signature",
    "--no-decorate",
];

/// Each commit against its first parent only, the first commit against nothing; every commit is
/// listed, whether or not it changed anything within the pathspecs.
const CHANGES: &[&str] = &[
    "--first-parent",
    "--reverse",
    "--sparse",
    "--root",
    "--diff-merges=first-parent",
    "--raw",
    "--no-abbrev",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-relative",
];

/// The most that is kept of one field, in bytes: a longer field is neither a path nor one of
/// repin's titles.
pub(super) const FIELD: usize = 64 * 1024;

/// One commit, as printed by `git log`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) id: ObjectId,
    pub(super) parents: Vec<ObjectId>,
    /// ISO 8601.
    pub(super) date: String,
    pub(super) author: String,
    pub(super) subject: Vec<u8>,
    /// The values of `Repin-Set` trailers, a line each.
    pub(super) trailers: Vec<u8>,
    /// What changed against the first parent, within the pathspecs.
    pub(super) changes: Vec<Change>,
}

/// A path of the repository and what it has become.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    /// The new content; `None` if it is no longer a regular file.
    pub(super) blob: Option<ObjectId>,
}

/// The first-parent line up to `tip`, oldest first, with what changed beneath `directories` (paths
/// of the repository; an empty one is all of it).
pub(super) fn line(git: &Git, tip: &ObjectId, directories: &[Vec<u8>]) -> Result<Log, GitError> {
    let mut args: Vec<OsString> = [PLAIN, CHANGES, &[FORMAT, "--end-of-options"]]
        .concat()
        .iter()
        .map(Into::into)
        .collect();
    args.extend([tip.to_string().into(), "--".into()]);
    args.extend(
        directories.iter().map(|directory| {
            OsString::from_vec([b":(top,literal)", directory.as_slice()].concat())
        }),
    );
    Log::new(git.stream(COMMAND, &args)?)
}

/// The first-parent lines up to `tips`, each commit once, with everything that changed.
pub(super) fn lines(git: &Git, tips: &[ObjectId]) -> Result<Log, GitError> {
    let mut args: Vec<OsString> = [PLAIN, CHANGES, &[FORMAT, "--end-of-options"]]
        .concat()
        .iter()
        .map(Into::into)
        .collect();
    args.extend(tips.iter().map(|tip| tip.to_string().into()));
    args.push("--".into());
    Log::new(git.stream(COMMAND, &args)?)
}

/// All commits that `tip` reaches and `old` does not, without their changes.
pub(super) fn all(git: &Git, tip: &ObjectId, old: &ObjectId) -> Result<Log, GitError> {
    let mut args: Vec<OsString> = [PLAIN, &[FORMAT, "--no-patch", "--end-of-options"]]
        .concat()
        .iter()
        .map(Into::into)
        .collect();
    args.extend([
        tip.to_string().into(),
        format!("^{old}").into(),
        "--".into(),
    ]);
    Log::new(git.stream(COMMAND, &args)?)
}

/// Commits as they come.
pub(super) struct Log {
    answer: Answer<BufReader<ChildStdout>>,
    stream: Stream,
}

impl Log {
    fn new(mut stream: Stream) -> Result<Self, GitError> {
        let fields = BufReader::with_capacity(64 * 1024, stream.stdout()?);
        let answer = Answer(fields);
        Ok(Self { answer, stream })
    }

    /// Passes on every commit; an error of `each` ends it.
    pub(super) fn each(
        mut self,
        mut each: impl FnMut(Commit) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        let mut cut = None;
        loop {
            match self.answer.next() {
                Ok(Some(commit)) => each(commit)?,
                Ok(None) => break,
                Err(error @ GitError::Malformed { what: END, .. }) => {
                    cut = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        // Where git ended too early, its own reason comes first.
        self.stream.finish()?;
        cut.map_or(Ok(()), Err)
    }
}

/// The text that git answers with, read commit by commit.
pub(super) struct Answer<R>(pub(super) R);

impl<R: BufRead> Answer<R> {
    /// The next commit; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Commit>, GitError> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let id = self.id()?;
        let parents = self.field()?;
        let parents = parents
            .split(|b| *b == b' ')
            .filter(|word| !word.is_empty())
            .map(parsed);
        let parents = parents.collect::<Result<_, _>>()?;
        let when_and_who = String::from_utf8_lossy(&self.field()?).into_owned();
        // A date has no blank.
        let (date, author) = when_and_who.split_once(' ').unwrap_or((&when_and_who, ""));
        let (date, author) = (date.to_owned(), author.to_owned());
        let (subject, trailers) = (self.field()?, self.field()?);
        let mut changes = Vec::new();
        // An object's name begins with neither.
        while matches!(self.peek()?, Some(b'\n' | b':')) {
            changes.push(self.change()?);
        }
        Ok(Some(Commit {
            id,
            parents,
            date,
            author,
            subject,
            trailers,
            changes,
        }))
    }

    /// `:OLDMODE NEWMODE OLDID NEWID STATUS`, a NUL, and the path (git-diff, "Raw output format").
    fn change(&mut self) -> Result<Change, GitError> {
        let head = self.field()?;
        let mut words = head.split(|b| *b == b' ');
        let regular = matches!(words.nth(1), Some(b"100644" | b"100755" | b"100664"));
        let id = parsed(words.nth(1).unwrap_or_default())?;
        let path = self.field()?;
        if path.is_empty() || path.len() == FIELD {
            return Err(malformed("a malformed path"));
        }
        Ok(Change {
            path,
            blob: regular.then_some(id),
        })
    }

    fn id(&mut self) -> Result<ObjectId, GitError> {
        parsed(&self.field()?)
    }

    fn peek(&mut self) -> Result<Option<u8>, GitError> {
        let buffer = self.0.fill_buf().map_err(|error| GitError::Io {
            command: COMMAND,
            error,
        })?;
        Ok(buffer.first().copied())
    }

    /// The bytes up to the next NUL, cut at [`FIELD`].
    fn field(&mut self) -> Result<Vec<u8>, GitError> {
        let mut field = Vec::new();
        loop {
            let buffer = self.0.fill_buf().map_err(|error| GitError::Io {
                command: COMMAND,
                error,
            })?;
            if buffer.is_empty() {
                return Err(malformed(END));
            }
            let end = memchr::memchr(0, buffer);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            field.extend_from_slice(&part[..part.len().min(FIELD - field.len())]);
            let used = part.len() + usize::from(end.is_some());
            self.0.consume(used);
            if end.is_some() {
                return Ok(field);
            }
        }
    }
}

fn parsed(text: &[u8]) -> Result<ObjectId, GitError> {
    ObjectId::parse(text).ok_or_else(|| malformed("a malformed object id"))
}

fn malformed(what: &'static str) -> GitError {
    GitError::Malformed {
        command: COMMAND,
        what,
    }
}
