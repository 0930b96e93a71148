//! Classifies the files of an interrupted run by their contents, and finishes the run, removes its copies, or
//! changes nothing.
//!
//! The inputs are the journal and the work tree; no plan and no registry is needed.

use std::path::Path;

use super::{
    directory::Root,
    error::{Content, Error, FileState, Recovery, RecoveryState, StagedCopy},
    journal::{Item, Journal},
    stage::{self, Occupant},
    state::{LockedState, Phase, StateDirectory, StoredJournal},
};

impl FileState {
    /// Whether the copy next to the file contains the complete new content.
    fn has_complete_copy(&self, item: &Item<'_>) -> bool {
        let path = item.sibling(&item.copy);
        self.copies
            .iter()
            .any(|copy| copy.path == path && copy.content == Content::New)
    }
}

/// Returns the result that [`resolve`] would have, or `None` if there is no journal.
pub(super) fn preview(root: &Root, state: &StateDirectory) -> Result<Option<Recovery>, Error> {
    match state.read()? {
        StoredJournal::Missing => Ok(None),
        StoredJournal::Incomplete { .. } => {
            Ok(Some(Recovery::without_files(RecoveryState::Dropped)))
        }
        StoredJournal::Complete { path, phase, text } => {
            let Journal { run, items, .. } = parse(&path, &text)?;
            let files = classify_files(root, &items, phase)?;
            Ok(Some(Recovery {
                state: RecoveryState::required_by(&files),
                run,
                files,
            }))
        }
    }
}

/// Finishes or undoes the interrupted run. Changes nothing if a file or copy contains foreign content.
pub(super) fn resolve(root: &Root, state: &LockedState) -> Result<Recovery, Error> {
    let (path, phase, text) = match state.read()? {
        StoredJournal::Missing => return Ok(Recovery::without_files(RecoveryState::Nothing)),
        StoredJournal::Incomplete { .. } => {
            state.remove_journal()?;
            return Ok(Recovery::without_files(RecoveryState::Dropped));
        }
        StoredJournal::Complete { path, phase, text } => (path, phase, text),
    };
    let Journal { run, items, .. } = parse(&path, &text)?;
    let files = classify_files(root, &items, phase)?;
    let recovery = Recovery {
        state: RecoveryState::required_by(&files),
        run,
        files,
    };
    if recovery.state == RecoveryState::Conflict {
        return Err(Error::Unresolved(recovery));
    }
    if recovery.state == RecoveryState::Forward {
        let old_files: Vec<_> = items
            .iter()
            .zip(&recovery.files)
            .filter(|(_, file)| file.content == Content::Old)
            .collect();
        finish(root, state, phase, &old_files)?;
    }
    // Synced first: a copy may be the only durable one of its content until its file's name is durable.
    let cleared = root
        .sync_directories(&items)
        .and_then(|()| clear(root, state, &items));
    match cleared {
        Ok(()) => Ok(recovery),
        Err(cause) if recovery.state == RecoveryState::Forward => Err(Error::Uncleared {
            cause: Box::new(cause),
        }),
        Err(cause) => Err(cause),
    }
}

/// Exchanges the old files for their new content. On failure, these files have their old content
/// and the journal remains.
fn finish(
    root: &Root,
    state: &LockedState,
    phase: Phase,
    old_files: &[(&Item<'_>, &FileState)],
) -> Result<(), Error> {
    let items: Vec<_> = old_files.iter().map(|(item, _)| *item).collect();
    let unstaged: Vec<_> = old_files
        .iter()
        .filter(|(item, file)| !file.has_complete_copy(item))
        .map(|(item, _)| *item)
        .collect();
    if phase == Phase::Exchanging && !unstaged.is_empty() {
        // No copy contains foreign content, and the journal contains every new content. So
        // half-written copies are safe.
        state.begin_staging()?;
    }
    for item in &unstaged {
        remove_copies(root, item)?;
    }
    stage::stage_all(root, &unstaged)?;
    root.sync_directories(items.iter().copied())?;
    if !unstaged.is_empty() {
        state.begin_exchange()?;
    }
    let Err(cause) = stage::exchange_all(root, &items) else {
        return Ok(());
    };
    match stage::undo_all(root, &items) {
        Ok(()) => Err(cause),
        Err(undo) => Err(Error::Unfinished {
            cause: Box::new(cause),
            undo: Box::new(undo),
        }),
    }
}

/// Removes the copies next to the targets, and then the journal.
pub(super) fn clear(root: &Root, state: &LockedState, items: &[Item<'_>]) -> Result<(), Error> {
    for item in items {
        remove_copies(root, item)?;
    }
    // Without this sync, a power cut could restore a copy but not the journal that lists it. A failure
    // is ignored: the files are durable either way.
    let _ = root.sync_directories(items);
    state.remove_journal()
}

/// Removes the copies of one target. If its directory is missing, so are they.
pub(super) fn remove_copies(root: &Root, item: &Item<'_>) -> Result<(), Error> {
    let directory = match root.directory_of(&item.path) {
        Err(error) if error.is_absence() => return Ok(()),
        directory => directory?,
    };
    directory.remove(&item.copy)?;
    directory.remove(&item.old_link)
}

/// Removes the copies with known contents, and the journal.
pub(super) fn discard(root: &Root, state: &LockedState) -> Result<Recovery, Error> {
    let (run, files) = match state.read() {
        Ok(StoredJournal::Missing) => {
            return Ok(Recovery::without_files(RecoveryState::Nothing));
        }
        Ok(StoredJournal::Complete { phase, text, .. }) => match Journal::parse(&text) {
            Ok(Journal { run, items, .. }) => (run, remove_known_copies(root, &items, phase)?),
            Err(_) => (None, Vec::new()),
        },
        Ok(StoredJournal::Incomplete { .. }) | Err(Error::Damaged { .. }) => (None, Vec::new()),
        Err(error) => return Err(error),
    };
    state.remove_journal()?;
    Ok(Recovery {
        state: RecoveryState::Discarded,
        run,
        files,
    })
}

/// Removes the copies with known contents durably. Returns the state of the files before.
fn remove_known_copies(
    root: &Root,
    items: &[Item<'_>],
    phase: Phase,
) -> Result<Vec<FileState>, Error> {
    let files = classify_files(root, items, phase)?;
    for copy in files.iter().flat_map(|file| &file.copies) {
        if copy.content != Content::Other {
            let name = copy.path.as_path().file_name();
            let name = name.and_then(|name| name.to_str());
            let name = name.expect("the name of a copy is ASCII");
            root.directory_of(&copy.path)?.remove(name)?;
        }
    }
    // The caller removes the journal next; until then, `recover` can finish the run. After this sync,
    // no copy can reappear without the journal that lists it.
    let is_in_reach = |item: &&Item<'_>| !matches!(root.directory_of(&item.path), Err(error) if error.is_out_of_reach());
    root.sync_directories(items.iter().filter(is_in_reach))?;
    Ok(files)
}

fn parse<'a>(path: &Path, text: &'a [u8]) -> Result<Journal<'a>, Error> {
    Journal::parse(text).map_err(|reason| Error::Damaged {
        journal: path.to_owned(),
        reason,
    })
}

fn classify_files(root: &Root, items: &[Item<'_>], phase: Phase) -> Result<Vec<FileState>, Error> {
    items
        .iter()
        .map(|item| classify_file(root, item, phase))
        .collect()
}

fn classify_file(root: &Root, item: &Item<'_>, phase: Phase) -> Result<FileState, Error> {
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
    let content = match stage::occupant(&directory, item.name(), item)? {
        Occupant::Old => Content::Old,
        Occupant::New => Content::New,
        Occupant::Other | Occupant::Absent => Content::Other,
    };
    let mut copies = Vec::new();
    for name in [&item.copy, &item.old_link] {
        let content = match (stage::occupant(&directory, name, item)?, phase) {
            (Occupant::Absent, _) => continue,
            // Even a copy that looks complete may not be synced.
            (_, Phase::Staging) => Content::Partial,
            (Occupant::Old, _) => Content::Old,
            (Occupant::New, _) => Content::New,
            (Occupant::Other, _) => Content::Other,
        };
        copies.push(StagedCopy {
            path: item.sibling(name),
            content,
        });
    }
    Ok(FileState {
        path,
        content,
        copies,
    })
}
