//! Writes each new content to a copy next to its target, complete and synced before the first
//! exchange.
//!
//! The copy replaces the file, so it gets the file's owner, group and mode, and on Linux its access
//! control list and user attributes. If the owner cannot be set, the plan is refused, because the file
//! would change its owner. Labels of security modules and capabilities are not copied: the system sets
//! them on every new file.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::PathBuf,
};

use super::{
    directory::{OpenFile, Root},
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
