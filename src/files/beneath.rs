//! Opening files beneath a directory whose path may hold a symlink by now, such as those that git
//! lists: never through one.
//!
//! A path is walked one component at a time, as `apply` does. The last directory stays open, since
//! files come in the order of their paths.

use std::{
    fs::{File, Metadata},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::config::RelPath;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// A directory, open, and the one beneath it that was used last.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    root: OwnedFd,
    last: Option<(PathBuf, OwnedFd)>,
}

impl OpenDirectory {
    /// Opens `root`, whose own symlinks are the caller's choice.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(root, DIRECTORY, Mode::empty())?;
        Ok(Self { root, last: None })
    }

    /// Opens a regular file for reading, with what the system says of it; `None` if it is missing or not a regular file: a symlink,
    /// a directory, a named pipe, or a path that leads through a symlink.
    pub(crate) fn open(&mut self, path: &RelPath) -> io::Result<Option<(File, Metadata)>> {
        match self.open_file(path) {
            Ok(file) => {
                let metadata = file.metadata()?;
                Ok(metadata.is_file().then_some((file, metadata)))
            }
            // ENXIO: a socket. Linux says ENOTDIR for a symlink where a directory is requested.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open_file(&mut self, path: &RelPath) -> Result<File, Errno> {
        let path = path.as_path();
        let above = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default();
        let directory = self.directory(above)?;
        let file = rustix::fs::openat(directory, name, FILE | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(file.into())
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn nothing_is_opened_through_a_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for file in ["a/b/c", "d"] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        fs::write(elsewhere.path().join("c"), "elsewhere").unwrap();
        symlink(elsewhere.path(), dir.path().join("a/link")).unwrap();
        symlink("../d", dir.path().join("a/d")).unwrap();
        let fifo = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, fifo, Mode::RUSR).unwrap();
        let mut beneath = OpenDirectory::new(dir.path()).unwrap();
        let mut size = |path: &str| {
            let opened = beneath.open(&RelPath::parse(path).unwrap()).unwrap();
            opened.map(|(_, metadata)| metadata.len())
        };
        assert_eq!(size("a/b/c"), Some(5));
        assert_eq!(size("d"), Some(1));
        for path in ["a/link/c", "a/d", "pipe", "a", "nowhere", "d/e", "a/b/no/c"] {
            assert_eq!(size(path), None, "{path}");
        }
        assert_eq!(size("a/b/c"), Some(5));
    }
}
