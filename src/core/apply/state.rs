//! The directory that contains a root's lock and journal, and the meaning of each file in it.
//!
//! It is the directory `repin/<hash>` in the git directory of the work tree, with a different hash
//! for each root below one work tree, or the directory `.repin` of a root outside git. `.git` is
//! inspected directly, without a git command.
//!
//! | name | meaning |
//! | --- | --- |
//! | `lock` | held with `flock` by the running process until its exit; its text is the last holder |
//! | `journal.new` | incomplete: no other file has been written yet |
//! | `journal.staging` | complete: copies may exist next to their targets, also half-written ones |
//! | `journal` | all copies were complete and synced: files may be exchanged; unknown content is foreign |
//!
//! The next run that takes the lock resolves it (`recover.rs`): it removes an incomplete journal, and the copies and the journal if
//! every file has its old content or every file its new one; it finishes the exchange if some are old and some new; and it
//! changes nothing if a file, or in the last phase a copy, has foreign content.
//!
//! If `journal.staging` and `journal` were one file, a half-written copy could not be distinguished
//! from foreign content.

use std::{
    ffi::OsStr,
    fs::{File, TryLockError},
    io::{self, BufWriter, Read, Write as _},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    directory::{Directory, DirectoryEntry},
    error::Error,
    journal::Journal,
};
use crate::oci::Digest;

const LOCK: &str = "lock";
/// The number and interval of attempts to take the lock while other processes share it.
const LOCK_ATTEMPTS: u32 = 500;
const LOCK_INTERVAL: Duration = Duration::from_millis(10);
const WRITING: &str = "journal.new";
const STAGING: &str = "journal.staging";
const EXCHANGING: &str = "journal";

/// The location of the directory, which may be missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StateLocation {
    /// An existing directory: a git directory, or the root.
    base: PathBuf,
    /// The directories from `base` to the state directory.
    names: Vec<String>,
}

/// The open directory.
#[derive(Debug)]
pub(super) struct StateDirectory(Directory);

/// The open directory and its lock, which is released on drop.
#[derive(Debug)]
pub(super) struct LockedState {
    directory: StateDirectory,
    _lock: File,
}

/// The phase of the run that wrote a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No file was exchanged.
    Staging,
    /// Files may have been exchanged.
    Exchanging,
}

#[derive(Debug)]
pub(super) enum StoredJournal {
    Missing,
    /// A journal that was never completed.
    Incomplete {
        path: PathBuf,
    },
    Complete {
        path: PathBuf,
        phase: Phase,
        text: Vec<u8>,
    },
}

impl StateLocation {
    /// The location for `root`, a canonical path.
    pub(super) fn for_root(root: &Path) -> Result<Self, Error> {
        for work_tree in root.ancestors() {
            if let Some(base) = git_directory(work_tree)? {
                let path = root.strip_prefix(work_tree).unwrap_or(root);
                let hash = Digest::of(path.as_os_str().as_bytes()).hex()[..16].to_owned();
                return Ok(Self {
                    base,
                    names: vec!["repin".to_owned(), hash],
                });
            }
        }
        Ok(Self {
            base: root.to_owned(),
            names: vec![".repin".to_owned()],
        })
    }

    /// Opens the directory, or returns `None` if it is missing.
    pub(super) fn open(&self) -> Result<Option<StateDirectory>, Error> {
        let mut directory = Directory::open(&self.base)?;
        for name in &self.names {
            directory = match directory.enter(OsStr::new(name)) {
                Err(error) if error.is_absence() => return Ok(None),
                entered => entered?,
            };
        }
        Ok(Some(StateDirectory(directory)))
    }

    /// Opens the directory, creating it if it is missing, and takes its lock for `holder`.
    pub(super) fn lock(&self, holder: &str) -> Result<LockedState, Error> {
        let mut directory = Directory::open(&self.base)?;
        for name in &self.names {
            directory = directory.enter_or_create(OsStr::new(name))?;
        }
        // The lock file remains when the lock is released. If it were removed, one run could lock the
        // deleted file and another run a new file of the same name.
        let lock = directory.open_lock(LOCK)?;
        for _ in 0..LOCK_ATTEMPTS {
            match lock.try_lock() {
                Ok(()) => {
                    write_holder(&lock, holder);
                    return Ok(LockedState {
                        directory: StateDirectory(directory),
                        _lock: lock,
                    });
                }
                // `is_locked` shares the lock for a moment; a run holds it exclusively.
                Err(TryLockError::WouldBlock) if can_share(&lock, &directory)? => {
                    std::thread::sleep(LOCK_INTERVAL);
                }
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io("locking", &directory.path_of(LOCK), error));
                }
            }
        }
        Err(StateDirectory(directory).locked_error())
    }
}

/// Writes the holder's description into the lock file. A failure is ignored, for example on a full
/// disk: only the error messages of other processes contain the text.
fn write_holder(mut lock: &File, holder: &str) {
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.write_all(holder.as_bytes()));
}

/// Whether a shared lock can be taken; it is released immediately.
fn can_share(lock: &File, directory: &Directory) -> Result<bool, Error> {
    let failed = |error| Error::io("locking", &directory.path_of(LOCK), error);
    match lock.try_lock_shared() {
        Ok(()) => lock.unlock().map(|()| true).map_err(failed),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

impl StateDirectory {
    /// Whether a run holds the lock. The check takes a shared lock for a moment, so that concurrent
    /// checks do not report each other. A starting run is only delayed by it.
    pub(super) fn is_locked(&self) -> Result<bool, Error> {
        match self.0.open_entry(LOCK)? {
            DirectoryEntry::File(lock) => Ok(!can_share(&lock.file, &self.0)?),
            DirectoryEntry::Absent | DirectoryEntry::NotRegular(_) => Ok(false),
        }
    }

    /// The error for a held lock, with the holder's description if the lock file can be read.
    pub(super) fn locked_error(&self) -> Error {
        let text = match self.0.open_entry(LOCK) {
            Ok(DirectoryEntry::File(lock)) => lock.into_bytes().unwrap_or_default(),
            _ => Vec::new(),
        };
        Error::Locked {
            lock: self.0.path_of(LOCK),
            holder: String::from_utf8(text).ok().filter(|text| !text.is_empty()),
        }
    }

    pub(super) fn read(&self) -> Result<StoredJournal, Error> {
        for (name, phase) in [(EXCHANGING, Phase::Exchanging), (STAGING, Phase::Staging)] {
            if let Some(text) = self.read_file(name)? {
                let path = self.0.path_of(name);
                return Ok(StoredJournal::Complete { path, phase, text });
            }
        }
        match self.0.open_entry(WRITING)? {
            DirectoryEntry::Absent => Ok(StoredJournal::Missing),
            _ => Ok(StoredJournal::Incomplete {
                path: self.0.path_of(WRITING),
            }),
        }
    }

    fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.0.open_entry(name)? {
            DirectoryEntry::Absent => Ok(None),
            DirectoryEntry::File(file) => file.into_bytes().map(Some),
            DirectoryEntry::NotRegular(hazard) => Err(Error::Damaged {
                journal: self.0.path_of(name),
                reason: hazard.to_string(),
            }),
        }
    }
}

impl LockedState {
    /// Writes a journal durably. A failed write removes the incomplete journal if it can.
    pub(super) fn write(&self, journal: &Journal<'_>) -> Result<(), Error> {
        self.write_new(journal).inspect_err(|_| {
            let _ = self.remove_journal();
        })
    }

    fn write_new(&self, journal: &Journal<'_>) -> Result<(), Error> {
        let directory = &self.directory.0;
        let file = directory.create(WRITING)?;
        journal
            .write(BufWriter::new(&file))
            .map_err(|e| Error::io("writing", &directory.path_of(WRITING), e))?;
        file.sync_all()
            .map_err(|e| Error::io("syncing", &directory.path_of(WRITING), e))?;
        directory.rename(WRITING, STAGING)?;
        directory.sync()
    }

    /// Records durably that all copies are complete and files may be exchanged.
    pub(super) fn begin_exchange(&self) -> Result<(), Error> {
        self.directory.0.rename(STAGING, EXCHANGING)?;
        self.directory.0.sync()
    }

    /// Reverts [`begin_exchange`](Self::begin_exchange), so that copies may be written.
    pub(super) fn begin_staging(&self) -> Result<(), Error> {
        self.directory.0.rename(EXCHANGING, STAGING)?;
        self.directory.0.sync()
    }

    /// Removes the journal in any phase.
    pub(super) fn remove_journal(&self) -> Result<(), Error> {
        let directory = &self.directory.0;
        for name in [WRITING, STAGING, EXCHANGING] {
            directory.remove(name)?;
        }
        // A failed sync is harmless: the files are durable, and if the journal reappears after a
        // power cut, the next recovery removes it.
        let _ = directory.sync();
        Ok(())
    }
}

impl std::ops::Deref for LockedState {
    type Target = StateDirectory;

    fn deref(&self) -> &StateDirectory {
        &self.directory
    }
}

/// The git directory of `work_tree`, or `None` if the directory is not a work tree.
fn git_directory(work_tree: &Path) -> Result<Option<PathBuf>, Error> {
    let dot_git = work_tree.join(".git");
    match std::fs::metadata(&dot_git) {
        Ok(metadata) if metadata.is_file() => linked_git_directory(work_tree, &dot_git).map(Some),
        // Like git, ignore a directory `.git` without HEAD.
        Ok(_) => Ok(dot_git.join("HEAD").exists().then_some(dot_git)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::io("reading", &dot_git, error)),
    }
}

/// The git directory of a linked work tree or a submodule. Its file `.git` contains `gitdir:
/// <path>`.
fn linked_git_directory(work_tree: &Path, dot_git: &Path) -> Result<PathBuf, Error> {
    let failed = |error| Error::io("reading", dot_git, error);
    let mut text = Vec::new();
    File::open(dot_git)
        .and_then(|file| file.take(64 * 1024).read_to_end(&mut text))
        .map_err(failed)?;
    let path = text
        .strip_prefix(b"gitdir: ")
        .map(<[u8]>::trim_ascii_end)
        .filter(|path| !path.is_empty());
    if let Some(path) = path {
        let directory = work_tree.join(OsStr::from_bytes(path));
        if directory.join("HEAD").exists() {
            return Ok(directory);
        }
    }
    Err(failed(io::Error::other(
        "it does not point to a git directory; repair it with `git worktree repair`",
    )))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn roots_of_one_work_tree_have_separate_state() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        fs::create_dir_all(top.join(".git")).unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        assert_eq!(
            StateLocation::for_root(&top.join("a")).unwrap().base,
            top.join("a"),
            "a .git without HEAD is ignored"
        );
        fs::write(top.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        let [root, a, b] = [&top, &top.join("a"), &top.join("a/b")]
            .map(|root| StateLocation::for_root(root).unwrap());
        assert_eq!(root.base, top.join(".git"));
        assert_eq!(b.base, top.join(".git"));
        assert!(root != a && a != b && root != b);
    }

    #[test]
    fn linked_work_tree_uses_its_git_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("main/.git/worktrees/x")).unwrap();
        fs::create_dir_all(top.join("x/sub")).unwrap();
        fs::write(top.join("x/.git"), "gitdir: ../main/.git/worktrees/x\n").unwrap();
        let error = StateLocation::for_root(&top.join("x/sub"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("does not point to a git directory"),
            "{error}"
        );
        fs::write(top.join("main/.git/worktrees/x/HEAD"), "").unwrap();
        assert_eq!(
            StateLocation::for_root(&top.join("x/sub")).unwrap().base,
            top.join("x/../main/.git/worktrees/x")
        );
        // An empty path must not resolve to the work tree.
        fs::write(top.join("x/HEAD"), "").unwrap();
        for text in ["", "gitdir: ", "gitdir: \n", "target", "gitdir: /nowhere\n"] {
            fs::write(top.join("x/.git"), text).unwrap();
            assert!(StateLocation::for_root(&top.join("x")).is_err(), "{text:?}");
        }
    }

    #[test]
    fn unreadable_git_directory_is_not_skipped() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        // Root ignores permissions, but not a symlink loop.
        std::os::unix::fs::symlink(".git", top.join(".git")).unwrap();
        assert!(matches!(
            StateLocation::for_root(&top),
            Err(Error::Io { .. })
        ));
    }

    #[test]
    fn open_creates_nothing_and_refuses_symlinks() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        let location = StateLocation::for_root(&top).unwrap();
        assert!(location.open().unwrap().is_none());
        assert_eq!(fs::read_dir(&top).unwrap().count(), 0);
        fs::create_dir(top.join("target")).unwrap();
        std::os::unix::fs::symlink("target", top.join(".repin")).unwrap();
        assert!(matches!(location.open(), Err(Error::Unsafe { .. })));
        assert!(matches!(location.lock("a test"), Err(Error::Unsafe { .. })));
    }

    #[test]
    fn lock_is_exclusive_until_dropped() {
        let scratch = tempfile::tempdir().unwrap();
        let location = StateLocation::for_root(&scratch.path().canonicalize().unwrap()).unwrap();
        let lock = location.lock("a test").unwrap();
        assert!(matches!(location.lock("a test"), Err(Error::Locked { .. })));
        drop(lock);
        assert!(location.lock("a test").is_ok());
    }

    #[test]
    fn shared_lock_only_delays_a_run() {
        let scratch = tempfile::tempdir().unwrap();
        let location = StateLocation::for_root(&scratch.path().canonicalize().unwrap()).unwrap();
        drop(location.lock("a test").unwrap());
        let directory = location.open().unwrap().unwrap();
        assert!(!directory.is_locked().unwrap());
        let lock = location.lock("a test").unwrap();
        assert!(directory.is_locked().unwrap() && directory.is_locked().unwrap());
        drop(lock);
        // A check that lasts until a starting run is waiting for it.
        let DirectoryEntry::File(shared) = directory.0.open_entry(LOCK).unwrap() else {
            panic!("no lock")
        };
        shared.file.lock_shared().unwrap();
        std::thread::scope(|scope| {
            let run = scope.spawn(|| location.lock("a test").map(drop));
            std::thread::sleep(LOCK_INTERVAL * 3);
            shared.file.unlock().unwrap();
            run.join().unwrap().unwrap();
        });
    }
}
