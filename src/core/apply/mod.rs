//! Applies a plan to the work tree: either every file gets its new content, or none does.
//!
//! The input is a list of [`FileChange`]s; the output is changed files, and a [`Recovery`] or an
//! [`Error`]. Scanning, planning, printing and git commands are the tasks of other modules. The steps: take
//! the lock (`state`), write the journal (`journal`), write the new contents next to their targets
//! and exchange each target with its copy (`stage`), clean up. After a crash, the journal
//! suffices to finish or undo the run (`recover`). Every path is opened directory by directory
//! (`directory`), so that a planted symlink cannot redirect a write. `state` explains the two phases.

mod directory;
mod error;
#[cfg(any(test, fuzzing))]
#[path = "../../../fuzz/properties/journal.rs"]
pub(crate) mod fuzzing;
mod journal;
mod recover;
mod stage;
mod state;
#[cfg(test)]
mod tests;

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
};

pub(crate) use error::{Content, Error, Recovery, RecoveryState};
pub(crate) use journal::RunIdentity;

use self::{
    directory::Root,
    journal::{Item, Journal},
    state::{LockedState, Phase, StateLocation, StoredJournal},
};
use crate::core::plan::FileChange;

/// Holds the lock of one root until it is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    root: Root,
    state: LockedState,
    /// Whether this run finished an interrupted one, which changed files.
    pub(crate) has_finished_another: bool,
}

impl Session {
    /// Takes the lock of `root`, or fails immediately with [`Error::Locked`]. `holder` describes this
    /// run in one line for the processes that find the lock held. Call
    /// [`recover`](Self::recover) next: an interrupted run may have left a journal.
    pub(crate) fn begin(root: &Path, holder: &str) -> Result<Self, Error> {
        let root = Root::open(root)?;
        let state = StateLocation::for_root(root.path())?.lock(holder)?;
        Ok(Self {
            root,
            state,
            has_finished_another: false,
        })
    }

    /// Finishes or undoes an interrupted run. If its files contain foreign content or its journal is
    /// damaged, returns [`Error::Unresolved`] or [`Error::Damaged`] and changes nothing.
    pub(crate) fn recover(&mut self) -> Result<Recovery, Error> {
        let recovery = recover::resolve(&self.root, &self.state)?;
        self.has_finished_another = recovery.state == RecoveryState::Forward;
        Ok(recovery)
    }

    /// Deletes the journal and the copies with known contents. The files remain unchanged, and so do
    /// the copies with foreign contents, which the result lists.
    pub(crate) fn discard(&mut self) -> Result<Recovery, Error> {
        recover::discard(&self.root, &self.state)
    }

    /// Gives every file its new content, or restores the old content of all. An empty slice is a
    /// no-op. `run` identifies the run if another one has to recover from its interruption.
    pub(crate) fn apply(&mut self, changes: &[FileChange], run: RunIdentity) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        match self.state.read()? {
            StoredJournal::Missing => {}
            StoredJournal::Incomplete { path } | StoredJournal::Complete { path, .. } => {
                return Err(Error::Pending { journal: path });
            }
        }
        let journal = Journal::new(changes, RandomState::new().hash_one(changes.len()), run);
        let items = &journal.items;
        check_targets(&self.root, items)?;
        self.state.write(&journal)?;
        if let Err(cause) = self.stage(items) {
            return Err(self.undo(cause, Phase::Staging, items));
        }
        if let Err(cause) = self.exchange(items) {
            return Err(self.undo(cause, Phase::Exchanging, items));
        }
        // Every new content is durable: after a later failure, only copies or the journal remain.
        recover::clear(&self.root, &self.state, items).map_err(|cause| Error::Uncleared {
            cause: Box::new(cause),
        })
    }

    /// Writes the copies durably, then records that files may be exchanged.
    fn stage(&self, items: &[Item<'_>]) -> Result<(), Error> {
        stage::stage_all(&self.root, &items.iter().collect::<Vec<_>>())?;
        self.root.sync_directories(items)?;
        self.state.begin_exchange()
    }

    /// Exchanges the files durably, up to the point of no return: the removal of the first old
    /// content.
    fn exchange(&self, items: &[Item<'_>]) -> Result<(), Error> {
        stage::exchange_all(&self.root, &items.iter().collect::<Vec<_>>())?;
        self.root.sync_directories(items)?;
        // Checked a second time: a process that opened a file before its exchange may have written
        // to it since the first check.
        for item in items {
            stage::check_old_content(&self.root, item)?;
        }
        recover::remove_copies(&self.root, &items[0])
    }

    /// Restores the old contents after a failure in `phase` and returns the error to report. If this
    /// fails too, the journal remains for `recover`.
    fn undo(&self, cause: Error, phase: Phase, items: &[Item<'_>]) -> Error {
        let restored = match phase {
            Phase::Staging => Ok(()),
            Phase::Exchanging => stage::undo_all(&self.root, &items.iter().collect::<Vec<_>>())
                .and_then(|()| self.root.sync_directories(items)),
        };
        match restored.and_then(|()| recover::clear(&self.root, &self.state, items)) {
            Ok(()) => cause,
            Err(undo) => Error::Unfinished {
                cause: Box::new(cause),
                undo: Box::new(undo),
            },
        }
    }
}

/// Returns the result that `recover` would have, or `None` if there is no journal. The journal may
/// also belong to a run in progress. Takes no lock and changes nothing.
pub(crate) fn preview_recovery(root: &Path) -> Result<Option<Recovery>, Error> {
    let root = Root::open(root)?;
    match StateLocation::for_root(root.path())?.open()? {
        Some(state) => recover::preview(&root, &state),
        None => Ok(None),
    }
}

/// Returns [`Error::Locked`] if a run holds the lock of `root`, or `None`. Changes nothing.
pub(crate) fn find_running(root: &Path) -> Result<Option<Error>, Error> {
    let root = Root::open(root)?;
    match StateLocation::for_root(root.path())?.open()? {
        Some(state) if state.is_locked()? => Ok(Some(state.locked_error())),
        _ => Ok(None),
    }
}

/// Checks before the first write that every target is a regular file with one link and the content
/// in the plan. An edited file takes precedence over an unsafe one, because only a conflict lists
/// all its files.
fn check_targets(root: &Root, items: &[Item<'_>]) -> Result<(), Error> {
    let mut edited = Vec::new();
    let mut unsafe_target = None;
    for item in items {
        let entry = root.directory_of(&item.path)?.open_entry(item.name())?;
        match entry.into_replaceable_file() {
            Ok(Some(file)) if file.digest()? == item.old => {}
            Ok(_) => edited.push(item.path.clone()),
            Err(hazard) => {
                unsafe_target.get_or_insert_with(|| stage::unsafe_target(item, hazard));
            }
        }
    }
    if !edited.is_empty() {
        return Err(Error::Conflict { files: edited });
    }
    unsafe_target.map_or(Ok(()), Err)
}
