//! Finds the repository of a directory without git.
//!
//! git accepts any directory that contains `HEAD`, `objects` and `refs` as a bare repository and
//! runs the commands in its `config`. A pull request can add such a directory, so git must not
//! search for a repository: every process receives the repository that is found here.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::GitError;

/// A directory and the repository that it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Location {
    /// The working directory of every git process.
    pub(super) root: PathBuf,
    /// `None` for a directory that becomes a repository (`git init`).
    pub(super) repository: Option<Repository>,
    /// The path of the root in the work tree: empty, or with a trailing `/`.
    pub(super) prefix: Vec<u8>,
}

/// The work tree of a repository, and its `.git` entry.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) work_tree: PathBuf,
    pub(super) git_dir: PathBuf,
    /// Whether the files belong to this user. If not, git's `safe.directory` decides.
    pub(super) owned: bool,
}

impl Location {
    /// The repository of the nearest ancestor directory with a `.git` entry.
    pub(super) fn find(root: &Path) -> Result<Self, GitError> {
        let io = |error| GitError::Unreadable {
            path: root.to_owned(),
            error,
        };
        let canonical = fs::canonicalize(root).map_err(io)?;
        if canonical
            .components()
            .any(|name| name.as_os_str() == ".git")
        {
            return Err(GitError::NoWorkTree(root.to_owned()));
        }
        refuse_bare_root(&canonical)?;
        for work_tree in canonical.ancestors() {
            let git_dir = work_tree.join(".git");
            let entry = match fs::symlink_metadata(&git_dir) {
                Ok(entry) => entry,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io(error)),
            };
            let user = rustix::process::geteuid().as_raw();
            let tree = fs::metadata(work_tree).map_err(io)?;
            let below = canonical.strip_prefix(work_tree).unwrap_or(Path::new(""));
            let mut prefix = below.as_os_str().as_bytes().to_vec();
            if !prefix.is_empty() {
                prefix.push(b'/');
            }
            return Ok(Self {
                root: root.to_owned(),
                repository: Some(Repository {
                    work_tree: work_tree.to_owned(),
                    owned: entry.is_dir() && entry.uid() == user && tree.uid() == user,
                    git_dir,
                }),
                prefix,
            });
        }
        Err(GitError::NotARepository(root.to_owned()))
    }

    /// The `.git` directory if it contains all files of the repository; `None` for a linked work tree or
    /// a submodule, whose files only git finds (gitrepository-layout, "commondir"), and for a directory
    /// that git refuses.
    pub(super) fn plain_git_dir(&self) -> Option<&Path> {
        let directory = self.repository.as_ref()?.git_dir.as_path();
        let entry = |name: &str| fs::symlink_metadata(directory.join(name));
        let is_directory = fs::symlink_metadata(directory).is_ok_and(|entry| entry.is_dir());
        let is_plain = is_directory && entry("HEAD").is_ok() && entry("commondir").is_err();
        is_plain.then_some(directory)
    }

    /// A directory without a repository.
    pub(super) fn outside(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            repository: None,
            prefix: Vec::new(),
        }
    }
}

/// Refuses a directory that git accepts as a bare repository (`is_git_directory` in git's setup.c;
/// `commondir` replaces `objects` and `refs`).
pub(crate) fn refuse_bare_root(root: &Path) -> Result<(), GitError> {
    let exists = |name: &str| fs::symlink_metadata(root.join(name)).is_ok();
    if exists("HEAD") && (exists("commondir") || exists("objects") && exists("refs")) {
        return Err(GitError::BareRoot(root.to_owned()));
    }
    Ok(())
}
