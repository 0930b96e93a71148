//! Finds the repository of a directory without git.
//!
//! git accepts any directory that contains `HEAD`, `objects` and `refs` as a bare repository and
//! runs the commands in its `config`. A pull request can add such a directory, so git must not
//! search for a repository: every process receives the repository that is found here.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::{GitError, Top, find_top};

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
    /// The repository of the nearest ancestor directory with one.
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
        let work_tree = match find_top(&canonical).map_err(io)? {
            Top::Found(work_tree) => work_tree,
            Top::Rejected(entry) => return Err(GitError::Rejected(entry)),
            Top::Missing => return Err(GitError::NotARepository(root.to_owned())),
        };
        let git_dir = work_tree.join(".git");
        let entry = fs::symlink_metadata(&git_dir).map_err(io)?;
        let user = rustix::process::geteuid().as_raw();
        let tree = fs::metadata(work_tree).map_err(io)?;
        let below = canonical.strip_prefix(work_tree).unwrap_or(Path::new(""));
        let mut prefix = below.as_os_str().as_bytes().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        Ok(Self {
            root: root.to_owned(),
            repository: Some(Repository {
                work_tree: work_tree.to_owned(),
                owned: entry.is_dir() && entry.uid() == user && tree.uid() == user,
                git_dir,
            }),
            prefix,
        })
    }

    /// The `.git` directory if it contains all files of the repository; `None` for a linked work tree or
    /// a submodule, whose files only git finds (gitrepository-layout, "commondir"), and for a directory
    /// that git refuses.
    pub(super) fn plain_git_dir(&self) -> Option<&Path> {
        let directory = self.repository.as_ref()?.git_dir.as_path();
        let entry = |name: &str| fs::symlink_metadata(directory.join(name));
        let is_plain = entry("HEAD").is_ok() && entry("commondir").is_err();
        is_plain.then_some(directory)
    }

    /// Whether a place is in the same repository.
    pub(super) fn is_in_repository_of(&self, other: &Self) -> bool {
        let work_tree = |place: &Self| {
            let repository = place.repository.as_ref();
            repository.map(|repository| repository.work_tree.clone())
        };
        self.repository.is_some() && work_tree(self) == work_tree(other)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), "").unwrap();
    }

    fn write_repository(root: &Path) {
        for directory in ["objects", "refs"] {
            fs::create_dir_all(root.join(".git").join(directory)).unwrap();
        }
        fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    }

    fn is_owned(root: &Path) -> bool {
        Location::find(root).unwrap().repository.unwrap().owned
    }

    #[test]
    fn root_with_the_files_of_a_bare_repository_is_refused() {
        let cases: [(&[&str], bool); 6] = [
            (&["HEAD", "objects/x", "refs/x"], true),
            (&["HEAD", "commondir"], true),
            (&["objects/x", "refs/x"], false),
            (&["HEAD", "refs/x"], false),
            (&["HEAD", "objects/x"], false),
            (&["commondir"], false),
        ];
        for (paths, is_bare) in cases {
            let root = tempfile::tempdir().unwrap();
            write_repository(root.path());
            for path in paths {
                write(root.path(), path);
            }
            let found = Location::find(root.path());
            let is_refused = matches!(found, Err(GitError::BareRoot(_)));
            assert_eq!(is_refused, is_bare, "{paths:?}");
        }
    }

    #[test]
    fn only_a_whole_repository_is_read_without_git() {
        let root = tempfile::tempdir().unwrap();
        let is_plain = || {
            let location = Location::find(root.path()).unwrap();
            location.plain_git_dir().is_some()
        };
        write_repository(root.path());
        assert!(is_plain());
        // A linked work tree, and a submodule.
        write(root.path(), ".git/commondir");
        assert!(!is_plain());
        fs::remove_dir_all(root.path().join(".git")).unwrap();
        write(root.path(), ".git");
        assert!(!is_plain());
    }

    #[test]
    fn repository_belongs_to_the_owner_of_all_its_parts() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), ".git");
        assert!(!is_owned(root.path()));
        fs::remove_file(root.path().join(".git")).unwrap();
        write_repository(root.path());
        assert!(is_owned(root.path()));
        // Only root may give a directory away.
        if rustix::process::geteuid().is_root() {
            for path in ["", ".git"] {
                let path = root.path().join(path);
                std::os::unix::fs::chown(&path, Some(1234), None).unwrap();
                assert!(!is_owned(root.path()), "{}", path.display());
                std::os::unix::fs::chown(&path, Some(0), None).unwrap();
            }
        }
    }

    #[test]
    fn unreadable_entry_does_not_mean_that_there_is_no_repository() {
        let directory = tempfile::tempdir().unwrap();
        // The path is as long as the system permits, and that of `.git` is longer.
        let mut root = fs::canonicalize(directory.path()).unwrap();
        while root.as_os_str().len() < 4_092 {
            let left = 4_092 - root.as_os_str().len() - 1;
            let length = if left <= 200 { left } else { 100 };
            root.push("x".repeat(length));
        }
        fs::create_dir_all(&root).unwrap();
        let found = Location::find(&root);
        assert!(
            matches!(found, Err(GitError::Unreadable { .. })),
            "{}",
            found.is_ok()
        );
    }
}
