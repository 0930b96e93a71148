//! The `git` command, called so that neither the repository's configuration, nor the environment, nor
//! external names change its meaning.
//!
//! Most commands only read: without hooks, locks or network. The exceptions:
//!
//! - `network` queries a remote and fetches objects without references; `reach` clones into a scratch
//!   directory, fetches and pushes for [`merge`], and refreshes the remote-tracking branch that was pushed;
//! - [`merge`] creates a merge commit as an object and pushes it;
//! - `commit` commits files of the work tree that a run exchanged, with the hooks and the signing of the
//!   user.
//!
//! Nothing here checks out files or moves a local branch, except for the commit. The input is a directory
//! and parsed names; command lines contain git's own options, full object ids, full reference names after
//! `--end-of-options` and literal pathspecs after `--`. `history` interprets the output.

mod command;
mod commit;
mod compare;
mod error;
mod files;
mod id;
mod location;
pub mod merge;
mod network;
mod objects;
mod reach;
mod refs;
mod remote;
mod sweep;
mod tracked;
mod trees;

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    process::ChildStdout,
};

pub use commit::{CommitObstacle, CommitPlan, Committed};
pub use error::GitError;
pub use files::{TrackedFile, Tracking, tracking, untracked, work_tree, work_tree_at};
pub(crate) use files::{is_in_repository, searched_directories};
pub use id::ObjectId;
pub(crate) use location::refuse_bare_root;
pub use network::{Heads, References};
pub(crate) use reach::without_users;
pub use reach::{Login, Remote};
use reach::{Ran, is_denied, server_message};
pub use refs::{Branch, BranchSources};
pub use remote::HostedRepository;
pub use trees::FilesAt;

pub(crate) use objects::{Object, Objects};
pub(crate) use sweep::Sweep;

use command::{Mode, Running};
use location::Location;

use crate::{config::RelPath, oci::is_hex};

/// The repository that the directory of the configuration is in.
#[derive(Debug, Clone)]
pub struct Git {
    program: OsString,
    place: Location,
    /// Commits whose parents were left out of this clone.
    shallow: BTreeSet<ObjectId>,
    /// Who makes commits, if not who git says.
    identity: Option<(&'static str, &'static str)>,
}

/// The most that a short answer may hold, in bytes.
const ANSWER: u64 = 16 * 1024 * 1024;

/// The most commits with a common id prefix that are listed.
const MOST_NAMED: usize = 5;

/// A file in a commit's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeFile {
    /// A regular file.
    Content(Vec<u8>),
    /// Nothing there, or no regular file.
    Absent,
    /// Larger than was requested.
    TooLarge,
}

/// Output of git while it is still running.
pub(crate) struct Stream {
    running: Running,
}

impl Stream {
    /// What git prints; once.
    pub(crate) fn stdout(&mut self) -> Result<ChildStdout, GitError> {
        self.running.stdout()
    }

    /// After the last byte: whether git ended well.
    pub(crate) fn finish(mut self) -> Result<(), GitError> {
        self.running.finish(&[]).map(drop)
    }
}

impl Git {
    /// The repository that `root` lies in, asked through the `git` on the PATH.
    pub fn open(root: &Path) -> Result<Self, GitError> {
        Self::open_with(OsStr::new("git"), root)
    }

    /// The same, through the command `program`.
    pub fn open_with(program: &OsStr, root: &Path) -> Result<Self, GitError> {
        command::check_version(program)?;
        let place = Location::find(root)?;
        command::check_owner(program, &place)?;
        let mut git = Self {
            program: program.to_owned(),
            place,
            shallow: BTreeSet::new(),
            identity: None,
        };
        let printed = git.answer("rev-parse", &["--is-shallow-repository"])?;
        if printed.trim_ascii_end() == b"true" {
            git.shallow = git.boundary()?;
        }
        Ok(git)
    }

    /// The repository of `root`; `None` without git or outside of a work tree.
    pub fn discover(root: &Path) -> Result<Option<Self>, GitError> {
        match Self::open(root) {
            Ok(git) => Ok(Some(git)),
            Err(GitError::NoGit | GitError::NotARepository(_) | GitError::NoWorkTree(_)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The same repository, looked at again after something was fetched.
    fn reopened(&self) -> Result<Self, GitError> {
        Ok(Self {
            identity: self.identity,
            ..Self::open_with(&self.program, &self.place.root)?
        })
    }

    /// Whether objects were left out of this clone.
    fn is_partial(&self) -> Result<bool, GitError> {
        let asked = [
            "--get-regexp",
            "--null",
            "--name-only",
            r"^(extensions\.partialclone|remote\..*\.promisor|core\.bare)$",
        ];
        let listed = self.answer("config", &asked)?;
        Ok(listed
            .split(|b| *b == 0)
            .any(|name| !name.is_empty() && name != b"core.bare"))
    }

    /// Explains an error of reading objects; a partial clone gets an error of its own.
    pub(crate) fn explained(&self, error: GitError) -> GitError {
        if matches!(error, GitError::Failed { .. }) && self.is_partial().unwrap_or(false) {
            GitError::Partial(error.to_string())
        } else {
            error
        }
    }

    /// The commits that a shallow clone ends at (gitrepository-layout, "shallow").
    fn boundary(&self) -> Result<BTreeSet<ObjectId>, GitError> {
        let io = |error| GitError::Io {
            command: "rev-parse",
            error,
        };
        let mut path = self.answer("rev-parse", &["--git-path", "shallow"])?;
        path.pop();
        let file =
            std::fs::File::open(self.place.root.join(OsString::from_vec(path))).map_err(io)?;
        let mut text = Vec::new();
        file.take(ANSWER).read_to_end(&mut text).map_err(io)?;
        Ok(text
            .split(|b| *b == b'\n')
            .filter_map(ObjectId::parse)
            .collect())
    }

    /// What git says of its version.
    pub(crate) fn version(&self) -> Result<String, GitError> {
        let version = self.answer("version", &[""; 0])?;
        Ok(String::from_utf8_lossy(version.trim_ascii_end()).into_owned())
    }

    /// Whether this clone was cut off somewhere.
    pub fn is_shallow(&self) -> bool {
        !self.shallow.is_empty()
    }

    /// Whether the parents of `commit` were left out of this clone.
    pub fn is_boundary(&self, commit: &ObjectId) -> bool {
        self.shallow.contains(commit)
    }

    /// The root's path in the repository: empty, or with a `/` at its end.
    pub fn prefix(&self) -> &[u8] {
        &self.place.prefix
    }

    /// The commit of this clone that has this name, or the only one whose name begins so (4 digits
    /// or more).
    pub fn commit_named(&self, name: &str) -> Result<Option<ObjectId>, GitError> {
        let commits = self.commits_named(name)?;
        Ok(commits.first().copied().filter(|_| commits.len() == 1))
    }

    /// The commits of this clone that have this name, or whose names begin so (4 digits or more):
    /// some of them where there are many.
    pub fn commits_named(&self, name: &str) -> Result<Vec<ObjectId>, GitError> {
        if let Some(id) = ObjectId::parse(name.as_bytes()) {
            return Ok(self.has_commit(&id)?.then_some(id).into_iter().collect());
        }
        // Digits only: references of that name are never asked for, and nothing else can be an
        // expression.
        if !is_hex(name.as_bytes()) || !(4..64).contains(&name.len()) {
            return Ok(Vec::new());
        }
        let listed = self.answer("rev-parse", &[format!("--disambiguate={name}")])?;
        let alike: Vec<_> = listed
            .split(|b| *b == b'\n')
            .filter_map(ObjectId::parse)
            .collect();
        let mut commits = Vec::new();
        for id in alike {
            if self.has_commit(&id)? {
                commits.push(id);
            }
            if commits.len() == MOST_NAMED {
                break;
            }
        }
        Ok(commits)
    }

    /// The commit that a tag of this name points to.
    pub fn commit_of_tag(&self, name: &str) -> Result<Option<ObjectId>, GitError> {
        let reference = format!("refs/tags/{name}");
        let asked = ["--verify", "--hash", "--", &reference];
        // 128 is a name that no reference can have.
        let (code, listed) = self.answer_or("show-ref", &asked, &[1, 128])?;
        let Some(object) = ObjectId::parse(listed.trim_ascii_end()).filter(|_| code == 0) else {
            return Ok(None);
        };
        let peeled = format!("{object}^{{commit}}");
        let (code, printed) =
            self.answer_or("rev-parse", &["--verify", "--quiet", &peeled], &[1, 128])?;
        Ok(ObjectId::parse(printed.trim_ascii_end()).filter(|_| code == 0))
    }

    /// Whether `commit` is in this clone, as a commit.
    pub fn has_commit(&self, commit: &ObjectId) -> Result<bool, GitError> {
        let args = [OsString::from("-e"), format!("{commit}^{{commit}}").into()];
        let mut running = self.start("cat-file", &args, Mode::Read)?;
        drop(running.stdout()?);
        // 128 is what git says about an object that it cannot find; other troubles show in the next
        // question.
        Ok(running.finish(&[1, 128])? == 0)
    }

    /// Whether `older` is `newer` or an ancestor of it, as far as this clone goes.
    pub fn is_ancestor(&self, older: &ObjectId, newer: &ObjectId) -> Result<bool, GitError> {
        let ids = [older, newer].map(|id| OsString::from(id.to_string()));
        let args = [&[OsString::from("--is-ancestor")], ids.as_slice()].concat();
        let mut running = self.start("merge-base", &args, Mode::Read)?;
        drop(running.stdout()?);
        Ok(running.finish(&[1])? == 0)
    }

    /// The file at `path` beneath the root, as the tree of `commit` has it, if it is no larger than
    /// `most` bytes.
    pub fn file(&self, commit: &ObjectId, path: &RelPath, most: u64) -> Result<TreeFile, GitError> {
        let whole = OsString::from_vec([self.prefix(), path.as_bytes()].concat());
        let ask = ["-z", "--full-tree"].map(OsString::from);
        let args = [
            &ask[..],
            &[commit.to_string().into(), "--".into(), whole.clone()],
        ]
        .concat();
        let listed = self.answer("ls-tree", &args)?;
        let entry = listed.split(|b| *b == 0).find_map(|entry| {
            let tab = memchr::memchr(b'\t', entry)?;
            let (head, name) = (&entry[..tab], &entry[tab + 1..]);
            let mut words = head.split(|b| *b == b' ');
            let regular = name == whole.as_bytes()
                && matches!(words.next(), Some(b"100644" | b"100755" | b"100664"));
            if regular {
                words.nth(1).and_then(ObjectId::parse)
            } else {
                None
            }
        });
        let Some(blob) = entry else {
            return Ok(TreeFile::Absent);
        };
        Ok(self
            .objects(|_| Ok(None::<()>))?
            .blob(blob, most)?
            .map_or(TreeFile::TooLarge, TreeFile::Content))
    }

    /// One process for contents; `digest` makes something of each that is requested in passing.
    pub(crate) fn objects<T: Send + 'static>(
        &self,
        mut digest: impl FnMut(&mut dyn Read) -> io::Result<Option<T>> + Send + 'static,
    ) -> Result<Objects<T>, GitError> {
        self.objects_by_name(move |_, content| digest(content))
    }

    /// The same, for a digest that depends on which object it is.
    pub(crate) fn objects_by_name<T: Send + 'static>(
        &self,
        digest: impl FnMut(&ObjectId, &mut dyn Read) -> io::Result<Option<T>> + Send + 'static,
    ) -> Result<Objects<T>, GitError> {
        Objects::new(
            self.start("cat-file", &["--batch".into()], Mode::Talk)?,
            digest,
        )
    }

    pub(crate) fn stream(
        &self,
        command: &'static str,
        args: &[OsString],
    ) -> Result<Stream, GitError> {
        Ok(Stream {
            running: self.start(command, args, Mode::Read)?,
        })
    }

    /// All that git prints, which may not be much.
    fn answer(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
    ) -> Result<Vec<u8>, GitError> {
        Ok(self.answer_or(command, args, &[])?.1)
    }

    /// The same, with the exit code, which is 0 or one of `fine`.
    fn answer_or(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
        fine: &[i32],
    ) -> Result<(i32, Vec<u8>), GitError> {
        let args: Vec<OsString> = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut running = self.start(command, &args, Mode::Read)?;
        let mut answer = Vec::new();
        let read = running.stdout()?.take(ANSWER).read_to_end(&mut answer);
        read.map_err(|error| running.io(error))?;
        if answer.len() as u64 == ANSWER {
            return Err(GitError::Malformed {
                command,
                what: "too much output",
            });
        }
        Ok((running.finish(fine)?, answer))
    }

    fn start(
        &self,
        command: &'static str,
        args: &[OsString],
        mode: Mode,
    ) -> Result<Running, GitError> {
        command::start(&self.program, &self.place, command, args, mode)
    }
}
