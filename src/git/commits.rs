//! All commits of a clone, in one pass.
//!
//! Runs `git log` and parses its NUL-separated output commit by commit.
//!
//! The distance of two commits: in commits that touch some paths, and in time.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    os::unix::ffi::OsStringExt,
    process::ChildStdout,
    sync::Arc,
};

use super::{Git, GitError, LOG_OPTIONS, Object, ObjectId, Stream};
use crate::base::files::RelPath;

const REV_LIST: &str = "rev-list";

/// A commit that a reference of the clone reaches.
pub(crate) struct ReachableCommit<'p> {
    pub id: ObjectId,
    /// The committer's time, in seconds since 1970.
    pub seconds: i64,
    pub parents: &'p [ObjectId],
}

impl Git {
    /// Calls `each` with every commit that `HEAD` or a reference reaches: the newest first by the
    /// committer's time, and a commit never before its descendants.
    pub(crate) fn each_commit(
        &self,
        mut each: impl FnMut(ReachableCommit<'_>),
    ) -> Result<(), GitError> {
        let args = ["--all", "--date-order", "--timestamp", "--parents"].map(OsString::from);
        let mut stream = self.stream(REV_LIST, &args)?;
        let mut lines = BufReader::with_capacity(64 * 1024, stream.stdout()?);
        let malformed = GitError::Malformed {
            command: REV_LIST,
            what: "no commit",
        };
        let (mut line, mut parents) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line);
            let length = read.map_err(|error| GitError::Io {
                command: REV_LIST,
                error,
            })?;
            if length == 0 {
                return stream.finish();
            }
            let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
            let seconds = words.next().and_then(|word| std::str::from_utf8(word).ok());
            let seconds = seconds.and_then(|text| text.parse().ok());
            let id = words.next().and_then(ObjectId::parse);
            parents.clear();
            for word in words {
                match ObjectId::parse(word) {
                    Some(parent) => parents.push(parent),
                    None => return Err(malformed),
                }
            }
            let (Some(seconds), Some(id)) = (seconds, id) else {
                return Err(malformed);
            };
            let parents = &parents;
            each(ReachableCommit {
                id,
                seconds,
                parents,
            });
        }
    }
}

pub(super) const LOG: &str = "log";
const END: &str = "an end within a commit";

/// Id, parents, committer date and author's name, subject (the first paragraph on one line), and the
/// rest of the message. `-z` adds the NUL after the last field.
const FORMAT: &str = "--format=tformat:%H%x00%P%x00%cI %an%x00%s%x00%b";

/// The same fields without their texts, for which git need not read the commits of a commit graph.
const NO_TEXTS: &str = "--format=tformat:%H%x00%P%x00 %x00%x00";

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
    pub(crate) changes: Vec<ChangedPath>,
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
    /// The number in the last line of a merge commit of GitLab.
    merge_request: Option<u64>,
}

impl CommitInfo {
    #[cfg(test)]
    pub(crate) fn new(date: &str, author: &str, subject: &[u8]) -> Self {
        let prefix = format!("{date} {author}");
        Self {
            author_start: date.len() + 1,
            subject_start: prefix.len(),
            merge_request: None,
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

    /// The number of the merge request in a merge commit of GitLab.
    pub(crate) fn merge_request(&self) -> Option<u64> {
        let is_merge = self.subject().starts_with(b"Merge branch '");
        self.merge_request.filter(|_| is_merge)
    }
}

/// A changed path of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangedPath {
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
    /// Starts `git log` with this format, these options and revisions, and paths after `--`.
    fn start(
        git: &Git,
        format: &str,
        options: &[&str],
        revisions: impl IntoIterator<Item = String>,
        paths: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, GitError> {
        let options = [LOG_OPTIONS, options, &[format, "--end-of-options"]].concat();
        let options = options.iter().map(OsString::from);
        let revisions = revisions.into_iter().map(OsString::from);
        let paths = [OsString::from("--")].into_iter().chain(paths);
        let args: Vec<_> = options.chain(revisions).chain(paths).collect();
        let mut stream = git.stream(LOG, &args)?;
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
    Log::start(git, FORMAT, &options, [tip.to_string()], paths)
}

/// The distinct commits that `tips` reach, with all changes and without their messages, newest first.
pub(crate) fn all_changes(git: &Git, tips: &[ObjectId]) -> Result<Log, GitError> {
    let tips = tips.iter().map(ToString::to_string);
    Log::start(git, NO_TEXTS, CHANGE_OPTIONS, tips, [])
}

/// A part of the log of `tip`, newest first, with all changes and without messages: `count` commits after the first `skip`
/// ones, or all of them. git does not compare the commits that it skips, so processes can share the work.
pub(crate) fn changes_of_part(
    git: &Git,
    tip: &ObjectId,
    skip: usize,
    count: Option<usize>,
) -> Result<Log, GitError> {
    let part = [
        Some(format!("--skip={skip}")),
        count.map(|count| format!("--max-count={count}")),
    ];
    let mut options: Vec<_> = part.iter().flatten().map(String::as_str).collect();
    options.extend(CHANGE_OPTIONS);
    Log::start(git, NO_TEXTS, &options, [tip.to_string()], [])
}

/// The distinct commits that `tips` reach, without their changes.
pub(crate) fn messages(git: &Git, tips: &[ObjectId]) -> Result<Log, GitError> {
    let tips = tips.iter().map(ToString::to_string);
    Log::start(git, FORMAT, &["--no-patch"], tips, [])
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

/// The number in `See merge request GROUP/PROJECT!N`, the last line of GitLab's default template for merge commits
/// (<https://docs.gitlab.com/user/project/merge_requests/commit_templates/>).
fn merge_request(body: &[u8]) -> Option<u64> {
    let line = body.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?;
    let reference = line.trim_ascii_end().strip_prefix(b"See merge request ")?;
    let number = std::str::from_utf8(reference).ok()?.rsplit_once('!')?.1;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    number
        .parse()
        .ok()
        .filter(|number| is_number && *number > 0)
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
        let body = self.field_up_to(MAX_BODY)?;
        let trailers = trailer_lines(body);
        let info = CommitInfo {
            text: text.into(),
            author_start: date_end + 1,
            subject_start,
            merge_request: merge_request(body),
        };
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
    fn change(&mut self) -> Result<ChangedPath, GitError> {
        let mut words = self.field()?.split(|byte| *byte == b' ');
        let is_regular = matches!(words.nth(1), Some(b"100644" | b"100755" | b"100664"));
        let id = object_id(words.nth(1).unwrap_or_default())?;
        let path = self.field()?.to_vec();
        if path.is_empty() || path.len() == MAX_FIELD {
            return Err(malformed("a malformed path"));
        }
        Ok(ChangedPath {
            path,
            blob: is_regular.then_some(id),
        })
    }

    fn peek(&mut self) -> Result<Option<u8>, GitError> {
        let buffer = self.reader.fill_buf().map_err(|error| GitError::Io {
            command: LOG,
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
                command: LOG,
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

/// The parents of a commit.
pub(super) fn parents(text: &[u8]) -> Vec<ObjectId> {
    let headers = text.split(|byte| *byte == b'\n');
    headers
        .take_while(|line| !line.is_empty())
        .filter_map(|line| ObjectId::parse(line.strip_prefix(b"parent ")?))
        .collect()
}

fn object_id(text: &[u8]) -> Result<ObjectId, GitError> {
    ObjectId::parse(text).ok_or_else(|| malformed("a malformed object id"))
}

fn malformed(what: &'static str) -> GitError {
    GitError::Malformed { command: LOG, what }
}

impl Git {
    /// The commit that a reference resolves to, by its full name, such as `refs/heads/main`.
    pub(crate) fn commit_at(&self, reference: &str) -> Result<ObjectId, GitError> {
        let args = [
            "--verify",
            "--end-of-options",
            &format!("{reference}^{{commit}}"),
        ];
        let printed = self.output("rev-parse", &args)?;
        ObjectId::parse(printed.trim_ascii()).ok_or(GitError::Malformed {
            command: "rev-parse",
            what: "no commit",
        })
    }

    /// The time of a commit by the committer's clock, in seconds since 1970; `None` if the commit is missing in this clone.
    pub(crate) fn commit_time(&self, commit: &ObjectId) -> Result<Option<i64>, GitError> {
        let Some(Object::Commit(text)) = self.object(*commit)? else {
            return Ok(None);
        };
        let mut lines = text.split(|byte| *byte == b'\n');
        let line = lines.find_map(|line| line.strip_prefix(b"committer "));
        // `NAME <EMAIL> SECONDS ZONE`
        let seconds = line.and_then(|line| line.rsplit(|byte| *byte == b' ').nth(1));
        let seconds = seconds.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        seconds.map(Some).ok_or(GitError::Malformed {
            command: "cat-file",
            what: "a commit without a time",
        })
    }

    /// The headers and the message of a commit.
    pub(super) fn commit_text(&self, id: &ObjectId) -> Result<Vec<u8>, GitError> {
        match self.object(*id)? {
            Some(Object::Commit(text)) => Ok(text),
            _ => Err(GitError::Missing(*id)),
        }
    }

    /// The commits up to and including `tip` that changed the file at `path` below the root, with side
    /// branches.
    pub(crate) fn changes_of(
        &self,
        tip: &ObjectId,
        path: &RelPath,
    ) -> Result<Vec<ObjectId>, GitError> {
        let whole = [b":(top,literal)", self.prefix(), path.as_bytes()].concat();
        let args = [
            b"--full-history".to_vec(),
            tip.to_string().into_bytes(),
            b"--".to_vec(),
            whole,
        ];
        let printed = self.output("rev-list", &args.map(OsString::from_vec))?;
        let ids = printed
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(ObjectId::parse);
        ids.collect::<Option<_>>().ok_or(GitError::Malformed {
            command: "rev-list",
            what: "no commit",
        })
    }

    /// The number of commits of `newer` that `older` does not contain and that touch one of `paths`
    /// from the top of the repository (no path: all commits).
    pub(crate) fn commits_between(
        &self,
        older: &ObjectId,
        newer: &ObjectId,
        paths: &[String],
    ) -> Result<u64, GitError> {
        let mut args = vec![
            "--count".to_owned(),
            newer.to_string(),
            format!("^{older}"),
            "--".to_owned(),
        ];
        args.extend(literal(paths));
        let printed = self.output("rev-list", &args)?;
        let count = std::str::from_utf8(printed.trim_ascii())
            .ok()
            .and_then(|text| text.parse().ok());
        count.ok_or(GitError::Malformed {
            command: "rev-list",
            what: "no number",
        })
    }

    /// The subjects of these commits, newest first, at most `most`.
    pub(crate) fn subjects_between(
        &self,
        older: &ObjectId,
        newer: &ObjectId,
        paths: &[String],
        most: usize,
    ) -> Result<Vec<String>, GitError> {
        let mut args = vec![
            "-z".to_owned(),
            "--format=%s".to_owned(),
            format!("--max-count={most}"),
            newer.to_string(),
            format!("^{older}"),
            "--".to_owned(),
        ];
        args.extend(literal(paths));
        Ok(texts(&self.output("log", &args)?))
    }

    /// Those of `paths`, or the files below them, that differ between two commits.
    pub(crate) fn paths_between(
        &self,
        older: &ObjectId,
        newer: &ObjectId,
        paths: &[String],
    ) -> Result<Vec<String>, GitError> {
        // Without renames, git reads only trees.
        let options = ["-r", "-z", "--name-only", "--no-renames"].map(str::to_owned);
        let mut args = Vec::from(options);
        args.extend([older.to_string(), newer.to_string(), "--".to_owned()]);
        args.extend(literal(paths));
        Ok(texts(&self.output("diff-tree", &args)?))
    }
}

/// Paths from the top of the repository, which are no patterns.
fn literal(paths: &[String]) -> impl Iterator<Item = String> {
    paths.iter().map(|path| format!(":(top,literal){path}"))
}

/// The parts of an output that end with NUL bytes.
fn texts(output: &[u8]) -> Vec<String> {
    let parts = output.strip_suffix(b"\0").unwrap_or(output);
    if parts.is_empty() {
        return Vec::new();
    }
    let parts = parts.split(|byte| *byte == 0);
    parts
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::repo::two_promotions;

    #[test]
    fn parts_of_a_log_contain_each_commit_once() {
        let repo = two_promotions();
        let git = Git::open(repo.path()).unwrap();
        let tip = ObjectId::parse(repo.head().as_bytes()).unwrap();
        let listed = |log: Log| {
            let mut commits = Vec::new();
            log.each(|commit| {
                commits.push((commit.id, commit.parents, commit.changes));
                Ok(())
            })
            .unwrap();
            commits
        };
        let all = listed(all_changes(&git, &[tip]).unwrap());
        for length in 1..=all.len() {
            let mut parts = Vec::new();
            for start in (0..all.len()).step_by(length) {
                let part = changes_of_part(&git, &tip, start, Some(length));
                parts.extend(listed(part.unwrap()));
            }
            assert_eq!(parts, all, "{length}");
        }
        let rest = changes_of_part(&git, &tip, 1, None).unwrap();
        assert_eq!(listed(rest), all[1..]);
    }

    #[test]
    fn last_line_of_a_merge_commit_of_gitlab_has_a_number() {
        for (body, expected) in [
            ("promote\n\nSee merge request acme/app!12\n", Some(12)),
            ("See merge request !3", Some(3)),
            ("See merge request acme/app!12\n\nmore", None),
            ("See merge request acme/app!+1", None),
            ("See merge request acme/app!0", None),
            ("See merge request acme/app!", None),
            ("see also acme/app!12", None),
            ("", None),
        ] {
            assert_eq!(merge_request(body.as_bytes()), expected, "{body}");
        }
    }
}
