//! The merged tree: directory entries, inodes, and the resolution of paths through symlinks inside
//! the root.

use std::{collections::BTreeMap, sync::Arc};

use super::limits;

/// The maximum number of symlinks in the resolution of a path.
const MAX_SYMLINKS: usize = 255;

/// All files of an image.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) inodes: Vec<Inode>,
    /// Entries that one layer contains twice; the last one wins.
    pub duplicates: Vec<Duplicate>,
}

/// An entry that one layer contains twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duplicate {
    /// The number of the layer, counted from 1 for the lowest.
    pub layer: usize,
    /// The path of the later entry.
    pub path: Vec<u8>,
}

/// An inode, which is shared by its hard links.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub kind: FileType,
    /// The twelve permission bits.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The number of the layer that defines the inode, counted from 1.
    pub layer: u32,
    /// The value of the extended attribute `security.capability` of a file, cut after 32 bytes.
    pub capability: Option<Box<[u8]>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileType {
    /// A regular file, with its content if a filter selected it.
    File(Option<Arc<[u8]>>),
    Directory,
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A device or a named pipe.
    Other,
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) inode: u32,
    /// The last layer that has an entry for the name.
    pub(super) layer: u32,
    /// Whether that layer has an entry for this path, not only for paths below it.
    pub(super) is_explicit: bool,
    pub(super) children: BTreeMap<Box<[u8]>, u32>,
}

pub(super) const ROOT: u32 = 0;

/// A path after the resolution of its symlinks.
#[derive(Debug)]
pub(crate) struct ResolvedPath<'t> {
    /// The inode at the path.
    pub inode: &'t Inode,
    /// The path without symlinks, relative to the root.
    pub path: Vec<u8>,
    /// The directories that the kernel searches to resolve the path, including those of symlink
    /// targets.
    pub searched: Vec<(Vec<u8>, &'t Inode)>,
    /// The number of the last layer with an entry for the path, counted from 1. The inode of a hard
    /// link may be older.
    pub layer: usize,
    node: u32,
}

/// An entry of a listing.
#[derive(Debug)]
pub(crate) struct TreeEntry<'t> {
    /// The path relative to the listed directory; empty for the directory itself.
    pub path: Vec<u8>,
    /// The inode at the path.
    pub inode: &'t Inode,
}

/// The resolution of a path, one name at a time.
pub(super) struct Walk {
    /// The directories from the root to the current one, each with the length of its parent's path.
    stack: Vec<(u32, usize)>,
    /// The path of the current directory.
    pub(super) path: Vec<u8>,
    /// The remaining components, the next one last.
    remaining: Vec<Box<[u8]>>,
    followed_links: usize,
}

/// The result of resolving the next name.
pub(super) enum Step {
    /// The path is complete: the walk stops in the current directory.
    End,
    /// Entered a directory or followed a symlink.
    Advanced,
    /// The current directory does not contain the name.
    Missing(Box<[u8]>),
    /// The name is not a directory: its node.
    NotADirectory(Box<[u8]>, u32),
    TooManySymlinks,
}

impl Walk {
    pub(super) fn new(path: &[u8]) -> Self {
        let mut walk = Self {
            stack: vec![(ROOT, 0)],
            path: Vec::new(),
            remaining: Vec::new(),
            followed_links: 0,
        };
        walk.push(path);
        walk
    }

    /// The current directory.
    pub(super) fn current(&self) -> u32 {
        self.stack.last().map_or(ROOT, |(node, _)| *node)
    }

    /// The path of `name` in the current directory.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        limits::join(&self.path, name)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.remaining.is_empty()
    }

    pub(super) fn enter(&mut self, name: &[u8], node: u32) {
        self.stack.push((node, self.path.len()));
        self.path = self.path_of(name);
    }

    /// Continues with the target of a symlink in the current directory. Returns `false` after too many
    /// symlinks.
    pub(super) fn follow(&mut self, target: &[u8]) -> bool {
        self.followed_links += 1;
        if target.starts_with(b"/") {
            self.stack.truncate(1);
            self.path.clear();
        }
        self.push(target);
        self.followed_links <= MAX_SYMLINKS
    }

    fn push(&mut self, path: &[u8]) {
        let names = path
            .split(|byte| *byte == b'/')
            .filter(|name| !matches!(*name, b"" | b"."));
        self.remaining.extend(names.rev().map(Box::from));
    }

    /// Removes and returns the next component to look up. Resolves `..`, but never above the root.
    pub(super) fn next_name(&mut self) -> Option<Box<[u8]>> {
        loop {
            let name = self.remaining.pop()?;
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

    /// Resolves the next name. `final_symlink` decides about a symlink at the end of the path.
    pub(super) fn step(&mut self, tree: &Tree, final_symlink: FinalSymlink) -> Step {
        let Some(name) = self.next_name() else {
            return Step::End;
        };
        let Some(child) = tree.child(self.current(), &name) else {
            return Step::Missing(name);
        };
        match &tree.inode(child).kind {
            FileType::Directory => {
                self.enter(&name, child);
                Step::Advanced
            }
            FileType::Symlink(target)
                if final_symlink == FinalSymlink::Follow || !self.is_at_end() =>
            {
                if self.follow(target) {
                    Step::Advanced
                } else {
                    Step::TooManySymlinks
                }
            }
            _ => Step::NotADirectory(name, child),
        }
    }
}

/// The treatment of a symlink at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FinalSymlink {
    Follow,
    DoNotFollow,
}

impl Tree {
    /// Resolves `path`, and follows a symlink at its end. Returns `None` if the path is missing or a
    /// dangling symlink.
    pub(crate) fn find(&self, path: &[u8]) -> Option<ResolvedPath<'_>> {
        let mut walk = Walk::new(path);
        let mut searched = Vec::new();
        let (node, path) = loop {
            if !walk.is_at_end() {
                searched.push((walk.path.clone(), self.inode(walk.current())));
            }
            match walk.step(self, FinalSymlink::Follow) {
                Step::Advanced => {}
                Step::End => break (walk.current(), walk.path),
                Step::NotADirectory(name, node) if walk.is_at_end() => {
                    break (node, walk.path_of(&name));
                }
                Step::Missing(_) | Step::NotADirectory(..) | Step::TooManySymlinks => return None,
            }
        };
        Some(ResolvedPath {
            inode: self.inode(node),
            path,
            searched,
            layer: self.nodes[node as usize].layer as usize,
            node,
        })
    }

    /// Lists `start` and all paths below it, each directory before its entries, in byte order.
    /// Symlinks are not followed. `enter` decides about each directory.
    pub(crate) fn list<'t>(
        &'t self,
        start: &ResolvedPath<'t>,
        mut enter: impl FnMut(&TreeEntry<'t>) -> bool,
    ) -> Vec<TreeEntry<'t>> {
        let mut entries = Vec::new();
        let mut pending = vec![(start.node, Vec::new())];
        while let Some((node, path)) = pending.pop() {
            let entry = TreeEntry {
                path,
                inode: self.inode(node),
            };
            if entry.inode.kind == FileType::Directory && enter(&entry) {
                for (name, child) in self.nodes[node as usize].children.iter().rev() {
                    pending.push((*child, limits::join(&entry.path, name)));
                }
            }
            entries.push(entry);
        }
        entries
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
