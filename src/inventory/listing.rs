//! The files under the inventory's root, as `find -type f` of the configured user lists them.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use crate::{
    config::Inventory,
    inventory::user::{User, UserError},
    layers::{FileType, Found, Inode, Tree},
};

/// Everything under the root, whoever may read it, sorted by the bytes of the paths' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Regular files and hard links to them.
    pub files: Vec<File>,
    /// The root, as the empty path, and the folders under it.
    pub folders: Vec<File>,
    /// Folders that the user can't list or enter, absolute; what lies in them is no news about the
    /// user's own view.
    pub closed: Vec<Vec<u8>>,
}

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the inventory's root.
    pub path: Vec<u8>,
    /// The twelve permission bits.
    pub mode: u16,
    /// The user gets there, but can't read it.
    pub unreadable: bool,
}

/// Why there is nothing to list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The root is not there, or behind a dangling link.
    #[error("the image has no folder `{0}`")]
    NoRoot(String),
    /// The root is a file.
    #[error("`{0}` is not a folder in the image")]
    NotAFolder(String),
    /// The user can't be told from the image.
    #[error("the user {0}")]
    User(#[from] UserError),
}

/// Lists everything under the inventory's root.
pub fn list(tree: &Tree, inventory: &Inventory) -> Result<Listing, ListError> {
    let user = inventory
        .user
        .as_deref()
        .map_or(Ok(User::ROOT), |user| User::parse(user, tree))?;
    let root = tree
        .find(inventory.root.as_bytes())
        .ok_or_else(|| ListError::NoRoot(inventory.root.clone()))?;
    if root.inode.kind != FileType::Folder {
        return Err(ListError::NotAFolder(inventory.root.clone()));
    }
    let mut listing = Listing::default();
    let closed = root
        .searched
        .iter()
        .filter(|(_, folder)| !user.may_search(folder))
        .map(|(path, _)| path);
    listing
        .closed
        .extend(closed.map(|path| [b"/", path.as_slice()].concat()));
    // Below a folder that can't be entered nothing is said about the user, so that each cause is
    // named once.
    let mut reached = Reached {
        user,
        closed: Vec::new(),
        everything: !listing.closed.is_empty(),
    };
    for item in tree.below(&root, |_| true) {
        let unreadable = reached.is_unreadable(&item.path, item.inode);
        let file = File {
            path: item.path,
            mode: item.inode.mode,
            unreadable,
        };
        match item.inode.kind {
            FileType::File(_) => listing.files.push(file),
            FileType::Folder => {
                if unreadable {
                    listing.closed.push(absolute(&root, &file.path));
                }
                listing.folders.push(file);
            }
            FileType::Symlink(_) | FileType::Other => {}
        }
    }
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

/// How far a user gets, while a tree is walked in order.
struct Reached {
    user: User,
    /// The closed folder that the walk is in or was in last.
    closed: Vec<u8>,
    /// The root itself is out of reach.
    everything: bool,
}

impl Reached {
    fn is_unreadable(&mut self, path: &[u8], inode: &Inode) -> bool {
        let inside = || {
            path.strip_prefix(self.closed.as_slice())
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        if self.everything || (!self.closed.is_empty() && inside()) || self.user.may_read(inode) {
            return false;
        }
        if inode.kind == FileType::Folder {
            self.everything = path.is_empty();
            self.closed = path.to_vec();
        }
        true
    }
}

/// The absolute path of what lies under the root.
fn absolute(root: &Found<'_>, path: &[u8]) -> Vec<u8> {
    let parts = [root.path.as_slice(), path];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    [b"/", parts.join(&b'/').as_slice()].concat()
}

impl File {
    /// The path, for globs.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }
}
