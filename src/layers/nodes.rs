//! The merged tree: names, the inodes behind them, and how paths are followed through symlinks,
//! inside the root.

use std::collections::BTreeMap;

use super::path;

/// How many symlinks a path may lead through.
const LINKS_MAX: usize = 255;

/// All files of an image.
#[derive(Debug)]
pub struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) inodes: Vec<Inode>,
    /// Entries that were there twice in one layer; the last one counts.
    pub duplicates: Vec<Duplicate>,
}

/// An entry that is in one layer twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Which layer, counted from 1, the lowest first.
    pub layer: usize,
    /// The path of the later one.
    pub path: Vec<u8>,
}

/// An inode, which several names can share.
#[derive(Debug, Clone)]
pub struct Inode {
    /// What it is.
    pub kind: FileType,
    /// The twelve permission bits.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The layer that it comes from, counted from 1.
    pub layer: u32,
}

/// Kinds of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileType {
    /// A regular file, with its content if that was kept.
    File(Option<Box<[u8]>>),
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A device or a named pipe.
    Other,
}

/// One name in a directory.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) inode: u32,
    /// The layer that put it there last, counted from 1.
    pub(super) layer: u32,
    /// It has an entry of its own in that layer, not only entries below it.
    pub(super) explicit: bool,
    pub(super) children: BTreeMap<Box<[u8]>, u32>,
}

pub(super) const ROOT: u32 = 0;

/// The entry at a path.
#[derive(Debug)]
pub struct PathEntry<'t> {
    /// What it is.
    pub inode: &'t Inode,
    /// Where it really is: relative to the root, no symlinks on the way.
    pub path: Vec<u8>,
    /// The directories that the path leads through, those behind symlinks too: the kernel searches
    /// each.
    pub searched: Vec<(Vec<u8>, &'t Inode)>,
    /// The layer that put it there last, counted from 1 (a hard link's inode may be an older one).
    pub layer: usize,
    node: u32,
}

/// One thing below a directory.
#[derive(Debug)]
pub struct Item<'t> {
    /// Its path relative to the directory that was listed; empty for that directory itself.
    pub path: Vec<u8>,
    /// What it is.
    pub inode: &'t Inode,
}

/// A path on its way through the tree.
pub(super) struct Walk {
    /// The directories from the root to the current one, each with the length of its own path.
    stack: Vec<(u32, usize)>,
    pub(super) path: Vec<u8>,
    /// The names that are still ahead, the next one last.
    ahead: Vec<Box<[u8]>>,
    links: usize,
}

/// What the next name on the way leads to.
pub(super) enum Step {
    /// The walk is at the end of the path.
    There,
    /// Entered a directory, or turned where a symlink points.
    On,
    /// The name is missing from the current directory.
    Missing(Box<[u8]>),
    /// A non-directory is in the way or at the end: its node.
    NoDirectory(Box<[u8]>, u32),
    /// Too many symlinks.
    Loop,
}

impl Walk {
    pub(super) fn new(path: &[u8]) -> Self {
        let mut walk = Self {
            stack: vec![(ROOT, 0)],
            path: Vec::new(),
            ahead: Vec::new(),
            links: 0,
        };
        walk.push(path);
        walk
    }

    /// The current directory.
    pub(super) fn here(&self) -> u32 {
        self.stack.last().map_or(ROOT, |(node, _)| *node)
    }

    /// The path of `name` in the current directory.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        path::join(&self.path, name)
    }

    pub(super) fn at_the_end(&self) -> bool {
        self.ahead.is_empty()
    }

    pub(super) fn enter(&mut self, name: &[u8], node: u32) {
        self.stack.push((node, self.path.len()));
        self.path = self.path_of(name);
    }

    /// Turns where a symlink in the current directory points; whether there were not too many.
    pub(super) fn follow(&mut self, target: &[u8]) -> bool {
        self.links += 1;
        if target.starts_with(b"/") {
            self.stack.truncate(1);
            self.path.clear();
        }
        self.push(target);
        self.links <= LINKS_MAX
    }

    fn push(&mut self, path: &[u8]) {
        let names = path
            .split(|byte| *byte == b'/')
            .filter(|name| !matches!(*name, b"" | b"."));
        self.ahead.extend(names.rev().map(Box::from));
    }

    /// The next name that must be looked up; `..` is gone by then, and stays inside the root.
    pub(super) fn next_name(&mut self) -> Option<Box<[u8]>> {
        loop {
            let name = self.ahead.pop()?;
            if *name != *b".." {
                return Some(name);
            }
            if self.stack.len() > 1
                && let Some((_, length)) = self.stack.pop()
            {
                self.path.truncate(length);
            }
        }
    }

    /// Goes one name further; a symlink at the very end is followed only if `last` says so.
    pub(super) fn step(&mut self, tree: &Tree, last: LastLink) -> Step {
        let Some(name) = self.next_name() else {
            return Step::There;
        };
        let Some(child) = tree.child(self.here(), &name) else {
            return Step::Missing(name);
        };
        match &tree.inode(child).kind {
            FileType::Directory => {
                self.enter(&name, child);
                Step::On
            }
            FileType::Symlink(target) if last == LastLink::Follow || !self.at_the_end() => {
                if self.follow(target) {
                    Step::On
                } else {
                    Step::Loop
                }
            }
            _ => Step::NoDirectory(name, child),
        }
    }
}

/// What to do with a symlink at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLink {
    Follow,
    Keep,
}

impl Tree {
    /// Resolves `path`, following symlinks even at its end; `None` if it is missing or a dangling
    /// link.
    pub fn find(&self, path: &[u8]) -> Option<PathEntry<'_>> {
        let mut walk = Walk::new(path);
        let mut searched = Vec::new();
        loop {
            if !walk.at_the_end() {
                searched.push((walk.path.clone(), self.inode(walk.here())));
            }
            match walk.step(self, LastLink::Follow) {
                Step::On => {}
                Step::There => {
                    let node = walk.here();
                    return Some(self.found(node, walk.path, searched));
                }
                Step::NoDirectory(name, node) if walk.at_the_end() => {
                    return Some(self.found(node, walk.path_of(&name), searched));
                }
                Step::Missing(_) | Step::NoDirectory(..) | Step::Loop => return None,
            }
        }
    }

    fn found<'t>(
        &'t self,
        node: u32,
        path: Vec<u8>,
        searched: Vec<(Vec<u8>, &'t Inode)>,
    ) -> PathEntry<'t> {
        let layer = self.nodes[node as usize].layer as usize;
        PathEntry {
            inode: self.inode(node),
            path,
            searched,
            layer,
            node,
        }
    }

    /// Everything at and below what was found, each directory before what it holds, names in the
    /// order of their bytes. Symlinks are not followed. `enter` decides about each directory.
    pub fn below<'t>(
        &'t self,
        found: &PathEntry<'t>,
        mut enter: impl FnMut(&Item<'t>) -> bool,
    ) -> Vec<Item<'t>> {
        let mut items = Vec::new();
        let mut ahead = vec![(found.node, Vec::new())];
        while let Some((node, path)) = ahead.pop() {
            let item = Item {
                path,
                inode: self.inode(node),
            };
            if item.inode.kind == FileType::Directory && enter(&item) {
                let children = self.nodes[node as usize].children.iter().rev();
                ahead.extend(children.map(|(name, child)| (*child, path::join(&item.path, name))));
            }
            items.push(item);
        }
        items
    }

    pub(super) fn inode(&self, node: u32) -> &Inode {
        &self.inodes[self.nodes[node as usize].inode as usize]
    }

    pub(super) fn child(&self, directory: u32, name: &[u8]) -> Option<u32> {
        self.nodes[directory as usize].children.get(name).copied()
    }

    pub(super) fn is_directory(&self, node: u32) -> bool {
        self.inode(node).kind == FileType::Directory
    }
}
