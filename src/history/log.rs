//! Reading `git log`: what it is asked, and its NUL-separated answer commit by commit.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Cursor, Read},
    mem,
    os::unix::ffi::{OsStrExt, OsStringExt},
    panic::resume_unwind,
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread,
};

use super::kept::{Keep, Keeping, Kept};
use crate::{
    git::{Git, GitError, ObjectId, Stream},
    oci::Digest,
};

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

/// The most that is read of what is new since an answer that was kept, in bytes; little in a debug build, so that a
/// test reaches it.
const NEWER: u64 = if cfg!(debug_assertions) {
    64 * 1024
} else {
    16 * 1024 * 1024
};

/// The size of a batch of commits, in bytes: about 300 commits.
const BATCH: usize = 64 * 1024;

/// The number of batches that are read ahead.
const AHEAD: usize = 4;

/// One commit, as printed by `git log`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) id: ObjectId,
    pub(super) parents: Parents,
    pub(super) said: Said,
    /// The values of `Repin-Set` trailers, a line each.
    pub(super) trailers: Vec<u8>,
    /// What changed against the first parent, within the pathspecs.
    pub(super) changes: Vec<Change>,
}

/// The parents of a commit: most have one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parents {
    pub(super) first: Option<ObjectId>,
    pub(super) others: Vec<ObjectId>,
}

/// When a commit was made, by whom, and its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// `DATE AUTHOR`, then the subject: one piece, since a history has many.
    text: Box<[u8]>,
    /// Where the author's name begins.
    author: usize,
    /// Where the subject begins.
    subject: usize,
}

impl Parents {
    /// All of them, in the commit's order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &ObjectId> {
        self.first.iter().chain(&self.others)
    }
}

impl Commit {
    /// The memory that the commit takes, approximately, in bytes.
    fn size(&self) -> usize {
        let paths = self.changes.iter().map(|change| change.path.len());
        let changes = paths.map(|path| size_of::<Change>() + path).sum::<usize>();
        let parents = self.parents.others.len() * size_of::<ObjectId>();
        size_of::<Self>() + parents + self.said.text.len() + self.trailers.len() + changes
    }
}

impl Said {
    pub(super) fn new(date: &str, author: &str, subject: &[u8]) -> Self {
        let who = format!("{date} {author}");
        Self {
            author: date.len() + 1,
            subject: who.len(),
            text: [who.as_bytes(), subject].concat().into(),
        }
    }

    /// ISO 8601.
    pub(super) fn date(&self) -> String {
        String::from_utf8_lossy(&self.text[..self.author - 1]).into_owned()
    }

    pub(super) fn author(&self) -> String {
        String::from_utf8_lossy(&self.text[self.author..self.subject]).into_owned()
    }

    /// Git's own: the first paragraph on one line.
    pub(super) fn subject(&self) -> &[u8] {
        &self.text[self.subject..]
    }
}

/// A path of the repository and what it has become.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    /// The new content; `None` if it is no longer a regular file.
    pub(super) blob: Option<ObjectId>,
}

/// A question about the commits up to a tip.
struct Question {
    /// What comes before the tip on the command line.
    before: Vec<OsString>,
    /// And behind it.
    behind: Vec<OsString>,
}

impl Question {
    fn new(options: &[&[&str]]) -> Self {
        let all = [PLAIN, &options.concat(), &[FORMAT, "--end-of-options"]].concat();
        Self {
            before: all.iter().map(Into::into).collect(),
            behind: Vec::new(),
        }
    }

    fn stream(
        &self,
        git: &Git,
        tip: &ObjectId,
        without: Option<&ObjectId>,
    ) -> Result<Stream, GitError> {
        let mut args = self.before.clone();
        args.push(tip.to_string().into());
        args.extend(without.map(|commit| format!("^{commit}").into()));
        args.extend_from_slice(&self.behind);
        git.stream(COMMAND, &args)
    }

    /// What the answer depends on besides the tip.
    fn digest(&self, git: &Git) -> Digest {
        let mut text = env!("CARGO_PKG_VERSION").as_bytes().to_vec();
        for arg in self.before.iter().chain(&self.behind) {
            text.push(0);
            text.extend_from_slice(arg.as_bytes());
        }
        for boundary in git.boundaries() {
            text.extend_from_slice(format!("\0{boundary}").as_bytes());
        }
        Digest::of(&text)
    }

    /// Asks for what is new since the answer that was kept. `follows` tells whether what is new begins right
    /// after the tip of that answer.
    fn ask(
        self,
        git: &Git,
        keep: &Keep,
        tip: &ObjectId,
        follows: impl FnOnce(&ObjectId, &[u8]) -> bool,
    ) -> Result<Log, GitError> {
        let digest = self.digest(git);
        let store = |before| Store {
            keep: keep.clone(),
            question: digest,
            tip: *tip,
            before,
        };
        if let Some(kept) = keep.load(&digest)
            && let Some(end) = kept.tip
        {
            let newer = if end == *tip {
                Some(Vec::new())
            } else {
                let newer = self.newer(git, tip, &end);
                newer.filter(|newer| follows(&end, newer))
            };
            if let Some(newer) = newer
                && let Ok(source) = Source::of_kept(&kept, newer)
            {
                return Ok(Log::new(source, None, Some(store(Some(kept)))));
            }
        }
        let mut stream = self.stream(git, tip, None)?;
        let source = Source::of_git(stream.stdout()?);
        Ok(Log::new(source, Some(stream), Some(store(None))))
    }

    /// What git says of the commits since `end`, if that is known here and it is not too much.
    fn newer(&self, git: &Git, tip: &ObjectId, end: &ObjectId) -> Option<Vec<u8>> {
        let mut stream = self.stream(git, tip, Some(end)).ok()?;
        let mut newer = Vec::new();
        let stdout = stream.stdout().ok()?;
        let read = stdout.take(NEWER).read_to_end(&mut newer).ok()?;
        if read as u64 == NEWER {
            return None;
        }
        stream.finish().ok()?;
        Some(newer)
    }
}

/// Commits as they come.
pub(super) struct Log {
    answer: Answer<BufReader<Source>>,
    stream: Option<Stream>,
    store: Option<Store>,
}

/// An answer, first what was kept of it.
struct Source {
    kept: Option<Box<dyn Read + Send>>,
    newer: Box<dyn Read + Send>,
    /// A copy of what is newer.
    keeping: Option<Keeping>,
}

/// Where an answer is to be kept.
struct Store {
    keep: Keep,
    question: Digest,
    tip: ObjectId,
    before: Option<Kept>,
}

impl Source {
    fn of_git(stdout: impl Read + Send + 'static) -> Self {
        Self {
            kept: None,
            newer: Box::new(stdout),
            keeping: None,
        }
    }

    fn of_kept(kept: &Kept, newer: Vec<u8>) -> io::Result<Self> {
        Ok(Self {
            kept: Some(Box::new(kept.bytes()?)),
            newer: Box::new(Cursor::new(newer)),
            keeping: None,
        })
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(kept) = &mut self.kept {
            let read = kept.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.kept = None;
        }
        let read = self.newer.read(buffer)?;
        if let Some(keeping) = &mut self.keeping {
            keeping.add(&buffer[..read])?;
            if keeping.is_too_long() {
                self.keeping = None;
            }
        }
        Ok(read)
    }
}

impl Log {
    fn new(mut source: Source, stream: Option<Stream>, store: Option<Store>) -> Self {
        // Where no copy can be made, none is kept.
        source.keeping = store.as_ref().and_then(|_| Keeping::new().ok());
        Self {
            answer: Answer::new(BufReader::with_capacity(64 * 1024, source)),
            stream,
            store,
        }
    }

    /// Calls `each` with every commit until it returns an error. A second thread parses the answer meanwhile.
    pub(super) fn each(
        self,
        mut each: impl FnMut(Commit) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        let Self {
            mut answer,
            stream,
            store,
        } = self;
        let (source, read) = thread::scope(|scope| {
            let (sender, batches) = sync_channel(AHEAD);
            let (used, unused) = channel();
            let reading = scope.spawn(move || {
                let read = answer.send(&sender, &unused);
                (answer.from.into_inner(), read)
            });
            for mut batch in batches {
                batch.drain(..).try_for_each(&mut each)?;
                // After the last batch, the thread has ended.
                let _ = used.send(batch);
            }
            Ok(reading.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        let misread = |error| {
            // The kept answer may be the cause, so the next run asks git for everything.
            if let Some(store) = &store {
                store.keep.forget(&store.question);
            }
            error
        };
        let cut = match read {
            Ok(()) => None,
            Err(error @ GitError::Malformed { what: END, .. }) => Some(error),
            Err(error) => return Err(misread(error)),
        };
        // Where git ended too early, its own reason comes first.
        stream.map_or(Ok(()), Stream::finish)?;
        if let Some(cut) = cut {
            return Err(misread(cut));
        }
        if let (Some(store), Some(keeping)) = (store, source.keeping) {
            let Store {
                keep,
                question,
                tip,
                before,
            } = store;
            keep.store(&question, Some(&tip), before.as_ref(), keeping);
        }
        Ok(())
    }
}

/// The first-parent line up to `tip`, oldest first, with what changed beneath `directories` (paths
/// of the repository; an empty one is all of it).
pub(super) fn line(
    git: &Git,
    keep: &Keep,
    tip: &ObjectId,
    directories: &[Vec<u8>],
) -> Result<Log, GitError> {
    let mut question = Question::new(&[CHANGES]);
    question.behind.push("--".into());
    question.behind.extend(
        directories.iter().map(|directory| {
            OsString::from_vec([b":(top,literal)", directory.as_slice()].concat())
        }),
    );
    question.ask(git, keep, tip, |end, newer| {
        // The oldest of the new commits comes first.
        let first = Answer::new(newer).next();
        first.is_ok_and(|first| first.is_some_and(|first| first.parents.first == Some(*end)))
    })
}

/// The first-parent lines up to `tips`, each commit once, with everything that changed.
pub(super) fn lines(git: &Git, tips: &[ObjectId]) -> Result<Log, GitError> {
    let mut args = Question::new(&[CHANGES]).before;
    args.extend(tips.iter().map(|tip| tip.to_string().into()));
    args.push("--".into());
    let mut stream = git.stream(COMMAND, &args)?;
    let source = Source::of_git(stream.stdout()?);
    Ok(Log::new(source, Some(stream), None))
}

/// All commits that `tip` reaches and `old` does not, without their changes, in any order; `line` tells
/// whether a commit is on the first-parent line of `tip`.
pub(super) fn all(
    git: &Git,
    keep: &Keep,
    tip: &ObjectId,
    old: &ObjectId,
    line: impl FnOnce(&ObjectId) -> bool,
) -> Result<Log, GitError> {
    let mut question = Question::new(&[&["--no-patch"]]);
    question
        .behind
        .extend([format!("^{old}").into(), "--".into()]);
    question.ask(git, keep, tip, |end, _| line(end))
}

/// The text that git answers with, read commit by commit.
pub(super) struct Answer<R> {
    from: R,
    /// The field that was read last.
    field: Vec<u8>,
    /// A buffer for the text of a commit.
    text: Vec<u8>,
}

impl<R: BufRead> Answer<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            field: Vec::new(),
            text: Vec::new(),
        }
    }

    /// The next commit; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Commit>, GitError> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let id = parsed(self.field()?)?;
        let words = self.field()?.split(|b| *b == b' ');
        let mut parents = words.filter(|word| !word.is_empty()).map(parsed);
        let parents = Parents {
            first: parents.next().transpose()?,
            others: parents.collect::<Result<_, _>>()?,
        };
        let mut text = mem::take(&mut self.text);
        text.clear();
        text.extend_from_slice(String::from_utf8_lossy(self.field()?).as_bytes());
        // A date has no blank.
        let author = memchr::memchr(b' ', &text).unwrap_or_else(|| {
            text.push(b' ');
            text.len() - 1
        });
        let (author, subject) = (author + 1, text.len());
        text.extend_from_slice(self.field()?);
        let said = Said {
            text: text.as_slice().into(),
            author,
            subject,
        };
        self.text = text;
        let trailers = self.field()?.to_vec();
        let mut changes = Vec::new();
        // An object's name begins with neither.
        while matches!(self.peek()?, Some(b'\n' | b':')) {
            changes.push(self.change()?);
        }
        Ok(Some(Commit {
            id,
            parents,
            said,
            trailers,
            changes,
        }))
    }

    /// Sends all remaining commits, until the receiver is gone. Batches that come back as `used` are filled again:
    /// freeing memory that another thread allocated makes both threads wait.
    fn send(
        &mut self,
        to: &SyncSender<Vec<Commit>>,
        used: &Receiver<Vec<Commit>>,
    ) -> Result<(), GitError> {
        let (mut batch, mut size) = (Vec::new(), 0);
        let read = loop {
            match self.next() {
                Ok(Some(commit)) => {
                    size += commit.size();
                    batch.push(commit);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if size >= BATCH {
                let next = used.try_recv().unwrap_or_default();
                if to.send(mem::replace(&mut batch, next)).is_err() {
                    return Ok(());
                }
                size = 0;
            }
        };
        // A receiver that is gone has ended with an error.
        let _ = to.send(batch);
        read
    }

    /// `:OLDMODE NEWMODE OLDID NEWID STATUS`, a NUL, and the path (git-diff, "Raw output format").
    fn change(&mut self) -> Result<Change, GitError> {
        let head = self.field()?;
        let mut words = head.split(|b| *b == b' ');
        let regular = matches!(words.nth(1), Some(b"100644" | b"100755" | b"100664"));
        let id = parsed(words.nth(1).unwrap_or_default())?;
        let path = self.field()?.to_vec();
        if path.is_empty() || path.len() == FIELD {
            return Err(malformed("a malformed path"));
        }
        Ok(Change {
            path,
            blob: regular.then_some(id),
        })
    }

    fn peek(&mut self) -> Result<Option<u8>, GitError> {
        let buffer = self.from.fill_buf().map_err(|error| GitError::Io {
            command: COMMAND,
            error,
        })?;
        Ok(buffer.first().copied())
    }

    /// The bytes up to the next NUL, cut at [`FIELD`].
    fn field(&mut self) -> Result<&[u8], GitError> {
        let field = &mut self.field;
        field.clear();
        loop {
            let buffer = self.from.fill_buf().map_err(|error| GitError::Io {
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
            self.from.consume(used);
            if end.is_some() {
                return Ok(&self.field);
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
