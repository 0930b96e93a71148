//! What an image contains, as the configuration's `inventory` asks: the files under its root, and
//! the names of each kind.
//!
//! Everything that is judged about an image's content is gathered here from its tree, so that the
//! tree itself can go. Nothing is judged here.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

mod enumeration;
mod listing;
mod progress;
mod stacks;
mod user;

pub use enumeration::{Enumeration, SCHEMA as ENUMERATION};
pub use listing::{File, ListError, Listing, list};
pub use progress::ReadingProgress;
pub use stacks::{LayerCache, Stack};
pub use user::UserError;

use crate::{
    config::{Glob, Inventory},
    inventory::user::NAME_FILES,
    layers::{ContentFilter, Duplicate, FileType, LayerTree, MergeError, Tree, merge},
};

/// What there is to judge about one image.
#[derive(Debug)]
pub struct Contents {
    /// The files under the root, as the configured user meets them.
    pub listing: Result<Listing, ListError>,
    /// Files with forbidden names that any layer brings under the root, visible or not, by path and
    /// then by layer.
    pub shipped: Vec<Shipped>,
    /// The copy of the contract; `None` if none is configured.
    pub embedded: Option<Embedded>,
    /// Entries that were there twice in one layer.
    pub duplicates: Vec<Duplicate>,
}

/// A file that is in a layer's bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shipped {
    /// Where the layer puts it, relative to the image's root directory `/`.
    pub path: Vec<u8>,
    /// Which layer, counted from 1, the lowest first.
    pub layer: usize,
    /// Whether it is still there once all layers are merged.
    pub visible: bool,
}

/// The entry at the path of the embedded contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Embedded {
    /// Nothing.
    Missing,
    /// Not a regular file.
    NotAFile,
    /// A file of another length than any of those that were wanted, or over 1 MiB, or stored
    /// without its holes.
    Other,
    /// A file with this content.
    Content(Box<[u8]>),
}

/// Which contents [`gather`] will need, given the lengths of the contracts that images are compared
/// with.
pub fn want(inventory: &Inventory, contracts: &[u64]) -> ContentFilter {
    let mut names: Vec<Vec<u8>> = Vec::new();
    if inventory.user.as_deref().is_some_and(|user| {
        !user
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b':')
    }) {
        names.extend(NAME_FILES.map(|name| name.as_bytes().to_vec()));
    }
    let embedded = inventory.embedded_contract.as_deref();
    names.extend(
        embedded
            .and_then(|path| path.rsplit('/').next())
            .map(|name| name.as_bytes().to_vec()),
    );
    let lengths = if embedded.is_some() {
        contracts.to_vec()
    } else {
        Vec::new()
    };
    ContentFilter { names, lengths }
}

/// Merges an image's layers, the lowest first, and keeps what the inventory asks for.
pub fn gather<'l>(
    layers: impl IntoIterator<Item = &'l LayerTree>,
    inventory: &Inventory,
) -> Result<Contents, MergeError> {
    let mut shipped = Vec::new();
    // Where the root really is, is known only once all layers are there: until then any directory
    // may be it.
    let anywhere: Vec<Glob> = inventory
        .forbidden_files
        .iter()
        .filter_map(|glob| glob.anywhere().ok())
        .collect();
    let tree = merge(layers, |placed| {
        if !anywhere.is_empty() {
            let path = placed.path();
            if anywhere.iter().any(|glob| glob.matches(as_path(&path))) {
                shipped.push(Shipped {
                    path,
                    layer: placed.layer,
                    visible: false,
                });
            }
        }
    })?;
    Ok(Contents {
        listing: list(&tree, inventory),
        shipped: under_root(shipped, &tree, inventory),
        embedded: inventory
            .embedded_contract
            .as_ref()
            .map(|path| embedded(&tree, path)),
        duplicates: tree.duplicates,
    })
}

/// What of `shipped` is forbidden: under the root as configured, or where symlinks lead it.
fn under_root(shipped: Vec<Shipped>, tree: &Tree, inventory: &Inventory) -> Vec<Shipped> {
    let configured = inventory.root.trim_matches('/').as_bytes().to_vec();
    let real = tree.find(&configured).map(|found| found.path);
    let roots: Vec<_> = std::iter::once(configured).chain(real).collect();
    let forbidden = |path: &[u8]| {
        let inside = roots.iter().filter_map(|root| relative(path, root));
        inside
            .into_iter()
            .any(|path| is_forbidden(path, &inventory.forbidden_files))
    };
    let mut kept: Vec<_> = shipped
        .into_iter()
        .filter(|file| forbidden(&file.path))
        .collect();
    for file in &mut kept {
        let found = tree
            .find(&file.path)
            .filter(|found| found.path == file.path);
        file.visible = found.is_some_and(|found| found.layer == file.layer);
    }
    kept.sort();
    kept.dedup_by(|b, a| (&a.path, a.layer) == (&b.path, b.layer));
    kept
}

/// Whether a path relative to the root has a forbidden name: globs without a slash match the last
/// name.
fn is_forbidden(path: &[u8], globs: &[Glob]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    globs.iter().any(|glob| {
        glob.matches(as_path(if glob.as_str().contains('/') {
            path
        } else {
            name
        }))
    })
}

/// `path` relative to the directory `root`; the empty root holds everything.
fn relative<'p>(path: &'p [u8], root: &[u8]) -> Option<&'p [u8]> {
    if root.is_empty() {
        Some(path)
    } else {
        path.strip_prefix(root)?.strip_prefix(b"/")
    }
}

fn embedded(tree: &Tree, path: &str) -> Embedded {
    match tree.find(path.as_bytes()).map(|found| &found.inode.kind) {
        None => Embedded::Missing,
        Some(FileType::File(Some(content))) => Embedded::Content(content.clone()),
        Some(FileType::File(None)) => Embedded::Other,
        Some(_) => Embedded::NotAFile,
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
pub(crate) mod tests;
