//! Targets and their copies change places; what came out is looked at; and all of it backwards.
//!
//! Nothing is written to the disk by name here and no journal is known: who calls has staged the
//! copies, and syncs after.

use rustix::io::Errno;

use super::{
    directory::{Directory, DirectoryEntry, Root},
    error::Error,
    journal::Item,
};

/// What a name holds, compared with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupant {
    Absent,
    Old,
    New,
    /// Anything else, be it no file at all.
    Other,
}

/// Looks at what `name` holds.
pub(super) fn held(
    directory: &Directory,
    name: impl AsRef<std::ffi::OsStr>,
    item: &Item<'_>,
) -> Result<Occupant, Error> {
    let digest = match directory.look(name)? {
        DirectoryEntry::Absent => return Ok(Occupant::Absent),
        DirectoryEntry::Odd(_) => return Ok(Occupant::Other),
        DirectoryEntry::File(file) => file.digest()?,
    };
    Ok(match digest {
        digest if digest == item.new => Occupant::New,
        digest if digest == item.old => Occupant::Old,
        _ => Occupant::Other,
    })
}

/// Exchanges the items in their order, and stops at the first that fails or that was not what the
/// plan was made from.
pub(super) fn all(root: &Root, items: &[&Item<'_>]) -> Result<(), Error> {
    items.iter().try_for_each(|item| {
        swap(&root.directory_of(&item.path)?, item)?;
        came_out(root, item)
    })
}

/// Fails unless the copy of an exchanged item holds what the plan was made from.
pub(super) fn came_out(root: &Root, item: &Item<'_>) -> Result<(), Error> {
    match held(&root.directory_of(&item.path)?, &item.copy, item)? {
        Occupant::Old => Ok(()),
        _ => Err(conflict(item)),
    }
}

/// Puts back those items that were exchanged, the last first, as many as can be; fails if any could
/// not. All must have been staged.
pub(super) fn back(root: &Root, items: &[&Item<'_>]) -> Result<(), Error> {
    let undone = items
        .iter()
        .rev()
        .map(|item| match root.directory_of(&item.path) {
            Err(error) if error.is_absence() => Ok(()),
            directory => one_back(&directory?, item),
        });
    undone.fold(Ok(()), Result::and)
}

/// Looks instead of remembering: an exchange that failed half-way, or that only says that it
/// failed, is undone too.
fn one_back(directory: &Directory, item: &Item<'_>) -> Result<(), Error> {
    settle(directory, item)?;
    match (
        held(directory, item.name(), item)?,
        held(directory, &item.copy, item)?,
    ) {
        // Never exchanged.
        (_, Occupant::New) => Ok(()),
        (Occupant::New, Occupant::Old | Occupant::Other) => {
            swap(directory, item)?;
            match held(directory, &item.copy, item)? {
                Occupant::New => Ok(()),
                _ => Err(conflict(item)),
            }
        }
        // Someone wrote to the new content, or took the copy away: left where it is.
        _ => Err(conflict(item)),
    }
}

/// Finishes what [`swap_by_link`] may have left between its last two steps.
fn settle(directory: &Directory, item: &Item<'_>) -> Result<(), Error> {
    match (directory.look(&item.copy)?, directory.look(&item.spare)?) {
        (DirectoryEntry::Absent, DirectoryEntry::File(_) | DirectoryEntry::Odd(_)) => {
            directory.rename(&item.spare, &item.copy)
        }
        _ => Ok(()),
    }
}

fn swap(directory: &Directory, item: &Item<'_>) -> Result<(), Error> {
    match directory.exchange(item.name(), &item.copy) {
        Ok(()) => Ok(()),
        // macOS says NOTSUP.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => swap_by_link(directory, item),
        Err(error) => Err(failed(directory, item, error)),
    }
}

/// Where the file system cannot exchange: a second name keeps the old content while the new one
/// takes its place, and becomes the copy. Whoever replaces the file between the look and the rename
/// loses: only an exchange has no such gap.
fn swap_by_link(directory: &Directory, item: &Item<'_>) -> Result<(), Error> {
    let target = item.name();
    directory.remove(&item.spare)?;
    directory
        .link(target, &item.spare)
        .map_err(|e| failed(directory, item, e))?;
    if !directory
        .is_same(target, &item.spare)
        .map_err(|e| failed(directory, item, e))?
    {
        return Err(conflict(item));
    }
    directory.rename(&item.copy, target)?;
    directory.rename(&item.spare, &item.copy)
}

fn failed(directory: &Directory, item: &Item<'_>, error: Errno) -> Error {
    match error {
        Errno::NOENT => conflict(item),
        _ => Error::io("exchanging", &directory.at(item.name()), error),
    }
}

fn conflict(item: &Item<'_>) -> Error {
    Error::Conflict {
        files: vec![item.path.clone()],
    }
}
