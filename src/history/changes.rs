//! The files with pins that each entry's commit changed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    History,
    walk::{Content, FilePath},
};
use crate::git::ObjectId;

/// A file with pins, before and after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// The path beneath the root.
    pub path: Arc<[u8]>,
    /// Its content before; `None` if it was not there.
    pub old: Option<ObjectId>,
    /// Its content after; `None` if it is no longer there.
    pub new: Option<ObjectId>,
}

impl History {
    /// For each entry's commit, the files that hold pins before or after it, and that it changed; in
    /// git's order, that of the bytes of their paths. A file that only a change of the configuration
    /// brought in is left
    /// out: whether the commit changed it is unknown.
    pub fn changed_files(&self) -> HashMap<ObjectId, Vec<ChangedFile>> {
        let blobs = self.known.contents.pins.keys();
        let with_pins: HashSet<ObjectId> = blobs.map(|blob| blob.id).collect();
        let mut files: BTreeMap<FilePath, ObjectId> = BTreeMap::new();
        let mut changed = HashMap::new();
        let mut events = self.events.all.iter().map(|event| event.at).peekable();
        for (at, commit) in self.known.commits.iter().enumerate() {
            let found = follow(&mut files, &commit.content);
            if events.next_if_eq(&at).is_some() {
                let pinned = |id: &Option<ObjectId>| id.is_some_and(|id| with_pins.contains(&id));
                let found = found.into_iter();
                let found = found.filter(|file| pinned(&file.old) || pinned(&file.new));
                changed.insert(commit.id, found.collect());
            }
        }
        changed
    }
}

/// Goes on to the next commit, and returns what it changed.
fn follow(files: &mut BTreeMap<FilePath, ObjectId>, content: &Content) -> Vec<ChangedFile> {
    let mut found = Vec::new();
    match content {
        Content::Unreadable(..) => {}
        Content::Changed(changes) => {
            for (path, blob) in changes {
                let new = blob.map(|blob| blob.id);
                let old = match new {
                    Some(id) => files.insert(Arc::clone(path), id),
                    None => files.remove(path),
                };
                found.push(ChangedFile {
                    path: Arc::clone(path),
                    old,
                    new,
                });
            }
        }
        Content::All(_, all) => {
            let first = files.is_empty();
            let old = std::mem::take(files);
            *files = all
                .iter()
                .map(|(path, blob)| (Arc::clone(path), blob.id))
                .collect();
            for (path, id) in files.iter() {
                let before = old.get(path).copied();
                if before.is_some() || first {
                    found.push(ChangedFile {
                        path: Arc::clone(path),
                        old: before,
                        new: Some(*id),
                    });
                }
            }
        }
    }
    found.retain(|file| file.old != file.new);
    found
}
