//! Writes each new content to a copy next to its target, complete and synced before the first
//! exchange.
//!
//! The copy replaces the file, so it gets the file's owner, group and mode, and on Linux its access
//! control list and user attributes. If the owner cannot be set, the plan is refused, because the file
//! would change its owner. Labels of security modules and capabilities are not copied: the system sets
//! them on every new file.
//!
//! Exchanges each target with its staged copy, verifies the old content, and undoes exchanges.
//!
//! The caller stages the copies before and syncs the directories afterwards. The journal is not
//! involved.

use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::PathBuf,
};

use rustix::io::Errno;

use super::{
    directory::{Directory, DirectoryEntry, OpenFile, Root},
    error::Error,
    journal::Item,
};
use crate::base::files::Hazard;

/// The number of copies that are open at the same time.
const MAX_OPEN_COPIES: usize = 64;

/// A complete copy that is not synced yet.
struct Copy {
    file: File,
    display_path: PathBuf,
}

/// Writes and syncs the copies of all `items`, which must not exist. Their directory entries are
/// not synced.
pub(super) fn stage_all(root: &Root, items: &[&Item<'_>]) -> Result<(), Error> {
    // Writing many files before the first sync is faster than syncing each after its write.
    for batch in items.chunks(MAX_OPEN_COPIES) {
        let mut copies = Vec::new();
        for item in batch {
            copies.push(stage(root, item)?);
        }
        for copy in copies {
            copy.file
                .sync_all()
                .map_err(|error| Error::io("syncing", &copy.display_path, error))?;
        }
    }
    Ok(())
}

fn stage(root: &Root, item: &Item<'_>) -> Result<Copy, Error> {
    let directory = root.directory_of(&item.path)?;
    let target = match directory.open_entry(item.name())?.into_replaceable_file() {
        Ok(Some(target)) => target,
        Ok(None) => {
            return Err(Error::Conflict {
                files: vec![item.path.clone()],
            });
        }
        Err(hazard) => return Err(unsafe_target(item, hazard)),
    };
    let copy = Copy {
        file: directory.create(&item.copy)?,
        display_path: directory.path_of(&item.copy),
    };
    fill(&copy.file, item.new_content, &target)
        .map_err(|(doing, error)| Error::io(doing, &copy.display_path, error))?;
    Ok(copy)
}

pub(super) fn unsafe_target(item: &Item<'_>, hazard: Hazard) -> Error {
    Error::Unsafe {
        path: item.path.as_path().to_owned(),
        hazard,
    }
}

fn fill(
    mut copy: &File,
    content: &[u8],
    target: &OpenFile,
) -> Result<(), (&'static str, io::Error)> {
    copy.write_all(content).map_err(|e| ("writing", e))?;
    copy_owner(target, copy).map_err(|e| ("keeping the file's owner in", e))?;
    attributes::copy(&target.file, copy).map_err(|e| ("keeping the file's attributes in", e))?;
    // Last, since a write or a change of owner clears the setuid and setgid bits.
    let mode = Permissions::from_mode(target.metadata.mode() & 0o7777);
    copy.set_permissions(mode)
        .map_err(|e| ("keeping the file's mode in", e))?;
    // Starts writing the content to the disk: Linux writes dirty pages before it drops them
    // (posix_fadvise(2), `POSIX_FADV_DONTNEED`). The sync that follows waits and reports errors.
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(copy, 0, None, rustix::fs::Advice::DontNeed);
    Ok(())
}

fn copy_owner(target: &OpenFile, copy: &File) -> io::Result<()> {
    let (target, current) = (&target.metadata, copy.metadata()?);
    // Some file systems refuse every change of owner, even to the same one.
    if (target.uid(), target.gid()) == (current.uid(), current.gid()) {
        return Ok(());
    }
    fchown(copy, Some(target.uid()), Some(target.gid()))
}

/// Extended attributes.
#[cfg(target_os = "linux")]
mod attributes {
    use std::{fs::File, io};

    use rustix::{
        fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr},
        io::Errno,
    };

    /// The maximum size of a list and of a value on Linux.
    const MAX_SIZE: usize = 64 * 1024;

    pub(super) fn copy(from: &File, to: &File) -> io::Result<()> {
        let wanted = names(from)?;
        // A new file inherits the directory's default access control list.
        for name in names(to)? {
            fremovexattr(to, name.as_slice())?;
        }
        let mut value = vec![0; if wanted.is_empty() { 0 } else { MAX_SIZE }];
        for name in &wanted {
            let length = fgetxattr(from, name.as_slice(), &mut value[..])?;
            fsetxattr(to, name.as_slice(), &value[..length], XattrFlags::empty())?;
        }
        Ok(())
    }

    /// Lists the attributes to copy.
    fn names(file: &File) -> io::Result<Vec<Vec<u8>>> {
        let mut list = vec![0; MAX_SIZE];
        let length = match flistxattr(file, &mut list[..]) {
            Err(Errno::NOTSUP | Errno::NOSYS) => 0,
            length => length?,
        };
        let mut names = Vec::new();
        for name in list[..length].split(|&byte| byte == 0) {
            if name.starts_with(b"user.") || name == b"system.posix_acl_access" {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }
}

/// Extended attributes are not copied on other systems.
#[cfg(not(target_os = "linux"))]
mod attributes {
    use std::{fs::File, io};

    pub(super) fn copy(_: &File, _: &File) -> io::Result<()> {
        Ok(())
    }
}

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
