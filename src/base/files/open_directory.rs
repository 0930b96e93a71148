//! Opens files in a directory, never through a symbolic link and never in `.git`.
//!
//! Opens every file that git lists or that a configuration refers to. A path is opened one
//! component at a time, as in `apply`: this is the guarantee of `openat2` with `BENEATH` and
//! `NO_SYMLINKS`, on every system and in every sandbox. The last directory remains open, since
//! files come in the order of their paths.

use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::RelPath;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
pub(crate) const FILE_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// The reason that a path does not lead to a regular file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unopened {
    #[error("the file does not exist")]
    Missing,
    #[error("part of the path is a symbolic link or not a directory: repin follows no links")]
    NotADirectory,
    #[error("it is a symbolic link, which repin does not follow")]
    Symlink,
    #[error("it is not a regular file")]
    Special,
    #[error("it is in `.git`, which repin does not read")]
    GitDirectory,
    #[error(transparent)]
    Io(io::Error),
}

impl From<Errno> for Unopened {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Self::Missing,
            // Linux reports ENOTDIR if a directory is requested and found a symbolic link.
            Errno::NOTDIR => Self::NotADirectory,
            Errno::LOOP => Self::Symlink,
            // The file is a socket.
            Errno::NXIO => Self::Special,
            error => Self::Io(error.into()),
        }
    }
}

impl From<Unopened> for io::Error {
    fn from(error: Unopened) -> Self {
        match error {
            Unopened::Io(error) => error,
            Unopened::Missing => Self::new(io::ErrorKind::NotFound, error),
            other => Self::other(other),
        }
    }
}

/// An open directory, and its last used subdirectory.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    root: OwnedFd,
    last: Option<(PathBuf, OwnedFd)>,
}

impl OpenDirectory {
    /// Opens `root`. Its own path may contain symbolic links.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(root, DIRECTORY, Mode::empty())?;
        Ok(Self { root, last: None })
    }

    /// Opens a regular file for reading, with its metadata.
    pub(crate) fn open(&mut self, path: &RelPath) -> Result<(File, Metadata), Unopened> {
        let path = path.as_path();
        if path.components().any(|name| is_git(name.as_os_str())) {
            return Err(Unopened::GitDirectory);
        }
        let name = path.file_name().unwrap_or_default();
        let directory = self.directory(path.parent().unwrap_or(Path::new("")))?;
        let file = rustix::fs::openat(
            directory,
            name,
            FILE_FLAGS | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(Unopened::Io)?;
        if metadata.is_file() {
            Ok((file, metadata))
        } else {
            Err(Unopened::Special)
        }
    }

    /// Opens a listed file; `None` if it is no longer a regular file, or its path now contains a
    /// symbolic link.
    pub(crate) fn open_listed(&mut self, path: &RelPath) -> io::Result<Option<(File, Metadata)>> {
        match self.open(path) {
            Ok(opened) => Ok(Some(opened)),
            Err(error @ (Unopened::Io(_) | Unopened::GitDirectory)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    fn directory(&mut self, path: &Path) -> Result<&OwnedFd, Errno> {
        if path.as_os_str().is_empty() {
            return Ok(&self.root);
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let mut inner: Option<OwnedFd> = None;
            for name in path.components() {
                let from = inner.as_ref().unwrap_or(&self.root);
                let flags = DIRECTORY | OFlags::NOFOLLOW;
                let entered = rustix::fs::openat(from, name.as_os_str(), flags, Mode::empty())?;
                inner = Some(entered);
            }
            self.last = inner.map(|inner| (path.to_owned(), inner));
        }
        Ok(self.last.as_ref().map_or(&self.root, |(_, last)| last))
    }
}

/// Whether a name is `.git` in any case, or its short name on Windows. Git checks out neither
/// (`core.protectNTFS`), and a file system may treat both as `.git`.
fn is_git(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.eq_ignore_ascii_case(b".git") || name.eq_ignore_ascii_case(b"git~1")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn symlinks_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for file in ["a/b/c", "d"] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        fs::write(outside.path().join("c"), "outside").unwrap();
        symlink(outside.path(), dir.path().join("a/link")).unwrap();
        symlink("../d", dir.path().join("a/d")).unwrap();
        let fifo = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, fifo, Mode::RUSR).unwrap();
        let mut directory = OpenDirectory::new(dir.path()).unwrap();
        let mut size = |path: &str| {
            let opened = directory
                .open_listed(&RelPath::parse(path).unwrap())
                .unwrap();
            opened.map(|(_, metadata)| metadata.len())
        };
        assert_eq!(size("a/b/c"), Some(5));
        assert_eq!(size("d"), Some(1));
        for path in ["a/link/c", "a/d", "pipe", "a", "nowhere", "d/e", "a/b/no/c"] {
            assert_eq!(size(path), None, "{path}");
        }
        assert_eq!(size("a/b/c"), Some(5));
    }

    #[test]
    fn reason_of_an_unopened_file_is_stated() {
        let dir = tempfile::tempdir().unwrap();
        for directory in ["a", "a/.git/b", ".GIT", "git~1"] {
            fs::create_dir_all(dir.path().join(directory)).unwrap();
            fs::write(dir.path().join(directory).join("config"), "secret").unwrap();
        }
        symlink("a", dir.path().join("link")).unwrap();
        symlink("a/config", dir.path().join("file")).unwrap();
        let mut directory = OpenDirectory::new(dir.path()).unwrap();
        let mut reason = |path: &str| {
            let opened = directory.open(&RelPath::parse(path).unwrap());
            opened.map_err(|error| error.to_string()).err()
        };
        assert_eq!(reason("a/config"), None);
        for (path, part) in [
            ("a/.git/b/config", "in `.git`"),
            (".GIT/config", "in `.git`"),
            ("git~1/config", "in `.git`"),
            ("link/config", "symbolic link or not a directory"),
            ("file", "it is a symbolic link"),
            ("a", "not a regular file"),
            ("none", "does not exist"),
        ] {
            let reason = reason(path).unwrap();
            assert!(reason.contains(part), "{path}: {reason}");
        }
    }
}
