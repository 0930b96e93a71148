//! The contents of an image according to `inventory` in the configuration: the files below its
//! root, and the names of each kind.
//!
//! [`gather`] collects the contents from the merged tree, which can then be dropped. `checks`
//! evaluates them.
//!
//! The files below the inventory's root, as `find -type f` lists them for the configured user.
//!
//! The contents that images must have, as they are configured.
//!
//! The configured user, by ID or by a name in the image's `/etc/passwd`, and its permissions.
//!
//! Only permission bits are evaluated, as the kernel does for a process without capabilities. Access
//! control lists are ignored.

mod enumeration;
mod layer_cache;
#[cfg(test)]
pub(crate) mod tests;

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use regex::bytes::Regex;

use super::layers::{
    ContentFilter, Duplicate, FileType, Inode, LayerTree, MergeError, ResolvedPath, Tree, merge,
};
use crate::base::{files::Glob, text::words};

pub(crate) use enumeration::{Enumeration, ReadingProgress, SCHEMA as ENUMERATION_SCHEMA};
pub(crate) use layer_cache::{ImageLayers, LayerCache};

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

/// The contents that an image must have.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The directory in the image that is listed: an absolute path.
    pub root: String,
    /// Files that this user cannot read are failures; `None`: readability is not checked.
    pub user: Option<String>,
    /// Kinds of content to list, in this order.
    pub kinds: Vec<Kind>,
    /// Globs under the root, each of which must match a file.
    pub required_files: Vec<Glob>,
    /// Globs of files that must be absent from every layer.
    pub forbidden_files: Vec<Glob>,
    pub modes: Modes,
    /// Labels that every platform must have, with a value.
    pub required_labels: Vec<String>,
    /// A file in the image that must equal the contract byte for byte.
    pub embedded_contract: Option<String>,
}

/// A kind of content.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Regular expressions for paths relative to the root; the capture group is the name.
    pub paths: Vec<Regex>,
    /// Whether a contract may list forbidden entries of this kind.
    pub must_not_contain: MustNotContain,
    /// Whether at least one name is required.
    pub non_empty: bool,
    /// The name of the kind: a key of contracts and of listings.
    pub name: String,
}

/// The exact modes under the root; `None`: not checked.
#[derive(Debug, Clone)]
pub struct Modes {
    /// The mode of every directory.
    pub directories: Option<u32>,
    /// The mode of every file.
    pub files: Option<u32>,
}

words! {
    /// Whether a contract may list forbidden entries of a kind.
    pub enum MustNotContain {
        Supported = "supported",
        Unsupported = "unsupported",
    }
}

/// The permission to list a directory or to read a file.
const READ: u16 = 4;

/// The permission to access the entries of a directory.
const SEARCH: u16 = 1;

/// A user of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct User {
    /// The user ID; 0 has all permissions.
    uid: u32,
    /// The only group of the user, if one is configured.
    gid: Option<u32>,
}

/// The reason that the user cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserError {
    /// The text is malformed.
    #[error("`{0}` is not a user: write UID, UID:GID, or names that exist in the image")]
    Shape(String),
    /// The file of a name is missing or not readable.
    #[error("`{name}` cannot be resolved: the image has no readable /{file}")]
    NoFile {
        /// The user or group.
        name: String,
        /// The file of the name.
        file: &'static str,
    },
    /// The file does not contain the name.
    #[error("`{name}` is not in the image's /{file}")]
    Unknown {
        /// The user or group.
        name: String,
        /// The file of the name.
        file: &'static str,
    },
}

/// The files with users and groups. The content filter must select them.
const NAME_FILES: [&str; 2] = ["passwd", "group"];

impl User {
    /// The user with all permissions.
    const ROOT: Self = Self { uid: 0, gid: None };

    /// Parses `UID[:GID]`, and resolves users and groups in the image's files. Without `:GID`, the
    /// user has no group.
    fn parse(text: &str, tree: &Tree) -> Result<Self, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(UserError::Shape(text.to_owned()));
        }
        Ok(Self {
            uid: resolve_id(user, tree, "etc/passwd")?,
            gid: match group {
                Some(group) => Some(resolve_id(group, tree, "etc/group")?),
                None => None,
            },
        })
    }

    /// Whether the user may read the file, or list and search the directory.
    fn may_read(self, inode: &Inode) -> bool {
        let needed = if inode.kind == FileType::Directory {
            READ | SEARCH
        } else {
            READ
        };
        self.has(inode, needed)
    }

    /// Whether the user may access the entries of the directory.
    fn may_search(self, directory: &Inode) -> bool {
        self.has(directory, SEARCH)
    }

    fn has(self, inode: &Inode, needed: u16) -> bool {
        // The first matching class decides, even if a later one has more permissions.
        let class = match self {
            Self { uid: 0, .. } => return true,
            Self { uid, .. } if uid == inode.uid => inode.mode >> 6,
            Self { gid: Some(gid), .. } if gid == inode.gid => inode.mode >> 3,
            _ => inode.mode,
        };
        class & needed == needed
    }
}

/// Parses an ID, or looks up a name in `file`. In both files, a line starts with a name, and its third
/// field is the ID.
fn resolve_id(name: &str, tree: &Tree, file: &'static str) -> Result<u32, UserError> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name.parse().map_err(|_| UserError::Shape(name.to_owned()));
    }
    let found = tree.find(file.as_bytes());
    let Some(FileType::File(Some(content))) = found.map(|found| &found.inode.kind) else {
        return Err(UserError::NoFile {
            name: name.to_owned(),
            file,
        });
    };
    for line in content.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        if fields.next() == Some(name.as_bytes())
            && let Some(id) = fields.nth(1)
            && let Ok(id) = std::str::from_utf8(id)
            && let Ok(id) = id.parse()
        {
            return Ok(id);
        }
    }
    Err(UserError::Unknown {
        name: name.to_owned(),
        file,
    })
}
