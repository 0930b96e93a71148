//! Targets and their copies change places; what came out is looked at; and all of it backwards.
//!
//! Nothing is written to the disk by name here and no journal is known: who calls has staged the
//! copies, and syncs after.

use rustix::io::Errno;

use super::{
    error::Error,
    folder::{Folder, Root, Standing},
    journal::Item,
};

/// What a name holds, compared with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Absent,
    Old,
    New,
    /// Anything else, be it no file at all.
    Other,
}

/// Looks at what `name` holds.
pub(super) fn held(
    folder: &Folder,
    name: impl AsRef<std::ffi::OsStr>,
    item: &Item<'_>,
) -> Result<Held, Error> {
    let digest = match folder.look(name)? {
        Standing::Absent => return Ok(Held::Absent),
        Standing::Odd(_) => return Ok(Held::Other),
        Standing::File(file) => file.digest()?,
    };
    Ok(match digest {
        digest if digest == item.new => Held::New,
        digest if digest == item.old => Held::Old,
        _ => Held::Other,
    })
}

/// Exchanges the items in their order, and stops at the first that fails or that was not what the
/// plan was made from.
pub(super) fn all(root: &Root, items: &[&Item<'_>]) -> Result<(), Error> {
    items.iter().try_for_each(|item| {
        swap(&root.folder_of(&item.path)?, item)?;
        came_out(root, item)
    })
}

/// Fails unless the copy of an exchanged item holds what the plan was made from.
pub(super) fn came_out(root: &Root, item: &Item<'_>) -> Result<(), Error> {
    match held(&root.folder_of(&item.path)?, &item.copy, item)? {
        Held::Old => Ok(()),
        _ => Err(conflict(item)),
    }
}

/// Puts back those items that were exchanged, the last first, as many as can be; fails if any could
/// not. All must have been staged.
pub(super) fn back(root: &Root, items: &[&Item<'_>]) -> Result<(), Error> {
    let undone = items
        .iter()
        .rev()
        .map(|item| match root.folder_of(&item.path) {
            Err(error) if error.is_absence() => Ok(()),
            folder => one_back(&folder?, item),
        });
    undone.fold(Ok(()), Result::and)
}

/// Looks instead of remembering: an exchange that failed half-way, or that only says that it
/// failed, is undone too.
fn one_back(folder: &Folder, item: &Item<'_>) -> Result<(), Error> {
    settle(folder, item)?;
    match (
        held(folder, item.name(), item)?,
        held(folder, &item.copy, item)?,
    ) {
        // Never exchanged.
        (_, Held::New) => Ok(()),
        (Held::New, Held::Old | Held::Other) => {
            swap(folder, item)?;
            match held(folder, &item.copy, item)? {
                Held::New => Ok(()),
                _ => Err(conflict(item)),
            }
        }
        // Somebody wrote to the new content, or took the copy away: left where it is.
        _ => Err(conflict(item)),
    }
}

/// Finishes what [`swap_by_link`] may have left between its last two steps.
fn settle(folder: &Folder, item: &Item<'_>) -> Result<(), Error> {
    match (folder.look(&item.copy)?, folder.look(&item.spare)?) {
        (Standing::Absent, Standing::File(_) | Standing::Odd(_)) => {
            folder.rename(&item.spare, &item.copy)
        }
        _ => Ok(()),
    }
}

fn swap(folder: &Folder, item: &Item<'_>) -> Result<(), Error> {
    match folder.exchange(item.name(), &item.copy) {
        Ok(()) => Ok(()),
        // macOS says NOTSUP.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => swap_by_link(folder, item),
        Err(error) => Err(failed(folder, item, error)),
    }
}

/// Where the file system can't exchange: a second name keeps the old content while the new one
/// takes its place, and becomes the copy. Whoever replaces the file between the look and the rename
/// loses: only an exchange has no such gap.
fn swap_by_link(folder: &Folder, item: &Item<'_>) -> Result<(), Error> {
    let target = item.name();
    folder.remove(&item.spare)?;
    folder
        .link(target, &item.spare)
        .map_err(|e| failed(folder, item, e))?;
    if !folder
        .is_same(target, &item.spare)
        .map_err(|e| failed(folder, item, e))?
    {
        return Err(conflict(item));
    }
    folder.rename(&item.copy, target)?;
    folder.rename(&item.spare, &item.copy)
}

fn failed(folder: &Folder, item: &Item<'_>, error: Errno) -> Error {
    match error {
        Errno::NOENT => conflict(item),
        _ => Error::io("exchanging", &folder.at(item.name()), error),
    }
}

fn conflict(item: &Item<'_>) -> Error {
    Error::Conflict {
        files: vec![item.path.clone()],
    }
}
