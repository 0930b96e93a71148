//! Where a root's lock and journal are kept, and what each name there means.
//!
//! In the directory `repin/<hash>` of the work tree's own git directory (each root below one work
//! tree has its own), outside git in the directory `.repin` of the root. No git command is asked:
//! `.git` is read.
//!
//! | name | means |
//! | --- | --- |
//! | `lock` | held with `flock` by the running process and released when the process ends in any
//! way; its text names the last holder |
//! | `journal.new` | being written: nothing else has happened yet |
//! | `journal.staging` | complete: copies may exist next to their targets, in any condition, and
//! contain no foreign bytes |
//! | `journal` | all copies were complete and on the disk: files may be exchanged, and every content counts |
//!
//! If the second and third were the same file, a half-written copy could not be distinguished from
//! foreign bytes.

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
/// How often, and how far apart, the lock is tried while others only look at it.
const LOOKS: u32 = 500;
const LOOK: Duration = Duration::from_millis(10);
const WRITING: &str = "journal.new";
const STAGING: &str = "journal.staging";
const EXCHANGING: &str = "journal";

/// Where the directory with the lock and the journal is, or would be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StateLocation {
    /// What is there already: a git directory, or the root.
    base: PathBuf,
    /// The directories below it.
    names: Vec<String>,
}

/// The directory, found.
#[derive(Debug)]
pub(super) struct StateDirectory(Directory);

/// The directory, and its lock until this is dropped.
#[derive(Debug)]
pub(super) struct LockedState {
    found: StateDirectory,
    _lock: File,
}

/// How far the run that wrote a journal may have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No file was exchanged.
    Staging,
    /// Files may be exchanged.
    Exchanging,
}

/// What a run left.
#[derive(Debug)]
pub(super) enum Stored {
    Nothing,
    /// A journal that was never completed.
    Torn,
    Complete(Phase, Vec<u8>),
}

impl StateLocation {
    /// The place for `root`, which is a canonical path.
    pub(super) fn of(root: &Path) -> Result<Self, Error> {
        for work_tree in root.ancestors() {
            if let Some(base) = git_directory(work_tree)? {
                let within = root.strip_prefix(work_tree).unwrap_or(root);
                let hash = Digest::of(within.as_os_str().as_bytes()).hex()[..16].to_owned();
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

    /// Opens the directory if it is there.
    pub(super) fn look(&self) -> Result<Option<StateDirectory>, Error> {
        let base = Directory::open(&self.base)?;
        match self
            .names
            .iter()
            .try_fold(base, |directory, name| directory.enter(OsStr::new(name)))
        {
            Ok(directory) => Ok(Some(StateDirectory(directory))),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the directory, creating it if it is missing, and takes its lock for `holder`.
    pub(super) fn hold(&self, holder: &str) -> Result<LockedState, Error> {
        let base = Directory::open(&self.base)?;
        let directory = self.names.iter().try_fold(base, |directory, name| {
            directory.enter_or_make(OsStr::new(name))
        })?;
        // The file stays when the lock is released: removed, it could be locked by one run that had
        // opened it before, and created and locked again by the next.
        let lock = directory.open_lock(LOCK)?;
        for _ in 0..LOOKS {
            match lock.try_lock() {
                Ok(()) => {
                    sign(&lock, holder);
                    return Ok(LockedState {
                        found: StateDirectory(directory),
                        _lock: lock,
                    });
                }
                // Whoever only looks shares it, for a moment; a run at work does not.
                Err(TryLockError::WouldBlock) if shared(&lock, &directory)? => {
                    std::thread::sleep(LOOK);
                }
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io("locking", &directory.at(LOCK), error));
                }
            }
        }
        Err(StateDirectory(directory).locked())
    }
}

/// Writes who holds a lock into it. That helps whoever is turned away and nobody else: a disk that
/// refuses it, even one that is full, stops no run.
fn sign(mut lock: &File, holder: &str) {
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.write_all(holder.as_bytes()));
}

/// Whether a lock that cannot be taken exclusively can be shared; it is released at once.
fn shared(lock: &File, directory: &Directory) -> Result<bool, Error> {
    let failed = |error| Error::io("locking", &directory.at(LOCK), error);
    match lock.try_lock_shared() {
        Ok(()) => lock.unlock().map(|()| true).map_err(failed),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

impl StateDirectory {
    /// Whether a run is at work here. The lock is shared for that, for a moment, so that two that
    /// look and one that begins don't get into each other's way.
    pub(super) fn is_locked(&self) -> Result<bool, Error> {
        match self.0.look(LOCK)? {
            DirectoryEntry::File(opened) => shared(&opened.file, &self.0).map(|shared| !shared),
            DirectoryEntry::Absent | DirectoryEntry::Odd(_) => Ok(false),
        }
    }

    /// The error of whoever finds the lock held, with what the run that holds it says about itself
    /// if that can be read.
    pub(super) fn locked(&self) -> Error {
        let holder = match self.0.look(LOCK) {
            Ok(DirectoryEntry::File(file)) => file.bytes().ok(),
            _ => None,
        };
        let holder = holder.and_then(|bytes| String::from_utf8(bytes).ok());
        Error::Locked {
            lock: self.0.at(LOCK),
            holder: holder.filter(|text| !text.is_empty()),
        }
    }

    /// Reads what is there.
    pub(super) fn read(&self) -> Result<Stored, Error> {
        for (name, phase) in [(EXCHANGING, Phase::Exchanging), (STAGING, Phase::Staging)] {
            if let Some(text) = self.read_file(name)? {
                return Ok(Stored::Complete(phase, text));
            }
        }
        match self.0.look(WRITING)? {
            DirectoryEntry::Absent => Ok(Stored::Nothing),
            _ => Ok(Stored::Torn),
        }
    }

    fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.0.look(name)? {
            DirectoryEntry::Absent => Ok(None),
            DirectoryEntry::File(file) => file.bytes().map(Some),
            DirectoryEntry::Odd(hazard) => Err(Error::Damaged {
                journal: self.0.at(name),
                reason: hazard.to_string(),
            }),
        }
    }

    /// The journal's file, for messages.
    pub(super) fn shown(&self) -> PathBuf {
        self.0.at(EXCHANGING)
    }
}

impl LockedState {
    /// Writes a journal durably. If that fails, none is left as far as it can be removed: half of
    /// one means nothing.
    pub(super) fn write(&self, journal: &Journal<'_>) -> Result<(), Error> {
        self.write_new(journal).inspect_err(|_| {
            let _ = self.drop_journal();
        })
    }

    fn write_new(&self, journal: &Journal<'_>) -> Result<(), Error> {
        let directory = self.directory();
        let failed = |error| Error::io("writing", &directory.at(WRITING), error);
        directory.remove(WRITING)?;
        let file = directory.create(WRITING)?;
        journal.write(BufWriter::new(&file)).map_err(failed)?;
        file.sync_all()
            .map_err(|e| Error::io("syncing", &directory.at(WRITING), e))?;
        directory.rename(WRITING, STAGING)?;
        directory.sync()
    }

    /// Notes durably that all copies are complete, so that files may be exchanged from now on.
    pub(super) fn begin_exchange(&self) -> Result<(), Error> {
        self.directory().rename(STAGING, EXCHANGING)?;
        self.directory().sync()
    }

    /// Takes [`begin_exchange`](Self::begin_exchange) back, so that copies may be written again.
    pub(super) fn begin_staging(&self) -> Result<(), Error> {
        self.directory().rename(EXCHANGING, STAGING)?;
        self.directory().sync()
    }

    /// Removes whatever journal there is.
    pub(super) fn drop_journal(&self) -> Result<(), Error> {
        let directory = self.directory();
        [WRITING, STAGING, EXCHANGING]
            .into_iter()
            .try_for_each(|name| directory.remove(name))?;
        // What the journal is about is settled and durable. If it comes back after a power cut it
        // is dropped again.
        let _ = directory.sync();
        Ok(())
    }

    fn directory(&self) -> &Directory {
        &self.found.0
    }
}

impl std::ops::Deref for LockedState {
    type Target = StateDirectory;

    fn deref(&self) -> &StateDirectory {
        &self.found
    }
}

/// The git directory of `work_tree`, if that is one.
fn git_directory(work_tree: &Path) -> Result<Option<PathBuf>, Error> {
    let dot_git = work_tree.join(".git");
    match std::fs::metadata(&dot_git) {
        Ok(metadata) if metadata.is_file() => linked(work_tree, &dot_git).map(Some),
        // Like git: a directory that only has the name is passed over.
        Ok(_) => Ok(dot_git.join("HEAD").exists().then_some(dot_git)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::io("looking at", &dot_git, error)),
    }
}

/// Where the file `.git` of a linked work tree or a submodule points: `gitdir: <path>`.
fn linked(work_tree: &Path, dot_git: &Path) -> Result<PathBuf, Error> {
    let failed = |error| Error::io("reading", dot_git, error);
    let mut text = Vec::new();
    File::open(dot_git)
        .and_then(|file| file.take(64 * 1024).read_to_end(&mut text))
        .map_err(failed)?;
    let path = text
        .strip_prefix(b"gitdir: ")
        .map(<[u8]>::trim_ascii_end)
        .filter(|path| !path.is_empty());
    let directory = path.map(|path| work_tree.join(OsStr::from_bytes(path)));
    match directory.filter(|directory| directory.join("HEAD").exists()) {
        Some(directory) => Ok(directory),
        None => Err(failed(io::Error::other(
            "it does not point to a git directory; repair it with `git worktree repair`",
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_work_tree_above_the_root_keeps_the_state_and_each_root_has_its_own() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        fs::create_dir_all(top.join(".git")).unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        assert_eq!(
            StateLocation::of(&top.join("a")).unwrap().base,
            top.join("a"),
            "a .git without HEAD is none"
        );
        fs::write(top.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        let [root, a, b] =
            [&top, &top.join("a"), &top.join("a/b")].map(|root| StateLocation::of(root).unwrap());
        assert_eq!(root.base, top.join(".git"));
        assert_eq!(b.base, top.join(".git"));
        assert!(root != a && a != b && root != b);
    }

    #[test]
    fn a_linked_work_tree_keeps_the_state_in_its_own_git_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("main/.git/worktrees/x")).unwrap();
        fs::create_dir_all(top.join("x/sub")).unwrap();
        fs::write(top.join("x/.git"), "gitdir: ../main/.git/worktrees/x\n").unwrap();
        let error = StateLocation::of(&top.join("x/sub"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("does not point to a git directory"),
            "{error}"
        );
        fs::write(top.join("main/.git/worktrees/x/HEAD"), "").unwrap();
        assert_eq!(
            StateLocation::of(&top.join("x/sub")).unwrap().base,
            top.join("x/../main/.git/worktrees/x")
        );
        // No path is not the path of the work tree.
        fs::write(top.join("x/HEAD"), "").unwrap();
        for text in [
            "",
            "gitdir: ",
            "gitdir: \n",
            "elsewhere",
            "gitdir: /nowhere\n",
        ] {
            fs::write(top.join("x/.git"), text).unwrap();
            assert!(StateLocation::of(&top.join("x")).is_err(), "{text:?}");
        }
    }

    #[test]
    fn unreadable_git_directory_is_not_skipped() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        // Permissions don't bind root, a circle does.
        std::os::unix::fs::symlink(".git", top.join(".git")).unwrap();
        assert!(matches!(StateLocation::of(&top), Err(Error::Io { .. })));
    }

    #[test]
    fn looking_makes_nothing_and_a_symlink_is_not_entered() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().canonicalize().unwrap();
        let place = StateLocation::of(&top).unwrap();
        assert!(place.look().unwrap().is_none());
        assert_eq!(fs::read_dir(&top).unwrap().count(), 0);
        fs::create_dir(top.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", top.join(".repin")).unwrap();
        assert!(matches!(place.look(), Err(Error::Unsafe { .. })));
        assert!(matches!(place.hold("a test"), Err(Error::Unsafe { .. })));
    }

    #[test]
    fn the_lock_is_held_by_one_and_ends_with_it() {
        let scratch = tempfile::tempdir().unwrap();
        let place = StateLocation::of(&scratch.path().canonicalize().unwrap()).unwrap();
        let held = place.hold("a test").unwrap();
        assert!(matches!(place.hold("a test"), Err(Error::Locked { .. })));
        drop(held);
        assert!(place.hold("a test").is_ok());
    }

    #[test]
    fn reading_the_lock_blocks_no_run_and_names_the_holder() {
        let scratch = tempfile::tempdir().unwrap();
        let place = StateLocation::of(&scratch.path().canonicalize().unwrap()).unwrap();
        drop(place.hold("a test").unwrap());
        let found = place.look().unwrap().unwrap();
        assert!(!found.is_locked().unwrap());
        let held = place.hold("a test").unwrap();
        assert!(found.is_locked().unwrap() && found.is_locked().unwrap());
        drop(held);
        // Someone looks for as long as it takes until a run is seen to wait for it.
        let DirectoryEntry::File(lock) = found.0.look(LOCK).unwrap() else {
            panic!("no lock")
        };
        lock.file.lock_shared().unwrap();
        std::thread::scope(|scope| {
            let run = scope.spawn(|| place.hold("a test").map(drop));
            std::thread::sleep(LOOK * 3);
            lock.file.unlock().unwrap();
            run.join().unwrap().unwrap();
        });
    }
}
