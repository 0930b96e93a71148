//! The files under the inventory's root, as `find -type f` of the configured user lists them.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use crate::{
    config::Inventory,
    inventory::user::{User, UserError},
    layers::{FileType, Inode, PathEntry, Tree},
};

/// Everything under the root, whoever may read it, sorted by the bytes of the paths' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Regular files and hard links to them.
    pub files: Vec<File>,
    /// The root, as the empty path, and the directories under it.
    pub directories: Vec<File>,
    /// Directories that the user cannot list or enter, absolute; what lies in them is no news about
    /// the user's own view.
    pub closed: Vec<Vec<u8>>,
}

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the inventory's root.
    pub path: Vec<u8>,
    /// The twelve permission bits.
    pub mode: u16,
    /// The user gets there, but cannot read it.
    pub unreadable: bool,
}

/// Why the image cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The root is missing, or behind a dangling link.
    #[error("the image has no directory `{0}`")]
    NoRoot(String),
    /// The root is a file.
    #[error("`{0}` is not a directory in the image")]
    NotADirectory(String),
    /// The user cannot be determined from the image.
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
    if root.inode.kind != FileType::Directory {
        return Err(ListError::NotADirectory(inventory.root.clone()));
    }
    let mut listing = Listing::default();
    let closed = root
        .searched
        .iter()
        .filter(|(_, directory)| !user.may_search(directory))
        .map(|(path, _)| path);
    listing
        .closed
        .extend(closed.map(|path| [b"/", path.as_slice()].concat()));
    // Below a directory that cannot be entered, readability is not reported, so that each cause is
    // named once.
    let mut reached = Reachability {
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
            FileType::Directory => {
                if unreadable {
                    listing.closed.push(absolute(&root, &file.path));
                }
                listing.directories.push(file);
            }
            FileType::Symlink(_) | FileType::Other => {}
        }
    }
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

/// How far a user gets, while a tree is walked in order.
struct Reachability {
    user: User,
    /// The closed directory that the walk is in or was in last.
    closed: Vec<u8>,
    /// The root itself is out of reach.
    everything: bool,
}

impl Reachability {
    fn is_unreadable(&mut self, path: &[u8], inode: &Inode) -> bool {
        let inside = || {
            path.strip_prefix(self.closed.as_slice())
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        if self.everything || (!self.closed.is_empty() && inside()) || self.user.may_read(inode) {
            return false;
        }
        if inode.kind == FileType::Directory {
            self.everything = path.is_empty();
            self.closed = path.to_vec();
        }
        true
    }
}

/// The absolute path of what lies under the root.
fn absolute(root: &PathEntry<'_>, path: &[u8]) -> Vec<u8> {
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
