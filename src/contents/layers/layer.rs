//! The entries of one layer, independent of the layers below it.

use std::{collections::HashMap, io::Read, sync::Arc};

use super::{
    archive::{Archive, ArchiveEntry, MemberKind},
    limits::{self, Budget, ContentFilter, LayerErrorKind, Selection},
};

/// The name prefix of a whiteout (OCI image specification, "Whiteouts").
const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// The prefix that AUFS reserved. Only the opaque whiteout has a meaning.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// The name of an opaque whiteout, which hides all entries of lower layers in its directory.
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// The approximate memory of an entry and its part of the merged tree, without its path.
const ENTRY_COST: usize = 192;

/// The entries of one layer, in the order of its archive. Paths are normalized; `merge` follows the
/// symlinks in them.
#[derive(Debug)]
pub(crate) struct LayerTree {
    /// The parent directories of the entries. The first is the root, an empty path.
    directories: Vec<Box<[u8]>>,
    pub(super) entries: Vec<LayerEntry>,
    /// The bytes of paths and link targets.
    names: Vec<u8>,
    /// The selected contents by the index of their entry.
    contents: HashMap<u32, Arc<[u8]>>,
    /// The values of `security.capability` by the index of their entry.
    capabilities: HashMap<u32, Box<[u8]>>,
    cost: usize,
    /// The size of the package databases, stored or not.
    database_bytes: u64,
    is_incomplete: bool,
}

/// The range of a name or a link target in [`LayerTree::names`].
#[derive(Debug, Clone, Copy)]
pub(super) struct NameRange {
    start: u32,
    length: u16,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct LayerEntry {
    /// The index in [`LayerTree::directories`].
    pub(super) directory: u32,
    /// Empty for the root and for an opaque whiteout.
    pub(super) name: NameRange,
    pub(super) kind: EntryKind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum EntryKind {
    File,
    HardLink(NameRange),
    Symlink(NameRange),
    Directory,
    Other,
    /// Hides the entry with this name in lower layers.
    Whiteout,
    /// Hides all entries in this directory in lower layers.
    OpaqueWhiteout,
}

impl LayerEntry {
    pub(super) fn is_whiteout(&self) -> bool {
        matches!(self.kind, EntryKind::Whiteout | EntryKind::OpaqueWhiteout)
    }
}

impl LayerTree {
    /// The approximate memory of the entries and of their part of the merged tree, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// The size of the layer's package databases. If those of an image exceed
    /// [`super::IMAGE_DATABASES`], some of them are not stored.
    pub(crate) fn database_bytes(&self) -> u64 {
        self.database_bytes
    }

    /// Whether a package database is missing because the databases of the image were too large.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// The number of entries.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn name(&self, range: NameRange) -> &[u8] {
        let start = range.start as usize;
        &self.names[start..start + usize::from(range.length)]
    }

    pub(super) fn directory(&self, index: u32) -> &[u8] {
        &self.directories[index as usize]
    }

    pub(super) fn directory_count(&self) -> usize {
        self.directories.len()
    }

    pub(super) fn path(&self, entry: &LayerEntry) -> Vec<u8> {
        limits::join(self.directory(entry.directory), self.name(entry.name))
    }

    pub(super) fn content(&self, entry: usize) -> Option<&Arc<[u8]>> {
        self.contents.get(&u32::try_from(entry).ok()?)
    }

    pub(super) fn capability(&self, entry: usize) -> Option<&[u8]> {
        let value = self.capabilities.get(&u32::try_from(entry).ok()?)?;
        Some(value)
    }
}

/// The reason that a member cannot be added.
pub(super) enum AddError {
    Malformed(String),
    OverBudget(LayerErrorKind),
}

impl AddError {
    /// Adds the location in the archive.
    pub(super) fn locate<D: Read>(self, archive: &Archive<D>) -> LayerErrorKind {
        match self {
            Self::Malformed(reason) => archive.malformed(reason),
            Self::OverBudget(error) => error,
        }
    }
}

impl From<LayerErrorKind> for AddError {
    fn from(error: LayerErrorKind) -> Self {
        Self::OverBudget(error)
    }
}

/// Builds a [`LayerTree`] from the members of an archive.
pub(super) struct LayerTreeBuilder<'b> {
    tree: LayerTree,
    directory_indexes: HashMap<Box<[u8]>, u32>,
    budget: &'b Budget,
}

impl<'b> LayerTreeBuilder<'b> {
    pub(super) fn new(budget: &'b Budget) -> Self {
        let root: Box<[u8]> = Box::default();
        Self {
            tree: LayerTree {
                directories: vec![root.clone()],
                entries: Vec::new(),
                names: Vec::new(),
                contents: HashMap::new(),
                capabilities: HashMap::new(),
                cost: 0,
                database_bytes: 0,
                is_incomplete: false,
            },
            directory_indexes: HashMap::from([(root, 0)]),
            budget,
        }
    }

    /// Adds a member. Returns the index of its entry if the filter selects its content.
    pub(super) fn add(
        &mut self,
        member: &ArchiveEntry,
        filter: &ContentFilter,
    ) -> Result<Option<u32>, AddError> {
        let names = normalize(&member.path)?;
        let (name, parents) = match names.split_last() {
            Some((name, parents)) => (*name, parents),
            None => (&b""[..], &[][..]),
        };
        let is_aufs = |name: &[u8]| name.starts_with(AUFS_PREFIX);
        if parents.iter().any(|name| is_aufs(name)) || is_aufs(name) && name != OPAQUE_WHITEOUT {
            return Ok(None);
        }
        if parents.iter().any(|name| name.starts_with(WHITEOUT_PREFIX)) {
            let path = limits::display(&member.path);
            return Err(AddError::Malformed(format!(
                "`{path}` is in a directory with the name of a whiteout"
            )));
        }
        let parent = parents.join(&b'/');
        let directory = self.directory(&parent, parents.len())?;
        let (name, kind) = match name.strip_prefix(WHITEOUT_PREFIX) {
            _ if name == OPAQUE_WHITEOUT => (&b""[..], EntryKind::OpaqueWhiteout),
            // A whiteout of no name, of the directory or of its parent: some readers deleted the whole
            // tree.
            Some(b"" | b"." | b"..") => {
                let path = limits::display(&member.path);
                return Err(AddError::Malformed(format!(
                    "the whiteout `{path}` hides nothing"
                )));
            }
            Some(hidden) => (hidden, EntryKind::Whiteout),
            None => (name, self.kind(member)?),
        };
        let index = u32::try_from(self.tree.entries.len()).map_err(|_| too_many_names())?;
        self.charge(ENTRY_COST + 2 * name.len())?;
        let entry = LayerEntry {
            directory,
            name: self.push_name(name)?,
            kind,
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
        };
        self.tree.entries.push(entry);
        if !matches!(kind, EntryKind::File) {
            return Ok(None);
        }
        if let Some(value) = &member.capability {
            self.charge(ENTRY_COST + value.len())?;
            self.tree.capabilities.insert(index, value.clone());
        }
        let selection = filter.selects(&parent, name, member.size);
        let is_stored = match selection {
            None => false,
            Some(_) if member.is_sparse => false,
            Some(Selection::Content) => {
                self.charge(usize::try_from(member.size).unwrap_or(usize::MAX))?;
                true
            }
            Some(Selection::Database) => {
                self.tree.database_bytes += member.size;
                let has_memory = self.budget.charge_database(member.size);
                self.tree.is_incomplete |= !has_memory;
                has_memory
            }
        };
        Ok(is_stored.then_some(index))
    }

    pub(super) fn add_content(&mut self, entry: u32, content: Vec<u8>) {
        self.tree.contents.insert(entry, content.into());
    }

    pub(super) fn finish(self) -> LayerTree {
        self.tree
    }

    fn kind(&mut self, member: &ArchiveEntry) -> Result<EntryKind, AddError> {
        Ok(match member.kind {
            MemberKind::File => EntryKind::File,
            MemberKind::Directory => EntryKind::Directory,
            MemberKind::Other => EntryKind::Other,
            MemberKind::Symlink => {
                if member.link.len() > limits::MAX_LENGTH {
                    return Err(AddError::Malformed(
                        "a symbolic link's target is longer than 4096 bytes".to_owned(),
                    ));
                }
                self.charge(2 * member.link.len())?;
                EntryKind::Symlink(self.push_name(&member.link)?)
            }
            MemberKind::HardLink => {
                let target = normalize(&member.link)?.join(&b'/');
                self.charge(target.len())?;
                EntryKind::HardLink(self.push_name(&target)?)
            }
        })
    }

    fn directory(&mut self, path: &[u8], depth: usize) -> Result<u32, AddError> {
        if let Some(index) = self.directory_indexes.get(path) {
            return Ok(*index);
        }
        // The path is stored twice, and each component may become a directory of the merged tree.
        self.charge(3 * path.len() + depth * ENTRY_COST)?;
        let index = u32::try_from(self.tree.directories.len()).map_err(|_| too_many_names())?;
        self.tree.directories.push(path.into());
        self.directory_indexes.insert(path.into(), index);
        Ok(index)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), LayerErrorKind> {
        self.tree.cost += bytes;
        self.budget.charge(bytes)
    }

    fn push_name(&mut self, name: &[u8]) -> Result<NameRange, AddError> {
        let start = u32::try_from(self.tree.names.len()).map_err(|_| too_many_names())?;
        let length = u16::try_from(name.len()).map_err(|_| too_many_names())?;
        self.tree.names.extend_from_slice(name);
        Ok(NameRange { start, length })
    }
}

fn too_many_names() -> AddError {
    AddError::Malformed("too many names".to_owned())
}

/// Splits a path that must remain inside the image.
fn normalize(path: &[u8]) -> Result<Vec<&[u8]>, AddError> {
    if path.len() > limits::MAX_LENGTH {
        return Err(AddError::Malformed(format!(
            "a path of {} bytes, more than 4096",
            path.len()
        )));
    }
    limits::normalize(path).ok_or_else(|| {
        let path = limits::display(path);
        AddError::Malformed(format!("`{path}` leaves the image"))
    })
}
