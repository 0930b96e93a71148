//! Classifies what an interrupted run left, by contents alone, and finishes it, undoes it or leaves
//! it unchanged.
//!
//! Everything comes from the journal and the work tree; no plan and no registry is needed.

use super::{
    directory::Root,
    error::Error,
    exchange::{self, Occupant},
    journal::{Item, Journal},
    recovery::{Content, FileState, Recovery, StagedCopy, State},
    stage,
    state::{self, Phase, StateDirectory, Stored},
};
impl FileState {
    /// Whether the copy next to the file has the complete new content on disk.
    fn is_ready(&self, item: &Item<'_>) -> bool {
        let copy = item.beside(&item.copy);
        self.copies
            .iter()
            .any(|copied| copied.path == copy && copied.content == Content::New)
    }
}

/// Returns what [`resolve`] would do; `None` if there is no journal.
pub(super) fn foresee(root: &Root, state: &StateDirectory) -> Result<Option<Recovery>, Error> {
    match state.read()? {
        Stored::Nothing => Ok(None),
        Stored::Torn => Ok(Some(Recovery::without_files(State::Dropped))),
        Stored::Complete(phase, text) => {
            let files = survey(root, &parse(state, &text)?.items, phase)?;
            Ok(Some(Recovery {
                state: State::called_for(&files),
                files,
            }))
        }
    }
}

/// Finishes or undoes, or touches nothing.
pub(super) fn resolve(root: &Root, state: &state::LockedState) -> Result<Recovery, Error> {
    let (phase, text) = match state.read()? {
        Stored::Nothing => return Ok(Recovery::without_files(State::Nothing)),
        Stored::Torn => {
            state.drop_journal()?;
            return Ok(Recovery::without_files(State::Dropped));
        }
        Stored::Complete(phase, text) => (phase, text),
    };
    let items = parse(state, &text)?.items;
    let files = survey(root, &items, phase)?;
    let recovery = Recovery {
        state: State::called_for(&files),
        files,
    };
    if recovery.state == State::Conflict {
        return Err(Error::Unresolved(recovery));
    }
    let behind = items
        .iter()
        .zip(&recovery.files)
        .filter(|(_, file)| file.content == Content::Old);
    if recovery.state == State::Forward {
        forward(root, state, phase, &behind.collect::<Vec<_>>())?;
    }
    // What is dropped next may be the only copy of a content whose place is not durable yet.
    let cleared = root
        .sync_directories(&items)
        .and_then(|()| clear(root, state, &items));
    match cleared {
        Err(cause) if recovery.state == State::Forward => Err(Error::Uncleared {
            cause: Box::new(cause),
        }),
        cleared => cleared.map(|()| recovery),
    }
}

/// Brings the files that are still old to their new content; if that fails those are old again, and
/// the journal stays.
fn forward(
    root: &Root,
    state: &state::LockedState,
    phase: Phase,
    behind: &[(&Item<'_>, &FileState)],
) -> Result<(), Error> {
    let items: Vec<_> = behind.iter().map(|(item, _)| *item).collect();
    let unready: Vec<_> = behind
        .iter()
        .filter(|(item, file)| !file.is_ready(item))
        .map(|(item, _)| *item)
        .collect();
    if phase == Phase::Exchanging && !unready.is_empty() {
        // All contents beside the targets are known and can be had from the journal: they may be
        // half-written again.
        state.begin_staging()?;
    }
    unready
        .iter()
        .try_for_each(|item| remove_copies(root, item))?;
    stage::stage_all(root, &unready)?;
    root.sync_directories(items.iter().copied())?;
    if !unready.is_empty() {
        state.begin_exchange()?;
    }
    exchange::all(root, &items).map_err(|cause| match exchange::back(root, &items) {
        Ok(()) => cause,
        Err(undo) => Error::Unfinished {
            cause: Box::new(cause),
            undo: Box::new(undo),
        },
    })
}

/// Removes the copies next to the targets, and then the journal.
pub(super) fn clear(
    root: &Root,
    state: &state::LockedState,
    items: &[Item<'_>],
) -> Result<(), Error> {
    items
        .iter()
        .try_for_each(|item| remove_copies(root, item))?;
    // So that no copy comes back after a power cut without the journal that knows it. The files are
    // safe either way.
    let _ = root.sync_directories(items);
    state.drop_journal()
}

/// Removes the copy next to one target; a missing directory took it along.
pub(super) fn remove_copies(root: &Root, item: &Item<'_>) -> Result<(), Error> {
    match root.directory_of(&item.path) {
        Err(error) if error.is_absence() => Ok(()),
        directory => {
            let directory = directory?;
            directory
                .remove(&item.copy)
                .and_then(|()| directory.remove(&item.spare))
        }
    }
}

/// Drops the copies whose content is known, and the journal.
pub(super) fn discard(root: &Root, state: &state::LockedState) -> Result<Recovery, Error> {
    let files = match state.read() {
        Ok(Stored::Nothing) => return Ok(Recovery::without_files(State::Nothing)),
        Ok(Stored::Complete(phase, text)) => match Journal::parse(&text) {
            Ok(journal) => drop_copies(root, &journal.items, phase)?,
            Err(_) => Vec::new(),
        },
        Ok(Stored::Torn) | Err(Error::Damaged { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    state.drop_journal()?;
    Ok(Recovery {
        state: State::Discarded,
        files,
    })
}

/// Removes the copies whose content is known, durably; returns the files as they were found.
fn drop_copies(root: &Root, items: &[Item<'_>], phase: Phase) -> Result<Vec<FileState>, Error> {
    let files = survey(root, items, phase)?;
    for copy in files
        .iter()
        .flat_map(|file| &file.copies)
        .filter(|copy| copy.content != Content::Other)
    {
        let name = copy
            .path
            .as_path()
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        root.directory_of(&copy.path)?.remove(name)?;
    }
    // So that files stay as they are, and no copy comes back without the journal that knows it. Until
    // then `recover` can finish.
    let out_of_reach = |item: &&Item<'_>| matches!(root.directory_of(&item.path), Err(error) if error.is_out_of_reach());
    root.sync_directories(items.iter().filter(|item| !out_of_reach(item)))?;
    Ok(files)
}

fn parse<'a>(state: &StateDirectory, text: &'a [u8]) -> Result<Journal<'a>, Error> {
    Journal::parse(text).map_err(|reason| Error::Damaged {
        journal: state.shown(),
        reason,
    })
}

fn survey(root: &Root, items: &[Item<'_>], phase: Phase) -> Result<Vec<FileState>, Error> {
    items
        .iter()
        .map(|item| file_state(root, item, phase))
        .collect()
}

fn file_state(root: &Root, item: &Item<'_>, phase: Phase) -> Result<FileState, Error> {
    let path = item.path.clone();
    let directory = match root.directory_of(&path) {
        Err(error) if error.is_out_of_reach() => {
            return Ok(FileState {
                path,
                content: Content::Other,
                copies: Vec::new(),
            });
        }
        directory => directory?,
    };
    let content = match exchange::held(&directory, item.name(), item)? {
        Occupant::Old => Content::Old,
        Occupant::New => Content::New,
        Occupant::Other | Occupant::Absent => Content::Other,
    };
    let mut copies = Vec::new();
    for name in [&item.copy, &item.spare] {
        let content = match (exchange::held(&directory, name, item)?, phase) {
            (Occupant::Absent, _) => continue,
            // Whole or not, it may not have reached the disk.
            (_, Phase::Staging) => Content::Partial,
            (Occupant::Old, _) => Content::Old,
            (Occupant::New, _) => Content::New,
            (Occupant::Other, _) => Content::Other,
        };
        copies.push(StagedCopy {
            path: item.beside(name),
            content,
        });
    }
    Ok(FileState {
        path,
        content,
        copies,
    })
}
