//! Applying a plan to the work tree: every file gets its new content, or none does.
//!
//! Nothing is scanned, planned or shown here, and no git command runs. [`FileChange`]s come in;
//! files change, and a [`Recovery`] or an [`Error`] goes out. The steps: take the lock (`state`),
//! write the journal (`journal`), write the new contents next to their targets (`stage`), exchange
//! them (`exchange`), clean up. What a crash leaves behind is finished or undone from the journal
//! (`recover`). Every name is reached directory by directory (`directory`), so that a symlink put
//! in the way leads nowhere. `state` explains the two phases.

mod directory;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/properties/journal.rs"]
pub(crate) mod fuzzing;
mod journal;
mod recover;
mod recovery;
mod stage;
mod state;
#[cfg(test)]
mod tests;

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
};

pub use error::Error;
pub use recovery::{Content, FileState, Recovery, StagedCopy, State};

use self::{
    directory::Root,
    journal::{Item, Journal},
    state::{StateLocation, Stored},
};
use crate::plan::FileChange;

/// Holds the lock of one root until it is dropped.
#[derive(Debug)]
pub struct Session {
    root: Root,
    state: state::LockedState,
}

impl Session {
    /// Takes the lock of `root`; [`Error::Locked`] at once if another run holds it. `holder` says
    /// in one line who takes it, for those that are turned away. What an interrupted run left is
    /// not looked at: call [`recover`](Self::recover) next.
    pub fn begin(root: &Path, holder: &str) -> Result<Self, Error> {
        let root = Root::open(root)?;
        let state = StateLocation::of(root.path())?.hold(holder)?;
        Ok(Self { root, state })
    }

    /// Finishes or undoes what an interrupted run left. What cannot be resolved is
    /// [`Error::Unresolved`] or [`Error::Damaged`], and then nothing was touched.
    pub fn recover(&mut self) -> Result<Recovery, Error> {
        recover::resolve(&self.root, &self.state)
    }

    /// Drops the journal and the copies that hold known contents, whatever the files hold: those
    /// stay as they are. Copies with other contents stay too, and are named in the result.
    pub fn discard(&mut self) -> Result<Recovery, Error> {
        recover::discard(&self.root, &self.state)
    }

    /// Gives all files their new content, or leaves all with their old one. An empty slice touches
    /// nothing.
    pub fn apply(&mut self, changes: &[FileChange]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        if !matches!(self.state.read()?, Stored::Nothing) {
            return Err(Error::Pending {
                journal: self.state.shown(),
            });
        }
        let journal = Journal::of(changes, RandomState::new().hash_one(changes.len()));
        preflight(&self.root, &journal.items)?;
        self.state.write(&journal)?;
        self.carry_out(&journal.items)
            .map_err(|failure| failure.into_error(&self.root, &self.state, &journal.items))?;
        // The files are all new and on the disk: from here on there is only clearing away to do.
        let cleared = recover::clear(&self.root, &self.state, &journal.items);
        cleared.map_err(|cause| Error::Uncleared {
            cause: Box::new(cause),
        })
    }

    /// From the journal to the point of no return: the first old content that is dropped.
    fn carry_out(&self, items: &[Item<'_>]) -> Result<(), Failure> {
        let all: Vec<&Item<'_>> = items.iter().collect();
        stage::stage_all(&self.root, &all)
            .and_then(|()| self.root.sync_directories(items))
            .map_err(Failure::Staging)?;
        self.state.begin_exchange().map_err(Failure::Staging)?;
        exchange::all(&self.root, &all)
            .and_then(|()| self.root.sync_directories(items))
            // Whoever had a file open for writing since before its exchange may have written only
            // now.
            .and_then(|()| {
                all.iter()
                    .try_for_each(|item| exchange::came_out(&self.root, item))
            })
            .and_then(|()| recover::remove_copies(&self.root, &items[0]))
            .map_err(Failure::Exchanging)
    }
}

/// Reports whether an interrupted run left a journal (or a running one has one), and what `recover`
/// would find and do. Takes no lock and changes nothing; `None` if there is no journal.
pub fn pending(root: &Path) -> Result<Option<Recovery>, Error> {
    let root = Root::open(root)?;
    match StateLocation::of(root.path())?.look()? {
        Some(state) => recover::foresee(&root, &state),
        None => Ok(None),
    }
}

/// An [`Error::Locked`] if a run holds the lock of `root` now. Changes nothing; `None` where nobody
/// does.
pub fn locked(root: &Path) -> Result<Option<Error>, Error> {
    let root = Root::open(root)?;
    match StateLocation::of(root.path())?.look()? {
        Some(state) => Ok(state.is_locked()?.then(|| state.locked())),
        None => Ok(None),
    }
}

/// How far a plan came before it failed.
enum Failure {
    /// No file was exchanged.
    Staging(Error),
    /// Some may be.
    Exchanging(Error),
}

impl Failure {
    /// Undoes what was done; if that fails too the journal stays.
    fn into_error(self, root: &Root, state: &state::LockedState, items: &[Item<'_>]) -> Error {
        let (cause, back) = match self {
            Self::Staging(cause) => (cause, Ok(())),
            Self::Exchanging(cause) => {
                let back = exchange::back(root, &items.iter().collect::<Vec<_>>());
                (cause, back.and_then(|()| root.sync_directories(items)))
            }
        };
        match back.and_then(|()| recover::clear(root, state, items)) {
            Ok(()) => cause,
            Err(undo) => Error::Unfinished {
                cause: Box::new(cause),
                undo: Box::new(undo),
            },
        }
    }
}

/// Looks at every target before anything is written: a regular file with one name and the content
/// that the plan was made from.
fn preflight(root: &Root, items: &[Item<'_>]) -> Result<(), Error> {
    let mut edited = Vec::new();
    let mut unsafe_file = None;
    for item in items {
        match root
            .directory_of(&item.path)?
            .look(item.name())?
            .replaceable()
        {
            Err(hazard) => {
                _ = unsafe_file.get_or_insert_with(|| stage::unsafe_target(item, hazard));
            }
            Ok(Some(file)) if file.digest()? == item.old => {}
            Ok(_) => edited.push(item.path.clone()),
        }
    }
    match (edited.is_empty(), unsafe_file) {
        (false, _) => Err(Error::Conflict { files: edited }),
        (true, Some(error)) => Err(error),
        (true, None) => Ok(()),
    }
}
