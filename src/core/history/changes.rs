//! The files with pins of each commit, and those that the commit changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    History,
    blobs::Blob,
    walk::{Content, FilePath},
};
use crate::git::ObjectId;

/// A file with pins, before and after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangedFile {
    /// The path under the root.
    pub path: Arc<[u8]>,
    /// The old content; `None` if the file is new.
    pub old: Option<ObjectId>,
    /// The new content; `None` if the file was deleted.
    pub new: Option<ObjectId>,
}

/// A file with pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PinnedFile {
    /// The path under the root.
    pub path: Arc<[u8]>,
    pub blob: ObjectId,
    /// The pinned images, as indices in the current configuration.
    pub images: BTreeSet<usize>,
}

impl History {
    /// The files with pins in each of these commits of the line, ordered by path as in git. A commit with
    /// unknown content has the files of the commit before it.
    pub(crate) fn pinned_files(
        &self,
        commits: &HashSet<ObjectId>,
    ) -> HashMap<ObjectId, Vec<PinnedFile>> {
        let mut files: BTreeMap<FilePath, Blob> = BTreeMap::new();
        let mut by_commit = HashMap::new();
        for commit in self.facts.line() {
            match &commit.content {
                Content::Unknown(..) => {}
                Content::Changed(changes) => {
                    for (path, blob) in changes {
                        match blob {
                            Some(blob) => files.insert(Arc::clone(path), *blob),
                            None => files.remove(path),
                        };
                    }
                }
                Content::All(_, all, _) => files = all.iter().cloned().collect(),
            }
            if !commits.contains(&commit.id) {
                continue;
            }
            let mut found = Vec::new();
            for (path, blob) in &files {
                if let Some(read) = self.facts.blobs.pins.get(blob) {
                    found.push(PinnedFile {
                        path: Arc::clone(path),
                        blob: blob.id,
                        images: (read.pins.iter())
                            .flat_map(|(repository, _)| self.facts.slots.images_of(*repository))
                            .collect(),
                    });
                }
            }
            by_commit.insert(commit.id, found);
        }
        by_commit
    }

    /// For each commit of the line, the changed files with pins before or after it, ordered by path as
    /// in git. A file that only a change of the configuration added is omitted: its old content is unknown.
    pub(crate) fn changed_files(&self) -> HashMap<ObjectId, Vec<ChangedFile>> {
        let blobs = self.facts.blobs.pins.keys();
        let with_pins: HashSet<ObjectId> = blobs.map(|blob| blob.id).collect();
        let is_pinned = |id: &Option<ObjectId>| id.is_some_and(|id| with_pins.contains(&id));
        let mut files: BTreeMap<FilePath, ObjectId> = BTreeMap::new();
        let mut by_commit = HashMap::new();
        for commit in self.facts.line() {
            let mut changes = apply(&mut files, &commit.content);
            changes.retain(|file| is_pinned(&file.old) || is_pinned(&file.new));
            by_commit.insert(commit.id, changes);
        }
        by_commit
    }
}

/// Applies a commit to the files, and returns its changes.
fn apply(files: &mut BTreeMap<FilePath, ObjectId>, content: &Content) -> Vec<ChangedFile> {
    let mut found = Vec::new();
    match content {
        Content::Unknown(..) => {}
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
        Content::All(_, all, _) => {
            let old_files = std::mem::take(files);
            for (path, blob) in all {
                files.insert(Arc::clone(path), blob.id);
            }
            for (path, id) in files.iter() {
                let old = old_files.get(path).copied();
                if old.is_some() || old_files.is_empty() {
                    found.push(ChangedFile {
                        path: Arc::clone(path),
                        old,
                        new: Some(*id),
                    });
                }
            }
        }
    }
    found.retain(|file| file.old != file.new);
    found
}
