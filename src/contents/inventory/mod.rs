//! The contents of an image according to `inventory` in the configuration: the files below its
//! root, and the names of each kind.
//!
//! [`gather`] collects the contents from the merged tree, which can then be dropped. `checks`
//! evaluates them.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

mod enumeration;
mod layer_cache;
mod listing;
mod policy;
mod progress;
mod user;

pub(crate) use enumeration::{Enumeration, SCHEMA as ENUMERATION_SCHEMA};
pub(crate) use layer_cache::{ImageLayers, LayerCache};
pub(crate) use listing::{File, ListError, Listing, list};
pub(crate) use policy::{Inventory, Kind, Modes, MustNotContain};
pub(crate) use progress::ReadingProgress;

use user::NAME_FILES;

use super::layers::{ContentFilter, Duplicate, FileType, LayerTree, MergeError, Tree, merge};
use crate::base::files::Glob;

/// The contents of one image, as input of the checks.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The files below the root, with the permissions of the configured user.
    pub listing: Result<Listing, ListError>,
    /// The forbidden files that any layer adds below the root, visible or not, sorted by path and
    /// layer.
    pub forbidden: Vec<ForbiddenFile>,
    /// The copy of the contract, or `None` if none is configured.
    pub embedded_contract: Option<EmbeddedContract>,
    /// The entries that one layer contains twice.
    pub duplicates: Vec<Duplicate>,
}

/// A file with a forbidden name in a layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ForbiddenFile {
    /// The path relative to `/` in the image.
    pub path: Vec<u8>,
    /// The number of the layer, counted from 1 for the lowest.
    pub layer: usize,
    /// Whether the merged tree contains the file.
    pub is_visible: bool,
}

/// The entry at the path of the embedded contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EmbeddedContract {
    /// The path does not exist.
    Missing,
    /// The entry is not a regular file.
    NotAFile,
    /// A file that the content filter did not select: its size differs from the contracts' sizes, or it
    /// is larger than 1 MiB or sparse.
    Other,
    /// A file with this content.
    Content(Box<[u8]>),
}

/// Selects the contents that [`gather`] needs. `contracts` are the sizes of the contracts that the
/// embedded copies are compared with.
pub(crate) fn content_filter(inventory: &Inventory, contracts: &[u64]) -> ContentFilter {
    let mut filter = ContentFilter::default();
    if let Some(user) = &inventory.user
        && !user
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b':')
    {
        filter.names.extend(NAME_FILES.map(Vec::from));
    }
    if let Some(path) = &inventory.embedded_contract {
        let name = path.rsplit('/').next().unwrap_or(path);
        filter.names.push(name.into());
        filter.lengths.extend(contracts);
    }
    filter
}

/// Merges an image's layers, the lowest first, and gathers the contents for the inventory.
pub(crate) fn gather<'l>(
    layers: impl IntoIterator<Item = &'l LayerTree>,
    inventory: &Inventory,
) -> Result<Contents, MergeError> {
    // The root may be a symlink, so its path is only known after the merge. Until then, the globs match
    // in every directory.
    let globs: Vec<Glob> = inventory
        .forbidden_files
        .iter()
        .filter_map(|glob| glob.anywhere().ok())
        .collect();
    let mut candidates = Vec::new();
    let tree = merge(layers, |file| {
        if globs.is_empty() {
            return;
        }
        let path = file.path();
        if globs.iter().any(|glob| glob.matches(as_path(&path))) {
            candidates.push(ForbiddenFile {
                path,
                layer: file.layer,
                is_visible: false,
            });
        }
    })?;
    Ok(Contents {
        listing: list(&tree, inventory),
        forbidden: forbidden_files(candidates, &tree, inventory),
        embedded_contract: inventory
            .embedded_contract
            .as_ref()
            .map(|path| embedded_contract(&tree, path)),
        duplicates: tree.duplicates,
    })
}

/// The candidates with a forbidden name below the configured root or its symlink target.
fn forbidden_files(
    candidates: Vec<ForbiddenFile>,
    tree: &Tree,
    inventory: &Inventory,
) -> Vec<ForbiddenFile> {
    let configured = inventory.root.trim_matches('/').as_bytes().to_vec();
    let resolved = tree.find(&configured).map(|root| root.path);
    let roots: Vec<_> = std::iter::once(configured).chain(resolved).collect();
    let mut forbidden = Vec::new();
    for mut file in candidates {
        if roots
            .iter()
            .filter_map(|root| relative(&file.path, root))
            .any(|path| is_forbidden(path, &inventory.forbidden_files))
        {
            file.is_visible = tree
                .find(&file.path)
                .is_some_and(|found| found.path == file.path && found.layer == file.layer);
            forbidden.push(file);
        }
    }
    forbidden.sort();
    forbidden.dedup_by(|b, a| (&a.path, a.layer) == (&b.path, b.layer));
    forbidden
}

/// Whether a path relative to the root is forbidden. A glob without a slash matches the base name.
fn is_forbidden(path: &[u8], globs: &[Glob]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    globs.iter().any(|glob| {
        let matched = if glob.as_str().contains('/') {
            path
        } else {
            name
        };
        glob.matches(as_path(matched))
    })
}

/// Strips the directory `root` from `path`. The empty root contains every path.
fn relative<'p>(path: &'p [u8], root: &[u8]) -> Option<&'p [u8]> {
    if root.is_empty() {
        Some(path)
    } else {
        path.strip_prefix(root)?.strip_prefix(b"/")
    }
}

fn embedded_contract(tree: &Tree, path: &str) -> EmbeddedContract {
    match tree.find(path.as_bytes()).map(|found| &found.inode.kind) {
        None => EmbeddedContract::Missing,
        Some(FileType::File(Some(content))) => EmbeddedContract::Content(content.as_ref().into()),
        Some(FileType::File(None)) => EmbeddedContract::Other,
        Some(_) => EmbeddedContract::NotAFile,
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
pub(crate) mod tests;
