//! Layers stacked into one tree (OCI image specification, "Image Layer Filesystem Changeset").
//!
//! A layer is applied in two passes. First its whiteouts, against the result of the layers below:
//! so they never hide entries of their own layer, wherever in it they are. Then its other entries,
//! in their order.

use std::collections::{BTreeMap, HashMap};

use super::{
    error::{MergeError, MergeErrorKind},
    layer::{Entry, EntryKind, LayerTree},
    nodes::{Duplicate, FileType, Inode, LastLink, Node, ROOT, Step, Tree, Walk},
    path,
};

/// The permissions of a directory that no layer has an entry for: what the engines create.
const IMPLICIT: u16 = 0o755;

/// How many duplicates are remembered.
const DUPLICATES_MAX: usize = 100;

/// A regular file, or a hard link to one, as a layer puts it somewhere; a later entry may hide or
/// replace it.
#[derive(Debug)]
pub struct PlacedFile<'l> {
    /// Which layer, counted from 1, the lowest first.
    pub layer: usize,
    directory: &'l [u8],
    name: &'l [u8],
}

impl PlacedFile<'_> {
    /// Its last name.
    pub fn name(&self) -> &[u8] {
        self.name
    }

    /// Where it lands, symlinked directories followed; relative to the root.
    pub fn path(&self) -> Vec<u8> {
        path::join(self.directory, self.name)
    }
}

/// Stacks `layers`, the lowest first; `placed` sees every file that any of them brings.
pub fn merge<'l>(
    layers: impl IntoIterator<Item = &'l LayerTree>,
    mut placed: impl FnMut(&PlacedFile<'_>),
) -> Result<Tree, MergeError> {
    let root = Inode {
        kind: FileType::Directory,
        mode: IMPLICIT,
        uid: 0,
        gid: 0,
        layer: 0,
    };
    let mut tree = Tree {
        nodes: Vec::new(),
        inodes: Vec::new(),
        duplicates: Vec::new(),
    };
    tree.add(root, 0);
    for (at, layer) in layers.into_iter().enumerate() {
        let stacking = LayerMerge {
            number: index(at + 1),
            layer,
            landed: vec![None; layer.directories()],
            changes: 0,
            hidden: HashMap::new(),
            placed: &mut placed,
            tree: &mut tree,
        };
        stacking.run()?;
    }
    Ok(tree)
}

/// One layer on its way into the tree.
struct LayerMerge<'s, 'l> {
    tree: &'s mut Tree,
    layer: &'l LayerTree,
    number: u32,
    /// Where the layer's directories lead, as of a count of changes that could lead them elsewhere.
    landed: Vec<Option<ResolvedDirectory>>,
    changes: u32,
    /// What this layer's whiteouts took out, and the first entry that did: hard links before it may
    /// still name it.
    hidden: Hidden,
    placed: &'s mut dyn FnMut(&PlacedFile<'_>),
}

/// By directory and name: the node that was there, and the index of the entry that hid it.
type Hidden = HashMap<(u32, Box<[u8]>), (u32, usize)>;

#[derive(Clone)]
struct ResolvedDirectory {
    changes: u32,
    node: u32,
    path: std::rc::Rc<[u8]>,
}

impl LayerMerge<'_, '_> {
    fn run(mut self) -> Result<(), MergeError> {
        let layer = self.layer;
        let hides = |entry: &Entry| matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque);
        if layer.entries.iter().any(hides) {
            let own = LayerEntries::of(layer);
            for (at, entry) in layer
                .entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| hides(entry))
            {
                self.hide(at, entry, &own);
            }
        }
        for (at, entry) in layer
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| !hides(entry))
        {
            self.put(at, entry).map_err(|fault| MergeError {
                layer: self.number as usize,
                path: path::shown(&layer.path(entry)),
                fault,
            })?;
        }
        Ok(())
    }

    /// Removes what a whiteout hides. A whiteout that hides nothing is ignored.
    fn hide(&mut self, at: usize, entry: &Entry, own: &LayerEntries<'_>) {
        let Some(directory) = own.directory_below(self.tree, self.layer.directory(entry)) else {
            return;
        };
        let children = &mut self.tree.nodes[directory as usize].children;
        let taken = if let EntryKind::Opaque = entry.kind {
            std::mem::take(children)
        } else {
            children
                .remove_entry(self.layer.text(entry.name))
                .into_iter()
                .collect()
        };
        for (name, node) in taken {
            // Two whiteouts for one name: the entry is in reach of links up to the first of them in
            // either case.
            self.hidden.entry((directory, name)).or_insert((node, at));
        }
    }

    fn put(&mut self, at: usize, entry: &Entry) -> Result<(), MergeErrorKind> {
        let layer = self.layer;
        let name = layer.text(entry.name);
        if name.is_empty() {
            return self.put_root(entry);
        }
        let directory = self.land(entry.directory as usize)?;
        let existing = self.tree.child(directory.node, name);
        if let Some(node) = existing {
            self.note_duplicate(node, &directory.path, name);
            if matches!(entry.kind, EntryKind::Directory) && self.tree.is_directory(node) {
                self.describe(node, entry);
                return Ok(());
            }
            // Before a hard link is looked up: the engines, too, make room first.
            self.tree.nodes[directory.node as usize]
                .children
                .remove(name);
            if matches!(
                self.tree.inode(node).kind,
                FileType::Directory | FileType::Symlink(_)
            ) {
                self.changes += 1;
            }
        }
        let node = if let EntryKind::HardLink(target) = entry.kind {
            let inode = self.linked(at, layer.text(target))?;
            self.tree.name(inode, self.number)
        } else {
            let inode = self.inode(at, entry);
            self.tree.add(inode, self.number)
        };
        self.tree.nodes[node as usize].explicit = true;
        self.tree.nodes[directory.node as usize]
            .children
            .insert(name.into(), node);
        if matches!(self.tree.inode(node).kind, FileType::File(_)) {
            (self.placed)(&PlacedFile {
                layer: self.number as usize,
                directory: &directory.path,
                name,
            });
        }
        Ok(())
    }

    fn put_root(&mut self, entry: &Entry) -> Result<(), MergeErrorKind> {
        if !matches!(entry.kind, EntryKind::Directory) {
            return Err(MergeErrorKind::Root);
        }
        self.note_duplicate(ROOT, b"", b"/");
        self.describe(ROOT, entry);
        Ok(())
    }

    fn note_duplicate(&mut self, node: u32, directory: &[u8], name: &[u8]) {
        let node = &self.tree.nodes[node as usize];
        if node.explicit && node.layer == self.number && self.tree.duplicates.len() < DUPLICATES_MAX
        {
            self.tree.duplicates.push(Duplicate {
                layer: self.number as usize,
                path: path::join(directory, name),
            });
        }
    }

    /// Gives an existing directory the attributes of its new entry.
    fn describe(&mut self, node: u32, entry: &Entry) {
        let node = &mut self.tree.nodes[node as usize];
        (node.layer, node.explicit) = (self.number, true);
        let inode = &mut self.tree.inodes[node.inode as usize];
        (inode.mode, inode.uid, inode.gid, inode.layer) =
            (entry.mode, entry.uid, entry.gid, self.number);
    }

    fn inode(&self, at: usize, entry: &Entry) -> Inode {
        let kind = match entry.kind {
            EntryKind::File => FileType::File(self.layer.content(at).map(Box::from)),
            EntryKind::Symlink(target) => FileType::Symlink(self.layer.text(target).into()),
            EntryKind::Directory => FileType::Directory,
            _ => FileType::Other,
        };
        Inode {
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            layer: self.number,
        }
    }

    /// Where entries of one of the layer's directories go; what is missing on the way is created.
    fn land(&mut self, directory: usize) -> Result<ResolvedDirectory, MergeErrorKind> {
        if let Some(landed) = &self.landed[directory]
            && landed.changes == self.changes
        {
            return Ok(landed.clone());
        }
        let mut walk = Walk::new(self.layer.directory_at(directory));
        loop {
            match walk.step(self.tree, LastLink::Follow) {
                Step::There => break,
                Step::On => {}
                Step::Missing(name) => {
                    let inode = Inode {
                        kind: FileType::Directory,
                        mode: IMPLICIT,
                        uid: 0,
                        gid: 0,
                        layer: self.number,
                    };
                    let node = self.tree.add(inode, self.number);
                    self.tree.nodes[walk.here() as usize]
                        .children
                        .insert(name.clone(), node);
                    walk.enter(&name, node);
                }
                Step::NoDirectory(name, _) => {
                    return Err(MergeErrorKind::NotADirectory(path::shown(
                        &walk.path_of(&name),
                    )));
                }
                Step::Loop => return Err(MergeErrorKind::Loop),
            }
        }
        let landed = ResolvedDirectory {
            changes: self.changes,
            node: walk.here(),
            path: walk.path.into(),
        };
        self.landed[directory] = Some(landed.clone());
        Ok(landed)
    }

    /// The inode that a hard link names. A symlink at the end of the path is linked to, not
    /// followed, as link(2) does.
    fn linked(&self, at: usize, target: &[u8]) -> Result<u32, MergeErrorKind> {
        let missing = || MergeErrorKind::LinkTarget(path::shown(target));
        let mut walk = Walk::new(target);
        loop {
            let (name, node) = match walk.step(self.tree, LastLink::Keep) {
                Step::On => continue,
                Step::There => return Err(MergeErrorKind::LinkToDirectory(path::shown(target))),
                Step::NoDirectory(name, node) => (name, node),
                Step::Missing(name) => {
                    let hidden = self
                        .hidden
                        .get(&(walk.here(), name.clone()))
                        .filter(|(_, by)| at < *by);
                    (name, hidden.ok_or_else(missing)?.0)
                }
                Step::Loop => return Err(MergeErrorKind::Loop),
            };
            match (walk.at_the_end(), &self.tree.inode(node).kind) {
                (true, FileType::Directory) => {
                    return Err(MergeErrorKind::LinkToDirectory(path::shown(target)));
                }
                (true, _) => return Ok(self.tree.nodes[node as usize].inode),
                (false, FileType::Directory) => walk.enter(&name, node),
                (false, _) => return Err(missing()),
            }
        }
    }
}

/// A layer's own directories, symlinks and whiteouts: what each of its whiteouts is to be read
/// with.
struct LayerEntries<'l> {
    layer: &'l LayerTree,
    kinds: HashMap<Vec<u8>, EntryKind>,
}

impl<'l> LayerEntries<'l> {
    fn of(layer: &'l LayerTree) -> Self {
        let of = |wanted: fn(EntryKind) -> bool| {
            layer.entries.iter().filter(move |entry| wanted(entry.kind))
        };
        let hidden = of(|kind| matches!(kind, EntryKind::Whiteout));
        // After the whiteouts, so that the replacement of a hidden entry counts, wherever in the
        // layer it is.
        let own = of(|kind| matches!(kind, EntryKind::Directory | EntryKind::Symlink(_)));
        let kinds = hidden
            .chain(own)
            .map(|entry| (layer.path(entry), entry.kind))
            .collect();
        Self { layer, kinds }
    }

    /// The directory of the layers below that a whiteout's directory shows; `None` if it shows none
    /// of them.
    ///
    /// A directory that this layer puts in a symlink's place is a new one: what the symlink pointed
    /// to is not hidden with it.
    fn directory_below(&self, tree: &Tree, directory: &[u8]) -> Option<u32> {
        let mut walk = Walk::new(directory);
        while let Some(name) = walk.next_name() {
            let below = tree.child(walk.here(), &name);
            match (self.kinds.get(&walk.path_of(&name)), below) {
                (Some(EntryKind::Symlink(target)), _) => {
                    if !walk.follow(self.layer.text(*target)) {
                        return None;
                    }
                }
                (Some(EntryKind::Whiteout), _) | (_, None) => return None,
                (own, Some(node)) => match &tree.inode(node).kind {
                    FileType::Directory => walk.enter(&name, node),
                    FileType::Symlink(target) if own.is_none() => {
                        if !walk.follow(target) {
                            return None;
                        }
                    }
                    _ => return None,
                },
            }
        }
        Some(walk.here())
    }
}

impl Tree {
    /// Adds an inode and a name for it, which hangs nowhere yet.
    fn add(&mut self, inode: Inode, layer: u32) -> u32 {
        self.inodes.push(inode);
        self.name(index(self.inodes.len() - 1), layer)
    }

    fn name(&mut self, inode: u32, layer: u32) -> u32 {
        self.nodes.push(Node {
            inode,
            layer,
            explicit: false,
            children: BTreeMap::new(),
        });
        index(self.nodes.len() - 1)
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("the budget of an image allows far fewer entries and layers than 2^32")
}
