//! Merges layers into one tree (OCI image specification, "Image Layer Filesystem Changeset").
//!
//! A layer is applied in two passes: first its whiteouts, to the result of the lower layers, then
//! its other entries in order. So a whiteout never hides an entry of its own layer, regardless of
//! the order.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use super::{
    layer::{EntryKind, LayerEntry, LayerTree},
    limits::{self, MergeError, MergeErrorKind},
    tree::{Duplicate, FileType, FinalSymlink, Inode, Node, ROOT, Step, Tree, Walk},
};

/// The mode of an implicit directory, as the engines create it.
const IMPLICIT_MODE: u16 = 0o755;

/// The maximum number of reported duplicates.
const MAX_DUPLICATES: usize = 100;

/// A regular file or a hard link to one, as a layer adds it to the tree. A later entry may hide or
/// replace it.
#[derive(Debug)]
pub(crate) struct AddedFile<'l> {
    /// The number of the layer, counted from 1 for the lowest.
    pub layer: usize,
    directory: &'l [u8],
    name: &'l [u8],
}

impl AddedFile<'_> {
    /// The path after the resolution of symlinked directories, relative to the root.
    pub(crate) fn path(&self) -> Vec<u8> {
        limits::join(self.directory, self.name)
    }
}

/// Merges `layers`, the lowest first. `on_file` is called for every file that a layer adds.
pub(crate) fn merge<'l>(
    layers: impl IntoIterator<Item = &'l LayerTree>,
    mut on_file: impl FnMut(&AddedFile<'_>),
) -> Result<Tree, MergeError> {
    let mut tree = Tree {
        nodes: Vec::new(),
        inodes: Vec::new(),
        duplicates: Vec::new(),
    };
    tree.add_inode(implicit_directory(0), 0);
    for (index, layer) in layers.into_iter().enumerate() {
        let merge = LayerMerge {
            number: to_u32(index + 1),
            layer,
            resolved_directories: vec![None; layer.directory_count()],
            generation: 0,
            hidden: HashMap::new(),
            on_file: &mut on_file,
            tree: &mut tree,
        };
        merge.run()?;
    }
    Ok(tree)
}

fn implicit_directory(layer: u32) -> Inode {
    Inode {
        kind: FileType::Directory,
        mode: IMPLICIT_MODE,
        uid: 0,
        gid: 0,
        layer,
        capability: None,
    }
}

/// The merge of one layer into the tree.
struct LayerMerge<'s, 'l> {
    tree: &'s mut Tree,
    layer: &'l LayerTree,
    number: u32,
    /// A cache of the layer's directories in the tree. An element is valid for its generation.
    resolved_directories: Vec<Option<ResolvedDirectory>>,
    /// Incremented when the replacement of a directory or symlink may change the resolution of paths.
    generation: u32,
    hidden: HiddenNodes,
    on_file: &'s mut dyn FnMut(&AddedFile<'_>),
}

/// The nodes that the layer's whiteouts removed, by directory and name, with the index of the first
/// whiteout. Hard links before the whiteout may still refer to them.
type HiddenNodes = HashMap<(u32, Box<[u8]>), (u32, usize)>;

#[derive(Clone)]
struct ResolvedDirectory {
    generation: u32,
    node: u32,
    path: Rc<[u8]>,
}

impl LayerMerge<'_, '_> {
    fn run(mut self) -> Result<(), MergeError> {
        let layer = self.layer;
        if layer.entries.iter().any(LayerEntry::is_whiteout) {
            let overrides = LayerOverrides::new(layer);
            for (index, entry) in layer.entries.iter().enumerate() {
                if entry.is_whiteout() {
                    self.apply_whiteout(index, entry, &overrides);
                }
            }
        }
        for (index, entry) in layer.entries.iter().enumerate() {
            if !entry.is_whiteout() {
                self.add_entry(index, entry).map_err(|kind| MergeError {
                    layer: self.number as usize,
                    path: limits::display(&layer.path(entry)),
                    kind,
                })?;
            }
        }
        Ok(())
    }

    /// Removes the nodes that a whiteout hides, if any.
    fn apply_whiteout(&mut self, index: usize, entry: &LayerEntry, overrides: &LayerOverrides<'_>) {
        let path = self.layer.directory(entry.directory);
        let Some(directory) = overrides.lower_directory(self.tree, path) else {
            return;
        };
        let children = &mut self.tree.nodes[directory as usize].children;
        let removed = if let EntryKind::OpaqueWhiteout = entry.kind {
            std::mem::take(children)
        } else {
            children
                .remove_entry(self.layer.name(entry.name))
                .into_iter()
                .collect()
        };
        for (name, node) in removed {
            // After the first of two whiteouts for one name, no hard link can refer to the node.
            self.hidden
                .entry((directory, name))
                .or_insert((node, index));
        }
    }

    fn add_entry(&mut self, index: usize, entry: &LayerEntry) -> Result<(), MergeErrorKind> {
        let layer = self.layer;
        let name = layer.name(entry.name);
        if name.is_empty() {
            return self.update_root(entry);
        }
        let directory = self.resolve_directory(entry.directory)?;
        if let Some(node) = self.tree.child(directory.node, name) {
            self.report_duplicate(node, &directory.path, name);
            if matches!(entry.kind, EntryKind::Directory) && self.tree.is_directory(node) {
                self.update_attributes(node, entry);
                return Ok(());
            }
            // Removed before a hard link is resolved, as in the engines.
            self.tree.nodes[directory.node as usize]
                .children
                .remove(name);
            if matches!(
                self.tree.inode(node).kind,
                FileType::Directory | FileType::Symlink(_)
            ) {
                self.generation += 1;
            }
        }
        let node = if let EntryKind::HardLink(target) = entry.kind {
            let inode = self.resolve_hard_link(index, layer.name(target))?;
            self.tree.add_node(inode, self.number)
        } else {
            let inode = self.inode(index, entry);
            self.tree.add_inode(inode, self.number)
        };
        self.tree.nodes[node as usize].is_explicit = true;
        self.tree.nodes[directory.node as usize]
            .children
            .insert(name.into(), node);
        if matches!(self.tree.inode(node).kind, FileType::File(_)) {
            (self.on_file)(&AddedFile {
                layer: self.number as usize,
                directory: &directory.path,
                name,
            });
        }
        Ok(())
    }

    fn update_root(&mut self, entry: &LayerEntry) -> Result<(), MergeErrorKind> {
        if !matches!(entry.kind, EntryKind::Directory) {
            return Err(MergeErrorKind::Root);
        }
        self.report_duplicate(ROOT, b"", b"/");
        self.update_attributes(ROOT, entry);
        Ok(())
    }

    fn report_duplicate(&mut self, node: u32, directory: &[u8], name: &[u8]) {
        let node = &self.tree.nodes[node as usize];
        if node.is_explicit
            && node.layer == self.number
            && self.tree.duplicates.len() < MAX_DUPLICATES
        {
            self.tree.duplicates.push(Duplicate {
                layer: self.number as usize,
                path: limits::join(directory, name),
            });
        }
    }

    /// Sets the attributes of an existing directory from its new entry.
    fn update_attributes(&mut self, node: u32, entry: &LayerEntry) {
        let node = &mut self.tree.nodes[node as usize];
        node.layer = self.number;
        node.is_explicit = true;
        let inode = &mut self.tree.inodes[node.inode as usize];
        inode.mode = entry.mode;
        inode.uid = entry.uid;
        inode.gid = entry.gid;
        inode.layer = self.number;
    }

    fn inode(&self, index: usize, entry: &LayerEntry) -> Inode {
        let kind = match entry.kind {
            EntryKind::File => FileType::File(self.layer.content(index).cloned()),
            EntryKind::Symlink(target) => FileType::Symlink(self.layer.name(target).into()),
            EntryKind::Directory => FileType::Directory,
            _ => FileType::Other,
        };
        Inode {
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            layer: self.number,
            capability: self.layer.capability(index).map(Box::from),
        }
    }

    /// Resolves a directory of the layer, and creates the missing parts of its path.
    fn resolve_directory(&mut self, directory: u32) -> Result<ResolvedDirectory, MergeErrorKind> {
        if let Some(resolved) = &self.resolved_directories[directory as usize]
            && resolved.generation == self.generation
        {
            return Ok(resolved.clone());
        }
        let mut walk = Walk::new(self.layer.directory(directory));
        loop {
            match walk.step(self.tree, FinalSymlink::Follow) {
                Step::End => break,
                Step::Advanced => {}
                Step::Missing(name) => {
                    let inode = implicit_directory(self.number);
                    let node = self.tree.add_inode(inode, self.number);
                    self.tree.nodes[walk.current() as usize]
                        .children
                        .insert(name.clone(), node);
                    walk.enter(&name, node);
                }
                Step::NotADirectory(name, _) => {
                    let path = limits::display(&walk.path_of(&name));
                    return Err(MergeErrorKind::NotADirectory(path));
                }
                Step::TooManySymlinks => return Err(MergeErrorKind::Loop),
            }
        }
        let resolved = ResolvedDirectory {
            generation: self.generation,
            node: walk.current(),
            path: walk.path.into(),
        };
        self.resolved_directories[directory as usize] = Some(resolved.clone());
        Ok(resolved)
    }

    /// Returns the inode of a hard link's target. As in link(2), a symlink at the end of the path is
    /// the target itself.
    fn resolve_hard_link(&self, index: usize, target: &[u8]) -> Result<u32, MergeErrorKind> {
        let missing = || MergeErrorKind::LinkTarget(limits::display(target));
        let mut walk = Walk::new(target);
        loop {
            let (name, node) = match walk.step(self.tree, FinalSymlink::DoNotFollow) {
                Step::Advanced => continue,
                Step::End => return Err(MergeErrorKind::LinkToDirectory(limits::display(target))),
                Step::NotADirectory(name, node) => (name, node),
                Step::Missing(name) => match self.hidden.get(&(walk.current(), name.clone())) {
                    Some((node, whiteout)) if index < *whiteout => (name, *node),
                    _ => return Err(missing()),
                },
                Step::TooManySymlinks => return Err(MergeErrorKind::Loop),
            };
            match (walk.is_at_end(), &self.tree.inode(node).kind) {
                (true, FileType::Directory) => {
                    return Err(MergeErrorKind::LinkToDirectory(limits::display(target)));
                }
                (true, _) => return Ok(self.tree.nodes[node as usize].inode),
                (false, FileType::Directory) => walk.enter(&name, node),
                (false, _) => return Err(missing()),
            }
        }
    }
}

/// The directories, symlinks and whiteouts of a layer, which override the layers below when a
/// whiteout is resolved.
struct LayerOverrides<'l> {
    layer: &'l LayerTree,
    kinds: HashMap<Vec<u8>, EntryKind>,
}

impl<'l> LayerOverrides<'l> {
    fn new(layer: &'l LayerTree) -> Self {
        let mut kinds = HashMap::new();
        for entry in &layer.entries {
            if matches!(entry.kind, EntryKind::Whiteout) {
                kinds.insert(layer.path(entry), entry.kind);
            }
        }
        // Inserted after the whiteouts: the replacement of a hidden entry wins, regardless of the
        // order in the layer.
        for entry in &layer.entries {
            if matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink(_)) {
                kinds.insert(layer.path(entry), entry.kind);
            }
        }
        Self { layer, kinds }
    }

    /// Resolves the directory of a whiteout in the layers below, or returns `None` if they do not
    /// contain it.
    ///
    /// If this layer replaces a symlink with a directory, the directory is new: a whiteout in it does
    /// not hide the target of the symlink.
    fn lower_directory(&self, tree: &Tree, directory: &[u8]) -> Option<u32> {
        let mut walk = Walk::new(directory);
        while let Some(name) = walk.next_name() {
            let lower = tree.child(walk.current(), &name);
            match (self.kinds.get(&walk.path_of(&name)), lower) {
                (Some(EntryKind::Symlink(target)), _) => {
                    if !walk.follow(self.layer.name(*target)) {
                        return None;
                    }
                }
                (Some(EntryKind::Whiteout), _) | (_, None) => return None,
                (replacement, Some(node)) => match &tree.inode(node).kind {
                    FileType::Directory => walk.enter(&name, node),
                    FileType::Symlink(target) if replacement.is_none() => {
                        if !walk.follow(target) {
                            return None;
                        }
                    }
                    _ => return None,
                },
            }
        }
        Some(walk.current())
    }
}

impl Tree {
    /// Adds an inode and a node for it, which has no parent yet.
    fn add_inode(&mut self, inode: Inode, layer: u32) -> u32 {
        self.inodes.push(inode);
        self.add_node(to_u32(self.inodes.len() - 1), layer)
    }

    fn add_node(&mut self, inode: u32, layer: u32) -> u32 {
        self.nodes.push(Node {
            inode,
            layer,
            is_explicit: false,
            children: BTreeMap::new(),
        });
        to_u32(self.nodes.len() - 1)
    }
}

fn to_u32(index: usize) -> u32 {
    u32::try_from(index)
        .expect("the budget of an image allows far fewer entries and layers than 2^32")
}
