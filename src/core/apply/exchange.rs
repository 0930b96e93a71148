//! Exchanges each target with its staged copy, verifies the old content, and undoes exchanges.
//!
//! The caller stages the copies before and syncs the directories afterwards. The journal is not
//! involved.

use std::ffi::OsStr;

use rustix::io::Errno;

use super::{
    directory::{Directory, DirectoryEntry, Root},
    error::Error,
    journal::Item,
};

/// The content of a directory entry, compared with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupant {
    Absent,
    Old,
    New,
    /// Foreign content, or an entry that is not a regular file.
    Other,
}

/// Compares the entry `name` with the contents of `item`.
pub(super) fn occupant(
    directory: &Directory,
    name: impl AsRef<OsStr>,
    item: &Item<'_>,
) -> Result<Occupant, Error> {
    let digest = match directory.open_entry(name)? {
        DirectoryEntry::Absent => return Ok(Occupant::Absent),
        DirectoryEntry::NotRegular(_) => return Ok(Occupant::Other),
        DirectoryEntry::File(file) => file.digest()?,
    };
    if digest == item.new {
        Ok(Occupant::New)
    } else if digest == item.old {
        Ok(Occupant::Old)
    } else {
        Ok(Occupant::Other)
    }
}

/// Exchanges the items in order. Stops at the first failure, or at the first file whose content
/// differs from the old content in the plan.
pub(super) fn exchange_all(root: &Root, items: &[&Item<'_>]) -> Result<(), Error> {
    for item in items {
        exchange(&root.directory_of(&item.path)?, item)?;
        check_old_content(root, item)?;
    }
    Ok(())
}

/// Fails unless the copy of an exchanged item contains the plan's old content.
pub(super) fn check_old_content(root: &Root, item: &Item<'_>) -> Result<(), Error> {
    match occupant(&root.directory_of(&item.path)?, &item.copy, item)? {
        Occupant::Old => Ok(()),
        _ => Err(conflict(item)),
    }
}

/// Undoes every exchange that can be undone, the last first, and returns the first failure. All items
/// must have been staged.
pub(super) fn undo_all(root: &Root, items: &[&Item<'_>]) -> Result<(), Error> {
    let mut result = Ok(());
    for item in items.iter().rev() {
        let undone = match root.directory_of(&item.path) {
            Err(error) if error.is_absence() => Ok(()),
            Err(error) => Err(error),
            Ok(directory) => undo(&directory, item),
        };
        result = result.and(undone);
    }
    result
}

/// Undoes one exchange. The contents determine its state, because the system may report a failure
/// of a completed exchange.
fn undo(directory: &Directory, item: &Item<'_>) -> Result<(), Error> {
    finish_link_exchange(directory, item)?;
    let target = occupant(directory, item.name(), item)?;
    match (target, occupant(directory, &item.copy, item)?) {
        // Never exchanged.
        (_, Occupant::New) => Ok(()),
        (Occupant::New, Occupant::Old | Occupant::Other) => {
            exchange(directory, item)?;
            match occupant(directory, &item.copy, item)? {
                Occupant::New => Ok(()),
                _ => Err(conflict(item)),
            }
        }
        // Another process edited the new content or removed the copy: both remain unchanged.
        _ => Err(conflict(item)),
    }
}

/// Performs the last step of [`exchange_by_link`] if a crash prevented it.
fn finish_link_exchange(directory: &Directory, item: &Item<'_>) -> Result<(), Error> {
    let copy = directory.open_entry(&item.copy)?;
    let old_link = directory.open_entry(&item.old_link)?;
    match (copy, old_link) {
        (DirectoryEntry::Absent, DirectoryEntry::File(_) | DirectoryEntry::NotRegular(_)) => {
            directory.rename(&item.old_link, &item.copy)
        }
        _ => Ok(()),
    }
}

fn exchange(directory: &Directory, item: &Item<'_>) -> Result<(), Error> {
    match directory.exchange(item.name(), &item.copy) {
        Ok(()) => Ok(()),
        // macOS returns NOTSUP.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => exchange_by_link(directory, item),
        Err(error) => Err(exchange_error(directory, item, error)),
    }
}

/// Replaces an exchange where the file system has none: a hard link keeps the old content while the
/// copy is renamed over the target, and then becomes the copy. An edit by another process between the
/// check and the rename is lost; only a real exchange has no such gap.
fn exchange_by_link(directory: &Directory, item: &Item<'_>) -> Result<(), Error> {
    let target = item.name();
    directory.remove(&item.old_link)?;
    directory
        .link(target, &item.old_link)
        .map_err(|e| exchange_error(directory, item, e))?;
    let is_same = directory
        .is_same(target, &item.old_link)
        .map_err(|e| exchange_error(directory, item, e))?;
    if !is_same {
        return Err(conflict(item));
    }
    directory.rename(&item.copy, target)?;
    directory.rename(&item.old_link, &item.copy)
}

fn exchange_error(directory: &Directory, item: &Item<'_>, error: Errno) -> Error {
    match error {
        Errno::NOENT => conflict(item),
        _ => Error::io("exchanging", &directory.path_of(item.name()), error),
    }
}

fn conflict(item: &Item<'_>) -> Error {
    Error::Conflict {
        files: vec![item.path.clone()],
    }
}
