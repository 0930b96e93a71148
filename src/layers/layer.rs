//! The list of files that one layer brings, before anything is known about the layers below it.

use std::collections::HashMap;

use super::{
    archive::{Archive, Kind, Member},
    error::LayerErrorKind,
    limits::{Budget, ContentFilter},
    path,
};
use crate::oci::Digest;

/// What begins the name of an entry that hides something (OCI image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";

/// What begins the names that AUFS kept for itself; of them only the opaque whiteout means
/// something.
const RESERVED: &[u8] = b".wh..wh.";

/// The name of the entry that hides everything that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry takes in memory with its part of the merged tree, without its names.
const ENTRY: usize = 192;

/// What one layer brings, in the order of its archive. Paths are as the archive has them, cleaned:
/// symlinks in them are followed when layers are merged.
#[derive(Debug)]
pub struct LayerTree {
    diff_id: Digest,
    /// The directories that entries lie in; the root is the first, as the empty path.
    directories: Vec<Box<[u8]>>,
    pub(super) entries: Vec<Entry>,
    /// The bytes of names and link targets.
    names: Vec<u8>,
    /// Contents that were wanted, by the entry's index.
    contents: HashMap<u32, Box<[u8]>>,
    /// What the list was charged for.
    cost: usize,
}

/// A path's last name, or a link's target, in [`LayerTree::names`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    start: u32,
    length: u16,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// In [`LayerTree::directories`].
    pub(super) directory: u32,
    /// Empty for the root itself, and for an opaque whiteout.
    pub(super) name: Text,
    pub(super) kind: EntryKind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum EntryKind {
    File,
    HardLink(Text),
    Symlink(Text),
    Directory,
    Other,
    /// Hides what lower layers have under this name.
    Whiteout,
    /// Hides what lower layers have in this directory.
    Opaque,
}

impl LayerTree {
    /// The digest of the uncompressed bytes, by which a layer is known again.
    pub fn diff_id(&self) -> Digest {
        self.diff_id
    }

    /// What the list, and the tree made of it, take in memory by our own count, in bytes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// How many entries the layer has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the layer changes nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn text(&self, text: Text) -> &[u8] {
        let start = text.start as usize;
        &self.names[start..start + usize::from(text.length)]
    }

    pub(super) fn directory(&self, entry: &Entry) -> &[u8] {
        &self.directories[entry.directory as usize]
    }

    pub(super) fn directory_at(&self, index: usize) -> &[u8] {
        &self.directories[index]
    }

    pub(super) fn directories(&self) -> usize {
        self.directories.len()
    }

    pub(super) fn path(&self, entry: &Entry) -> Vec<u8> {
        path::join(self.directory(entry), self.text(entry.name))
    }

    pub(super) fn content(&self, entry: usize) -> Option<&[u8]> {
        self.contents
            .get(&u32::try_from(entry).ok()?)
            .map(AsRef::as_ref)
    }
}

/// Why a member is not taken.
pub(super) enum Refused {
    Malformed(String),
    Budget(LayerErrorKind),
}

impl Refused {
    pub(super) fn at<D: std::io::Read>(self, archive: &Archive<D>) -> LayerErrorKind {
        match self {
            Self::Malformed(reason) => archive.broken(reason),
            Self::Budget(error) => error,
        }
    }
}

impl From<LayerErrorKind> for Refused {
    fn from(error: LayerErrorKind) -> Self {
        Self::Budget(error)
    }
}

/// A list that is being filled.
pub(super) struct Builder<'b> {
    layer: LayerTree,
    known: HashMap<Box<[u8]>, u32>,
    budget: &'b Budget,
}

impl<'b> Builder<'b> {
    pub(super) fn new(diff_id: Digest, budget: &'b Budget) -> Self {
        let root: Box<[u8]> = Box::default();
        let layer = LayerTree {
            diff_id,
            directories: vec![root.clone()],
            entries: Vec::new(),
            names: Vec::new(),
            contents: HashMap::new(),
            cost: 0,
        };
        Self {
            layer,
            known: HashMap::from([(root, 0)]),
            budget,
        }
    }

    /// Adds a member; the index of its entry if its content is wanted.
    pub(super) fn add(
        &mut self,
        member: &Member,
        want: &ContentFilter,
    ) -> Result<Option<u32>, Refused> {
        let names = checked(&member.path)?;
        let (name, directory) = names
            .split_last()
            .map_or((&b""[..], &[][..]), |(last, directory)| (*last, directory));
        if directory
            .iter()
            .chain([&name])
            .any(|name| name.starts_with(RESERVED) && *name != OPAQUE)
            || directory.contains(&OPAQUE)
        {
            return Ok(None);
        }
        if directory.iter().any(|name| name.starts_with(WHITEOUT)) {
            let shown = path::shown(&member.path);
            return Err(Refused::Malformed(format!(
                "`{shown}` is in a directory with the name of a whiteout"
            )));
        }
        let directory = self.directory(&directory.join(&b'/'), directory.len())?;
        let (name, kind) = match name.strip_prefix(WHITEOUT) {
            _ if name == OPAQUE => (&b""[..], EntryKind::Opaque),
            // Hiding nothing, the directory itself or the one above: some readers wiped their whole
            // tree.
            Some(b"" | b"." | b"..") => {
                let shown = path::shown(&member.path);
                return Err(Refused::Malformed(format!(
                    "the whiteout `{shown}` hides nothing"
                )));
            }
            Some(hidden) => (hidden, EntryKind::Whiteout),
            None => (name, self.kind(member)?),
        };
        let index = u32::try_from(self.layer.entries.len()).map_err(|_| too_many())?;
        self.charge(ENTRY + 2 * name.len())?;
        let name_text = self.push(name)?;
        let Member { mode, uid, gid, .. } = *member;
        self.layer.entries.push(Entry {
            directory,
            name: name_text,
            kind,
            mode,
            uid,
            gid,
        });
        let wanted =
            matches!(kind, EntryKind::File) && !member.sparse && want.wants(name, member.size);
        Ok(wanted.then_some(index))
    }

    pub(super) fn keep(&mut self, entry: u32, content: Vec<u8>) -> Result<(), LayerErrorKind> {
        self.charge(content.len())?;
        self.layer.contents.insert(entry, content.into());
        Ok(())
    }

    pub(super) fn done(self) -> LayerTree {
        self.layer
    }

    fn kind(&mut self, member: &Member) -> Result<EntryKind, Refused> {
        Ok(match member.kind {
            Kind::File => EntryKind::File,
            Kind::Directory => EntryKind::Directory,
            Kind::Other => EntryKind::Other,
            Kind::Symlink => {
                if member.link.len() > path::MAX {
                    return Err(Refused::Malformed(
                        "a symbolic link's target is longer than 4096 bytes".to_owned(),
                    ));
                }
                self.charge(2 * member.link.len())?;
                EntryKind::Symlink(self.push(&member.link)?)
            }
            Kind::HardLink => {
                let target = checked(&member.link)?.join(&b'/');
                self.charge(target.len())?;
                EntryKind::HardLink(self.push(&target)?)
            }
        })
    }

    fn directory(&mut self, path: &[u8], depth: usize) -> Result<u32, Refused> {
        if let Some(index) = self.known.get(path) {
            return Ok(*index);
        }
        // The path is kept twice, and each of its names may become a directory of the merged tree.
        self.charge(3 * path.len() + depth * ENTRY)?;
        let index = u32::try_from(self.layer.directories.len()).map_err(|_| too_many())?;
        self.layer.directories.push(path.into());
        self.known.insert(path.into(), index);
        Ok(index)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), LayerErrorKind> {
        self.layer.cost += bytes;
        self.budget.charge(bytes)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<Text, Refused> {
        let start = u32::try_from(self.layer.names.len()).map_err(|_| too_many())?;
        let length = u16::try_from(bytes.len()).map_err(|_| too_many())?;
        self.layer.names.extend_from_slice(bytes);
        Ok(Text { start, length })
    }
}

fn too_many() -> Refused {
    Refused::Malformed("too many names".to_owned())
}

/// The names of a path that stays inside the image.
fn checked(path: &[u8]) -> Result<Vec<&[u8]>, Refused> {
    if path.len() > path::MAX {
        return Err(Refused::Malformed(format!(
            "a path of {} bytes, more than 4096",
            path.len()
        )));
    }
    path::clean(path).ok_or_else(|| {
        let shown = path::shown(path);
        Refused::Malformed(format!("`{shown}` leaves the image"))
    })
}
