//! The `git` command, run so that the configuration of the repository, the environment and external
//! names cannot change its meaning.
//!
//! Most commands are queries: without hooks, locks or network. The exceptions:
//!
//! - `remotes` queries a remote and fetches objects without references; `scratch` fetches another
//!   repository into an empty one; `connection` runs these commands with a token or with the
//!   credentials of git;
//! - [`merge`] creates a merge commit as an object, pushes it, and refreshes the remote-tracking branch;
//! - `commit` commits files of the work tree that a run exchanged, with the hooks and the signing of the
//!   user.
//!
//! No command checks out files or moves a local branch, except for the commit. The input is a
//! directory and parsed names; command lines contain git's own options, object ids or checked
//! prefixes, full reference names after `--end-of-options` or `--`, and literal pathspecs after `--`.
//! `history` interprets the output.

mod authorities;
mod command;
mod commit;
mod commit_range;
pub(crate) mod commits;
mod connection;
mod error;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/properties/git_log.rs"]
pub(crate) mod fuzzing;
mod id;
mod kept;
mod location;
mod ls_files;
pub(crate) mod merge;
mod mirror;
mod objects;
mod promoted_branch;
mod publish;
mod push;
mod remotes;
mod renames;
mod scratch;
mod settings;
mod sweep;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
mod work_trees;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io::{self, Read},
    path::Path,
    process::{ChildStdout, Command},
    sync::Arc,
};

pub(crate) use authorities::Authorities;
pub(crate) use command::{start_version_check, stop_all};
pub(crate) use commit::{BeforeCommit, CommitObstacle, CommitPlan, Committed};
pub(crate) use commit_range::CommitRange;
pub(crate) use commits::ReachableCommit;
pub(crate) use connection::{Connections, DefaultBranches, Login, Remote, Routes, without_users};
use connection::{Output, is_denied};
pub(crate) use error::GitError;
pub(crate) use id::{BranchNameError, ObjectId, check_branch};
use kept::Kept;
pub(crate) use kept::{SharedGit, SharedTracking};
pub(crate) use location::{refuse_bare_root, top_of_repository};
pub(crate) use ls_files::{
    TrackedFile, configurations, is_ignored, is_in_repository, is_tracked, tracking, untracked,
    work_tree, work_tree_at,
};
pub(crate) use mirror::Mirror;
pub(crate) use promoted_branch::{Branch, BranchSources};
pub(crate) use push::{NewCommit, NewFile, Pushed, RefUpdate};
pub(crate) use remotes::HostedRepository;
use settings::Settings;

use objects::IdleProcess;
pub(crate) use objects::{Object, Objects, TreeFile};
pub(crate) use renames::Newer;
pub(crate) use scratch::{FetchedObjects, ScratchRepository};
pub(crate) use sweep::Sweep;
pub(crate) use tree::{AheadCommit, AheadCommits, Comparison, Tree, TreeEntry, blob_id};
pub(crate) use work_trees::{Head, WorkTreeEntry};

use command::{Mode, Running};
use location::Location;

use super::base::text::is_hex;

/// The repository that the directory of the configuration is in.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    program: OsString,
    place: Location,
    /// The boundary commits of a shallow clone.
    shallow: BTreeSet<ObjectId>,
    /// The name and email of commits; `None`: those that git is configured with.
    identity: Option<(&'static str, &'static str)>,
    /// Whether a command with a connection may fetch missing objects of a partial clone.
    fetches_lazily: bool,
    idle: IdleProcess,
    settings: Settings,
    /// The output that several sets share; `None` in a run for one set.
    kept: Option<Arc<Kept>>,
    /// The remote that missing contents are fetched from; `None`: they are an error.
    source: Option<Arc<Remote>>,
    connections: Connections,
}

/// The help of an error that a shallow clone causes.
pub(crate) const FETCH_HISTORY: &str =
    "fetch the history: git fetch --unshallow (in CI: fetch-depth: 0 for actions/checkout)";

/// The name of the forge's repository among the remotes of a mirror, which no clone uses.
const FORGE: &str = "repin-forge";

/// The prefix of the full name of a branch.
const BRANCHES: &str = "refs/heads/";

/// Options of `git log` that override the user's configuration.
pub(crate) const LOG_OPTIONS: &[&str] = &[
    "-z",
    "--encoding=UTF-8",
    "--no-color",
    "--no-notes",
    "--no-mailmap",
    "--no-show-signature",
    "--no-decorate",
];

/// The maximum size of output that is read as a whole, in bytes.
const MAX_OUTPUT: u64 = 16 * 1024 * 1024;

/// The minimum number of digits of an abbreviated commit (gitrevisions(7), `<sha1>`).
pub(crate) const MIN_PREFIX: usize = 4;

/// The maximum number of commits with a common prefix that are listed.
const MAX_MATCHES: usize = 5;

/// The output of a running git.
pub(crate) struct Stream {
    running: Running,
}

impl Stream {
    /// The output; can be taken once.
    pub(crate) fn stdout(&mut self) -> Result<ChildStdout, GitError> {
        self.running.stdout()
    }

    /// Checks the exit code of git after its output was consumed.
    pub(crate) fn finish(mut self) -> Result<(), GitError> {
        self.running.finish(&[]).map(drop)
    }
}

impl Git {
    /// The repository that contains `root`, with the `git` on the PATH.
    pub(crate) fn open(root: &Path) -> Result<Self, GitError> {
        Self::open_with(OsStr::new(command::PROGRAM), root)
    }

    /// The repository that contains `root`, with the command `program`.
    pub(crate) fn open_with(program: &OsStr, root: &Path) -> Result<Self, GitError> {
        // Without an entry `.git`, a missing git hides no history.
        let place = Location::find(root)?;
        command::check_version(program)?;
        command::check_owner(program, &place)?;
        let mut git = Self {
            program: program.to_owned(),
            place,
            shallow: BTreeSet::new(),
            identity: None,
            fetches_lazily: true,
            idle: IdleProcess::default(),
            settings: Settings::default(),
            kept: None,
            source: None,
            connections: Connections::default(),
        };
        git.shallow = git.boundary()?;
        Ok(git)
    }

    /// The repository of `root`; `None` outside of a work tree.
    pub(crate) fn discover(root: &Path) -> Result<Option<Self>, GitError> {
        unless_missing(Self::open(root))
    }

    /// Whether this is a partial clone.
    fn is_partial(&self) -> Result<bool, GitError> {
        let is_promisor = |key: &str| key.starts_with("remote.") && key.ends_with(".promisor");
        let mut keys = self.settings()?.iter().map(|setting| &*setting.key);
        Ok(keys.any(|key| key == "extensions.partialclone" || is_promisor(key)))
    }

    /// The error of reading objects; in a partial clone, an error with the remedy.
    pub(crate) fn explain(&self, error: GitError) -> GitError {
        if matches!(error, GitError::Failed { .. }) && self.is_partial().unwrap_or(false) {
            GitError::Partial(error.to_string())
        } else {
            error
        }
    }

    /// The boundary commits of a shallow clone (gitrepository-layout, "shallow"); empty if the clone is
    /// complete.
    fn boundary(&self) -> Result<BTreeSet<ObjectId>, GitError> {
        let path = self.git_path("shallow")?;
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(GitError::Unreadable { path, error }),
        };
        Ok(text
            .split(|b| *b == b'\n')
            .filter_map(ObjectId::parse)
            .collect())
    }

    /// The version of git, as it prints it.
    pub(crate) fn version(&self) -> Result<String, GitError> {
        let version = self.output("version", &[""; 0])?;
        Ok(String::from_utf8_lossy(version.trim_ascii_end()).into_owned())
    }

    /// Whether git reads the attributes of a commit that is not checked out (`GIT_ATTR_SOURCE`, since git 2.41).
    pub(crate) fn reads_attributes_of_commits(&self) -> Result<bool, GitError> {
        Ok(command::version(&self.version()?).is_some_and(|version| version >= (2, 41)))
    }

    pub(crate) fn is_shallow(&self) -> bool {
        !self.shallow.is_empty()
    }

    /// Whether `commit` is a boundary of a shallow clone.
    pub(crate) fn is_boundary(&self, commit: &ObjectId) -> bool {
        self.shallow.contains(commit)
    }

    /// The path of the root in the repository: empty, or with a trailing `/`.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.place.prefix
    }

    /// The same repository with another root: its path in the repository, empty or with a final `/`.
    pub(crate) fn with_prefix(&self, prefix: Vec<u8>) -> Self {
        let mut git = self.clone();
        git.place.prefix = prefix;
        git
    }

    /// The commit with this id, or the only commit with this prefix (4 digits or more).
    pub(crate) fn commit_named(&self, name: &str) -> Result<Option<ObjectId>, GitError> {
        let commits = self.commits_named(name)?;
        Ok(commits.first().copied().filter(|_| commits.len() == 1))
    }

    /// The commits with this id or prefix of at least [`MIN_PREFIX`] digits, at most `MAX_MATCHES` of them.
    pub(crate) fn commits_named(&self, name: &str) -> Result<Vec<ObjectId>, GitError> {
        if let Some(id) = ObjectId::parse(name.as_bytes()) {
            return Ok(self.has_commit(&id)?.then_some(id).into_iter().collect());
        }
        // Hexadecimal digits cannot be an expression, and `--disambiguate` does not match references.
        if !is_hex(name.as_bytes()) || !(MIN_PREFIX..64).contains(&name.len()) {
            return Ok(Vec::new());
        }
        let listed = self.output("rev-parse", &[format!("--disambiguate={name}")])?;
        let mut commits = Vec::new();
        for id in listed.split(|b| *b == b'\n').filter_map(ObjectId::parse) {
            if self.has_commit(&id)? {
                commits.push(id);
            }
            if commits.len() == MAX_MATCHES {
                break;
            }
        }
        Ok(commits)
    }

    /// The commit that a tag of this name points to.
    pub(crate) fn commit_of_tag(&self, name: &str) -> Result<Option<ObjectId>, GitError> {
        let reference = format!("refs/tags/{name}");
        let args = ["--verify", "--hash", "--", &reference];
        // git exits with 128 if no reference can have this name.
        let (code, listed) = self.output_or("show-ref", &args, &[1, 128])?;
        let Some(object) = ObjectId::parse(listed.trim_ascii_end()).filter(|_| code == 0) else {
            return Ok(None);
        };
        let peeled = format!("{object}^{{commit}}");
        let (code, printed) =
            self.output_or("rev-parse", &["--verify", "--quiet", &peeled], &[1, 128])?;
        Ok(ObjectId::parse(printed.trim_ascii_end()).filter(|_| code == 0))
    }

    /// The commit of an expression such as `HEAD~1` (gitrevisions(7)), which a caller restricts to such steps.
    pub(crate) fn commit_of_expression(
        &self,
        expression: &str,
    ) -> Result<Option<ObjectId>, GitError> {
        let commit = format!("{expression}^{{commit}}");
        let args = ["--verify", "--quiet", "--end-of-options", &commit];
        let (code, printed) = self.output_or("rev-parse", &args, &[1, 128])?;
        Ok(ObjectId::parse(printed.trim_ascii_end()).filter(|_| code == 0))
    }

    /// Whether `older` is `newer` or an ancestor of it in this clone.
    pub(crate) fn is_ancestor(&self, older: &ObjectId, newer: &ObjectId) -> Result<bool, GitError> {
        if older == newer && self.has_commit(older)? {
            return Ok(true);
        }
        let args = ["--is-ancestor", &older.to_string(), &newer.to_string()];
        Ok(self.kept_output("merge-base", &args, &[1])?.0 == 0)
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

    /// The output of a command that prints little.
    fn output(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
    ) -> Result<Vec<u8>, GitError> {
        Ok(self.output_or(command, args, &[])?.1)
    }

    /// The exit code, which must be 0 or one of `expected`, and the output.
    fn output_or(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
        expected: &[i32],
    ) -> Result<(i32, Vec<u8>), GitError> {
        let args: Vec<OsString> = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut running = self.start(command, &args, Mode::Read)?;
        let mut output = Vec::new();
        let read = running.stdout()?.take(MAX_OUTPUT).read_to_end(&mut output);
        read.map_err(|error| running.io(error))?;
        if output.len() as u64 == MAX_OUTPUT {
            return Err(GitError::Malformed {
                command,
                what: "too much output",
            });
        }
        Ok((running.finish(expected)?, output))
    }

    /// The top of the work tree.
    pub(crate) fn top(&self) -> &Path {
        match &self.place.repository {
            Some(repository) => &repository.work_tree,
            None => &self.place.root,
        }
    }

    /// The output of a command that may sign with the user's key.
    fn signing_output(
        &self,
        command: &'static str,
        args: &[&str],
        environment: &BTreeMap<&str, &str>,
    ) -> Result<Vec<u8>, GitError> {
        let mut git = self.prepare(Mode::Commit)?;
        git.arg(command).args(args).envs(environment);
        let mut running = command::spawn(git, &self.place, command)?;
        drop(running.stdin()?);
        let mut output = Vec::new();
        let read = running.stdout()?.take(MAX_OUTPUT).read_to_end(&mut output);
        read.map_err(|error| running.io(error))?;
        running.finish(&[])?;
        Ok(output)
    }

    fn start(
        &self,
        command: &'static str,
        args: &[OsString],
        mode: Mode,
    ) -> Result<Running, GitError> {
        command::start(&self.program, &self.place, command, args, mode)
    }

    /// git with the options before the subcommand; a connection trusts the additional certificates.
    fn prepare(&self, mode: Mode) -> Result<Command, GitError> {
        let mut git = command::prepare(&self.program, &self.place, mode);
        if matches!(mode, Mode::Network(_)) {
            self.trust_authorities(&mut git)?;
        }
        Ok(git)
    }
}

/// The opened repository; `None` outside of a work tree.
pub(crate) fn unless_missing(opened: Result<Git, GitError>) -> Result<Option<Git>, GitError> {
    match opened {
        Ok(git) => Ok(Some(git)),
        Err(GitError::NotARepository(_) | GitError::NoWorkTree(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a mode of a tree or of the index is that of a regular file.
fn is_regular(mode: &[u8]) -> bool {
    matches!(mode, b"100644" | b"100755" | b"100664")
}
