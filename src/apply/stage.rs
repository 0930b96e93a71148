//! A new content beside its target, complete and on the disk before anything is exchanged.
//!
//! The copy becomes the file, so it gets what the file had: owner, group, mode, and on Linux its
//! access list and the attributes of users. Where the owner cannot be given the plan is refused,
//! since the file would change hands. Security modules' own labels and capabilities are not carried
//! over: a new file gets those that the system gives it.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::PathBuf,
};

use super::{
    directory::{Opened, Root},
    error::Error,
    journal::Item,
};
use crate::files::Hazard;

/// The number of copies that are open at the same time.
const OPEN: usize = 64;

/// A complete copy that is not synced yet.
struct Copy {
    file: File,
    shown: PathBuf,
}

/// Writes and syncs the copies of all `items`, which must not be there yet; their names are not durable yet.
pub(super) fn stage_all(root: &Root, items: &[&Item<'_>]) -> Result<(), Error> {
    // Writing many files and then syncing them is faster than syncing each before the next is written.
    for some in items.chunks(OPEN) {
        let copies: Vec<Copy> = some
            .iter()
            .map(|item| stage(root, item))
            .collect::<Result<_, _>>()?;
        copies.iter().try_for_each(Copy::sync)?;
    }
    Ok(())
}

fn stage(root: &Root, item: &Item<'_>) -> Result<Copy, Error> {
    let directory = root.directory_of(&item.path)?;
    let target = directory
        .look(item.name())?
        .replaceable()
        .map_err(|hazard| unsafe_target(item, hazard))?;
    let target = target.ok_or_else(|| Error::Conflict {
        files: vec![item.path.clone()],
    })?;
    let copy = Copy {
        file: directory.create(&item.copy)?,
        shown: directory.at(&item.copy),
    };
    fill(&copy.file, item.bytes, &target)
        .map_err(|(doing, error)| Error::io(doing, &copy.shown, error))?;
    Ok(copy)
}

impl Copy {
    fn sync(&self) -> Result<(), Error> {
        let synced = self.file.sync_all();
        synced.map_err(|error| Error::io("syncing", &self.shown, error))
    }
}

/// The refusal of a target.
pub(super) fn unsafe_target(item: &Item<'_>, hazard: Hazard) -> Error {
    Error::Unsafe {
        path: item.path.as_path().to_owned(),
        hazard,
    }
}

fn fill(mut copy: &File, bytes: &[u8], target: &Opened) -> Result<(), (&'static str, io::Error)> {
    copy.write_all(bytes).map_err(|e| ("writing", e))?;
    own(target, copy).map_err(|e| ("keeping the file's owner in", e))?;
    attributes::keep(&target.file, copy).map_err(|e| ("keeping the file's attributes in", e))?;
    // Last, since a write or a change of owner takes the bits above the permissions away.
    let mode = Permissions::from_mode(target.metadata.mode() & 0o7777);
    copy.set_permissions(mode)
        .map_err(|e| ("keeping the file's mode in", e))?;
    begin_to_write(copy);
    Ok(())
}

/// Starts writing the content to the disk; the sync that follows waits for it and reports errors.
#[cfg(target_os = "linux")]
fn begin_to_write(copy: &File) {
    // Linux writes dirty pages before it drops them (posix_fadvise(2), `POSIX_FADV_DONTNEED`).
    let _ = rustix::fs::fadvise(copy, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn begin_to_write(_: &File) {}

fn own(target: &Opened, copy: &File) -> io::Result<()> {
    let (had, has) = (&target.metadata, copy.metadata()?);
    let owner = (had.uid() != has.uid()).then_some(had.uid());
    let group = (had.gid() != has.gid()).then_some(had.gid());
    if owner.or(group).is_some() {
        fchown(copy, owner, group)
    } else {
        Ok(())
    }
}

/// Extended attributes.
#[cfg(target_os = "linux")]
mod attributes {
    use std::{fs::File, io};

    use rustix::{
        fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr},
        io::Errno,
    };

    /// The most that Linux lets a list or a value have.
    const MAX: usize = 64 * 1024;

    pub(super) fn keep(from: &File, to: &File) -> io::Result<()> {
        let wanted = names(from)?;
        // The directory's default access list gives the copy one that the file need not have had.
        for name in names(to)?.iter().filter(|name| !wanted.contains(name)) {
            fremovexattr(to, name.as_slice())?;
        }
        let mut value = vec![0; if wanted.is_empty() { 0 } else { MAX }];
        for name in &wanted {
            let length = fgetxattr(from, name.as_slice(), &mut value[..])?;
            fsetxattr(to, name.as_slice(), &value[..length], XattrFlags::empty())?;
        }
        Ok(())
    }

    fn names(file: &File) -> io::Result<Vec<Vec<u8>>> {
        let mut list = vec![0; MAX];
        let length = match flistxattr(file, &mut list[..]) {
            Err(Errno::NOTSUP | Errno::NOSYS) => 0,
            length => length?,
        };
        let kept = |name: &&[u8]| name.starts_with(b"user.") || *name == b"system.posix_acl_access";
        Ok(list[..length]
            .split(|&byte| byte == 0)
            .filter(kept)
            .map(<[u8]>::to_vec)
            .collect())
    }
}

/// Extended attributes: not kept here.
#[cfg(not(target_os = "linux"))]
mod attributes {
    use std::{fs::File, io};

    pub(super) fn keep(_: &File, _: &File) -> io::Result<()> {
        Ok(())
    }
}
