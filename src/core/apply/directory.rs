//! Open directories and their entries.
//!
//! A path below the root is opened one component at a time, never through a symlink and never
//! through `..`, so a directory that was replaced after the planning cannot lead outside of the
//! root. This is the guarantee of `openat2` with `BENEATH` and `NO_SYMLINKS`, also on systems and
//! in sandboxes without that call.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{error::Error, journal::Item};
use crate::{
    base::files::{Hazard, RelPath},
    oci::{Digest, Hasher},
};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
const NO_LINK: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// The open root directory.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    directory: Directory,
}

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory {
    fd: File,
    /// The path in messages: relative below the root, absolute for repin's state.
    display_path: PathBuf,
}

#[derive(Debug)]
pub(super) enum DirectoryEntry {
    Absent,
    NotRegular(Hazard),
    File(OpenFile),
}

/// A regular file, open for reading.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) metadata: Metadata,
    display_path: PathBuf,
}

impl Root {
    /// Opens `path`, which the caller chose: symlinks in it are followed.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let path = path
            .canonicalize()
            .map_err(|e| Error::io("finding", path, e))?;
        let directory = Directory {
            display_path: PathBuf::new(),
            ..Directory::open(&path)?
        };
        Ok(Self { path, directory })
    }

    /// The canonical path of the root.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the parent directory of `file`.
    pub(super) fn directory_of(&self, file: &RelPath) -> Result<Directory, Error> {
        let mut directory = self.directory.duplicate()?;
        for name in file.as_path().parent().unwrap_or(Path::new("")) {
            directory = directory.enter(name)?;
        }
        Ok(directory)
    }

    /// Syncs changed entries of the items' directories to the disk. A missing directory needs no
    /// sync.
    pub(super) fn sync_directories<'a>(
        &self,
        items: impl IntoIterator<Item = &'a Item<'a>>,
    ) -> Result<(), Error> {
        let mut files = BTreeMap::new();
        for item in items {
            files.insert(item.path.as_path().parent(), &item.path);
        }
        for file in files.into_values() {
            match self.directory_of(file) {
                Err(error) if error.is_absence() => {}
                directory => directory?.sync()?,
            }
        }
        Ok(())
    }
}

impl Directory {
    /// Opens `path`, following symlinks.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let fd = rustix::fs::open(path, DIRECTORY, Mode::empty())
            .map_err(|e| Error::io("opening", path, e))?;
        Ok(Self {
            fd: fd.into(),
            display_path: path.to_owned(),
        })
    }

    fn duplicate(&self) -> Result<Self, Error> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)
            .map_err(|e| Error::io("opening", &self.display_path, e))?;
        Ok(Self {
            fd: fd.into(),
            display_path: self.display_path.clone(),
        })
    }

    /// Opens the directory `name` in this one; a symlink is [`Error::Unsafe`].
    pub(super) fn enter(self, name: &OsStr) -> Result<Self, Error> {
        let display_path = self.path_of(name);
        match rustix::fs::openat(&self.fd, name, DIRECTORY | NO_LINK, Mode::empty()) {
            Ok(fd) => Ok(Self {
                fd: fd.into(),
                display_path,
            }),
            // Linux reports a symlink as ENOTDIR, like a regular file.
            Err(Errno::NOTDIR | Errno::LOOP) if self.is_symlink(name) => Err(Error::Unsafe {
                path: display_path,
                hazard: Hazard::Symlink,
            }),
            Err(error) => Err(Error::io("opening the directory", &display_path, error)),
        }
    }

    fn is_symlink(&self, name: &OsStr) -> bool {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
    }

    /// Opens the directory `name`, creating it durably if it is missing. The parent of an existing
    /// one is synced too: its creator may have been killed before the sync.
    pub(super) fn enter_or_create(self, name: &OsStr) -> Result<Self, Error> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
            Ok(()) | Err(Errno::EXIST) => self.sync()?,
            Err(error) => {
                return Err(Error::io(
                    "creating the directory",
                    &self.path_of(name),
                    error,
                ));
            }
        }
        self.enter(name)
    }

    /// The path of `name` in messages.
    pub(super) fn path_of(&self, name: impl AsRef<Path>) -> PathBuf {
        self.display_path.join(name)
    }

    /// Opens `name` without following a symlink or waiting for a named pipe.
    pub(super) fn open_entry(&self, name: impl AsRef<OsStr>) -> Result<DirectoryEntry, Error> {
        let name = name.as_ref();
        let display_path = self.path_of(name);
        let file = match rustix::fs::openat(
            &self.fd,
            name,
            OFlags::RDONLY | OFlags::NONBLOCK | NO_LINK,
            Mode::empty(),
        ) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(DirectoryEntry::Absent),
            Err(Errno::LOOP) => return Ok(DirectoryEntry::NotRegular(Hazard::Symlink)),
            // A socket.
            Err(Errno::NXIO) => return Ok(DirectoryEntry::NotRegular(Hazard::Special)),
            Err(error) => return Err(Error::io("opening", &display_path, error)),
        };
        let metadata = file
            .metadata()
            .map_err(|e| Error::io("reading the metadata of", &display_path, e))?;
        if !metadata.is_file() {
            return Ok(DirectoryEntry::NotRegular(Hazard::Special));
        }
        Ok(DirectoryEntry::File(OpenFile {
            file,
            metadata,
            display_path,
        }))
    }

    /// Creates the file `name`, which must not exist, with access for its owner only.
    pub(super) fn create(&self, name: &str) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | NO_LINK;
        rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|e| Error::io("creating", &self.path_of(name), e))
    }

    /// Opens the lock `name`, creating it if it is missing. All users who may write to the directory
    /// share it.
    pub(super) fn open_lock(&self, name: &str) -> Result<File, Error> {
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        let flags = OFlags::RDWR | OFlags::CREATE | NO_LINK;
        rustix::fs::openat(&self.fd, name, flags, mode)
            .map(File::from)
            .map_err(|e| Error::io("opening", &self.path_of(name), e))
    }

    /// Removes `name` if it exists.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A read-only file system refuses before it looks up the name.
            Err(_) if self.is_absent(name) => Ok(()),
            Err(error) => Err(Error::io("removing", &self.path_of(name), error)),
        }
    }

    fn is_absent(&self, name: &str) -> bool {
        matches!(
            rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW),
            Err(Errno::NOENT)
        )
    }

    /// Renames within the directory, replacing an existing `to`.
    pub(super) fn rename(&self, from: &str, to: impl AsRef<OsStr>) -> Result<(), Error> {
        let to = to.as_ref();
        rustix::fs::renameat(&self.fd, from, &self.fd, to)
            .map_err(|e| Error::io("renaming", &self.path_of(from), e))
    }

    /// Exchanges two entries.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    pub(super) fn exchange(&self, a: &OsStr, b: &str) -> rustix::io::Result<()> {
        rustix::fs::renameat_with(&self.fd, a, &self.fd, b, rustix::fs::RenameFlags::EXCHANGE)
    }

    /// The system has no call for an exchange.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    pub(super) fn exchange(&self, _: &OsStr, _: &str) -> rustix::io::Result<()> {
        Err(Errno::NOSYS)
    }

    /// Creates the hard link `other` to the file `name`.
    pub(super) fn link(&self, name: &OsStr, other: &str) -> rustix::io::Result<()> {
        rustix::fs::linkat(&self.fd, name, &self.fd, other, AtFlags::empty())
    }

    /// Whether two entries are links to one file.
    pub(super) fn is_same(&self, a: &OsStr, b: &str) -> rustix::io::Result<bool> {
        let stat = |name: &OsStr| rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        let (a, b) = (stat(a)?, stat(b.as_ref())?);
        Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// Syncs changed entries of this directory to the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        match self.fd.sync_all() {
            Ok(()) => Ok(()),
            // Some network file systems cannot sync directories, and there is no alternative call.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            Err(error) => Err(Error::io(
                "syncing the directory",
                &self.path_of("."),
                error,
            )),
        }
    }
}

impl DirectoryEntry {
    /// The file, `None` if it is absent, or the hazard that forbids a replacement.
    pub(super) fn into_replaceable_file(self) -> Result<Option<OpenFile>, Hazard> {
        match self {
            Self::Absent => Ok(None),
            Self::NotRegular(hazard) => Err(hazard),
            Self::File(file) if file.metadata.nlink() > 1 => {
                Err(Hazard::HardLink(file.metadata.nlink()))
            }
            Self::File(file) => Ok(Some(file)),
        }
    }
}

impl OpenFile {
    pub(super) fn digest(&self) -> Result<Digest, Error> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match (&self.file).read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("reading", &self.display_path, error)),
            }
        }
    }

    /// Returns the whole content.
    pub(super) fn into_bytes(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.file
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io("reading", &self.display_path, e))?;
        Ok(bytes)
    }
}
