//! Open directories and their entries.
//!
//! A path beneath the root is walked one component at a time, never through a symlink and never by
//! `..`, so a directory that was replaced since the plan was made cannot lead outside. This is the
//! guarantee of `openat2` with `BENEATH` and `NO_SYMLINKS`, without a second way for the systems
//! and sandboxes that lack it.

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
    config::RelPath,
    files::Hazard,
    oci::{Digest, Hasher},
};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
const NO_LINK: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// The root, open.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    directory: Directory,
}

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory {
    fd: File,
    /// As messages name it.
    shown: PathBuf,
}

/// The entry at a name.
#[derive(Debug)]
pub(super) enum DirectoryEntry {
    Absent,
    /// Not a regular file.
    Odd(Hazard),
    File(Opened),
}

/// A regular file, open for reading.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) metadata: Metadata,
    shown: PathBuf,
}

impl Root {
    /// Opens `path`, whose own symlinks are the caller's choice.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let path = path
            .canonicalize()
            .map_err(|e| Error::io("finding", path, e))?;
        let directory = Directory {
            shown: PathBuf::new(),
            ..Directory::open(&path)?
        };
        Ok(Self { path, directory })
    }

    /// The root itself, without symlinks.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory that `file` is in.
    pub(super) fn directory_of(&self, file: &RelPath) -> Result<Directory, Error> {
        let above = file.as_path().parent().unwrap_or(Path::new(""));
        above
            .components()
            .try_fold(self.directory.again()?, |directory, name| {
                directory.enter(name.as_os_str())
            })
    }

    /// Makes what was done to names in the items' directories durable. A directory that is gone has
    /// nothing to keep.
    pub(super) fn sync_directories<'a>(
        &self,
        items: impl IntoIterator<Item = &'a Item<'a>>,
    ) -> Result<(), Error> {
        let items = items.into_iter();
        let directories: BTreeMap<_, _> = items
            .map(|item| (item.path.as_path().parent(), &item.path))
            .collect();
        directories
            .values()
            .try_for_each(|file| match self.directory_of(file) {
                Err(error) if error.is_absence() => Ok(()),
                directory => directory?.sync(),
            })
    }
}

impl Directory {
    /// Opens `path`, following symlinks.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let fd = rustix::fs::open(path, DIRECTORY, Mode::empty())
            .map_err(|e| Error::io("opening", path, e))?;
        Ok(Self {
            fd: fd.into(),
            shown: path.to_owned(),
        })
    }

    fn again(&self) -> Result<Self, Error> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)
            .map_err(|e| Error::io("opening", &self.shown, e))?;
        Ok(Self {
            fd: fd.into(),
            shown: self.shown.clone(),
        })
    }

    /// Opens the directory `name` in this one; a symlink is [`Error::Unsafe`].
    pub(super) fn enter(self, name: &OsStr) -> Result<Self, Error> {
        let shown = self.at(name);
        match rustix::fs::openat(&self.fd, name, DIRECTORY | NO_LINK, Mode::empty()) {
            Ok(fd) => Ok(Self {
                fd: fd.into(),
                shown,
            }),
            // Linux says ENOTDIR for a symlink, too.
            Err(Errno::NOTDIR | Errno::LOOP) if self.is_symlink(name) => Err(Error::Unsafe {
                path: shown,
                hazard: Hazard::Symlink,
            }),
            Err(error) => Err(Error::io("opening the directory", &shown, error)),
        }
    }

    fn is_symlink(&self, name: &OsStr) -> bool {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
    }

    /// Opens the directory `name`, creating it durably if it is missing. An existing one is synced
    /// too: its creator may have been killed before its own sync, or may be about to sync.
    pub(super) fn enter_or_make(self, name: &OsStr) -> Result<Self, Error> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
            Ok(()) | Err(Errno::EXIST) => self.sync()?,
            Err(error) => return Err(Error::io("creating the directory", &self.at(name), error)),
        }
        self.enter(name)
    }

    /// The name as messages show it.
    pub(super) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.shown.join(name)
    }

    /// Looks at `name` without following a symlink or waiting for a named pipe.
    pub(super) fn look(&self, name: impl AsRef<OsStr>) -> Result<DirectoryEntry, Error> {
        let name = name.as_ref();
        let shown = self.at(name);
        let file = match rustix::fs::openat(
            &self.fd,
            name,
            OFlags::RDONLY | OFlags::NONBLOCK | NO_LINK,
            Mode::empty(),
        ) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(DirectoryEntry::Absent),
            Err(Errno::LOOP) => return Ok(DirectoryEntry::Odd(Hazard::Symlink)),
            // A socket.
            Err(Errno::NXIO) => return Ok(DirectoryEntry::Odd(Hazard::Special)),
            Err(error) => return Err(Error::io("opening", &shown, error)),
        };
        let metadata = file
            .metadata()
            .map_err(|e| Error::io("looking at", &shown, e))?;
        if metadata.is_file() {
            Ok(DirectoryEntry::File(Opened {
                file,
                metadata,
                shown,
            }))
        } else {
            Ok(DirectoryEntry::Odd(Hazard::Special))
        }
    }

    /// Creates the file `name`, which must not be there, readable by its owner alone.
    pub(super) fn create(&self, name: &str) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | NO_LINK;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR);
        fd.map(File::from)
            .map_err(|e| Error::io("creating", &self.at(name), e))
    }

    /// Opens the lock `name`, creating it if it is missing; every user who may write in the
    /// directory may share it.
    pub(super) fn open_lock(&self, name: &str) -> Result<File, Error> {
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        let fd = rustix::fs::openat(
            &self.fd,
            name,
            OFlags::RDWR | OFlags::CREATE | NO_LINK,
            mode,
        );
        fd.map(File::from)
            .map_err(|e| Error::io("opening", &self.at(name), e))
    }

    /// Removes `name`, which need not be there.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A read-only file system refuses first and looks after.
            Err(_) if self.is_absent(name) => Ok(()),
            Err(error) => Err(Error::io("removing", &self.at(name), error)),
        }
    }

    fn is_absent(&self, name: &str) -> bool {
        matches!(
            rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW),
            Err(Errno::NOENT)
        )
    }

    /// Renames within the directory, over what may be there.
    pub(super) fn rename(&self, from: &str, to: impl AsRef<OsStr>) -> Result<(), Error> {
        let to = to.as_ref();
        let renamed = rustix::fs::renameat(&self.fd, from, &self.fd, to);
        renamed.map_err(|e| Error::io("renaming", &self.at(from), e))
    }

    /// Exchanges the entries at two names.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    pub(super) fn exchange(&self, a: &OsStr, b: &str) -> rustix::io::Result<()> {
        rustix::fs::renameat_with(&self.fd, a, &self.fd, b, rustix::fs::RenameFlags::EXCHANGE)
    }

    /// Exchanging is not known here.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    pub(super) fn exchange(&self, _: &OsStr, _: &str) -> rustix::io::Result<()> {
        Err(Errno::NOSYS)
    }

    /// Gives the file `name` the second name `other`.
    pub(super) fn link(&self, name: &OsStr, other: &str) -> rustix::io::Result<()> {
        rustix::fs::linkat(&self.fd, name, &self.fd, other, AtFlags::empty())
    }

    /// Whether two names are one file.
    pub(super) fn is_same(&self, a: &OsStr, b: &str) -> rustix::io::Result<bool> {
        let stat = |name: &OsStr| rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        let (a, b) = (stat(a)?, stat(b.as_ref())?);
        Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// Makes what was done to names in this directory durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        match self.fd.sync_all() {
            Ok(()) => Ok(()),
            // Some network file systems cannot sync directories, and there is no alternative call.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            Err(error) => Err(Error::io("syncing the directory", &self.at("."), error)),
        }
    }
}

impl DirectoryEntry {
    /// The file, if one is there and may be replaced: the error says why not.
    pub(super) fn replaceable(self) -> Result<Option<Opened>, Hazard> {
        match self {
            Self::Absent => Ok(None),
            Self::Odd(hazard) => Err(hazard),
            Self::File(file) if file.metadata.nlink() > 1 => {
                Err(Hazard::HardLink(file.metadata.nlink()))
            }
            Self::File(file) => Ok(Some(file)),
        }
    }
}

impl Opened {
    /// The digest of the content.
    pub(super) fn digest(&self) -> Result<Digest, Error> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match (&self.file).read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("reading", &self.shown, error)),
            }
        }
    }

    /// The whole content.
    pub(super) fn bytes(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.file.read_to_end(&mut bytes);
        read.map_err(|e| Error::io("reading", &self.shown, e))?;
        Ok(bytes)
    }
}
