//! The files below the inventory's root, as `find -type f` lists them for the configured user.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use super::{
    Inventory,
    user::{User, UserError},
};
use crate::contents::layers::{FileType, Inode, ResolvedPath, Tree};

/// The entries below the root, readable or not, sorted by the bytes of their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Regular files and hard links to them.
    pub files: Vec<File>,
    /// The root, an empty path, and the directories below it.
    pub directories: Vec<File>,
    /// The absolute paths of directories that the user cannot list or enter. Inaccessible directories
    /// inside them are not included.
    pub inaccessible: Vec<Vec<u8>>,
}

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// The path relative to the inventory's root.
    pub path: Vec<u8>,
    /// The twelve permission bits.
    pub mode: u16,
    /// Whether the user can search its directory but not read the file.
    pub is_unreadable: bool,
}

/// The reason that an image cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListError {
    /// The root is missing or a dangling symlink.
    #[error("the image has no directory `{0}`")]
    NoRoot(String),
    /// The root is not a directory.
    #[error("`{0}` is not a directory in the image")]
    NotADirectory(String),
    /// The user cannot be resolved.
    #[error("the user {0}")]
    User(#[from] UserError),
}

/// Lists the entries below the inventory's root.
pub(crate) fn list(tree: &Tree, inventory: &Inventory) -> Result<Listing, ListError> {
    let user = match &inventory.user {
        Some(user) => User::parse(user, tree)?,
        None => User::ROOT,
    };
    let root = tree
        .find(inventory.root.as_bytes())
        .ok_or_else(|| ListError::NoRoot(inventory.root.clone()))?;
    if root.inode.kind != FileType::Directory {
        return Err(ListError::NotADirectory(inventory.root.clone()));
    }
    let mut listing = Listing::default();
    for (path, directory) in &root.searched {
        if !user.may_search(directory) {
            listing.inaccessible.push([b"/", path.as_slice()].concat());
        }
    }
    let mut access = AccessCheck {
        user,
        inaccessible: Vec::new(),
        is_root_inaccessible: !listing.inaccessible.is_empty(),
    };
    for entry in tree.list(&root, |_| true) {
        let is_unreadable = access.is_unreadable(&entry.path, entry.inode);
        let file = File {
            path: entry.path,
            mode: entry.inode.mode,
            is_unreadable,
        };
        match entry.inode.kind {
            FileType::File(_) => listing.files.push(file),
            FileType::Directory => {
                if is_unreadable {
                    listing.inaccessible.push(absolute(&root, &file.path));
                }
                listing.directories.push(file);
            }
            FileType::Symlink(_) | FileType::Other => {}
        }
    }
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

/// Checks the permissions of a user while a tree is listed in order. Entries of an inaccessible
/// directory are not reported, so that each cause is reported once.
struct AccessCheck {
    user: User,
    /// The last inaccessible directory.
    inaccessible: Vec<u8>,
    is_root_inaccessible: bool,
}

impl AccessCheck {
    fn is_unreadable(&mut self, path: &[u8], inode: &Inode) -> bool {
        if self.is_root_inaccessible || self.is_in_inaccessible(path) || self.user.may_read(inode) {
            return false;
        }
        if inode.kind == FileType::Directory {
            self.is_root_inaccessible = path.is_empty();
            self.inaccessible = path.to_vec();
        }
        true
    }

    fn is_in_inaccessible(&self, path: &[u8]) -> bool {
        !self.inaccessible.is_empty()
            && path
                .strip_prefix(self.inaccessible.as_slice())
                .is_some_and(|rest| rest.starts_with(b"/"))
    }
}

/// The absolute path of an entry below the root.
fn absolute(root: &ResolvedPath<'_>, path: &[u8]) -> Vec<u8> {
    let mut absolute = Vec::new();
    for part in [root.path.as_slice(), path] {
        if !part.is_empty() {
            absolute.push(b'/');
            absolute.extend_from_slice(part);
        }
    }
    if absolute.is_empty() {
        absolute.push(b'/');
    }
    absolute
}

impl File {
    /// The path as globs match it.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }
}
