//! The files with pins of each commit, and those that the commit changed.
//!
//! Commits with unknown content, which may hide a rollback until a later set is current.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    History, HistoryEntry, LineFacts,
    blobs::Blob,
    events::Event,
    read_paths::FilePath,
    walk::{Content, UnknownContent},
};
use crate::{git::ObjectId, oci::Revision};

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

/// The first of consecutive commits with unknown content, for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub commit: ObjectId,
    /// The committer date (ISO 8601).
    pub date: String,
    /// The path under the root of the configuration or of a file with a refused entry.
    pub file: String,
    pub problem: String,
    /// The index of the commit in the line.
    pub(super) index: usize,
}

impl Unreadable {
    /// A commit with a configuration that is not UTF-8.
    #[cfg(test)]
    pub(crate) fn example(commit: ObjectId) -> Self {
        Self {
            commit,
            date: String::new(),
            file: "repin.yaml".to_owned(),
            problem: "it is not UTF-8".to_owned(),
            index: 0,
        }
    }

    /// The problem, with its file.
    pub(crate) fn reason(&self) -> String {
        // A problem with a location already contains the file.
        let location = self.problem.strip_prefix(&self.file);
        if location.is_some_and(|rest| rest.starts_with(':')) {
            self.problem.clone()
        } else {
            format!("{}: {}", self.file, self.problem)
        }
    }
}

impl History {
    /// The latest commit with unknown content, unless a later set is current. It may have rolled a set
    /// back.
    pub(crate) fn blind_spot(&self) -> Option<&Unreadable> {
        let last = self.unreadable.last()?;
        (!self.is_replaced_since(last.index)).then_some(last)
    }

    /// The latest commit with unknown content that may have rolled back the set of an entry.
    pub(crate) fn blind_spot_since(&self, entry: &HistoryEntry) -> Option<&Unreadable> {
        let unreadable = self.blind_spot()?;
        let is_later = self.position_of(entry) < Some(unreadable.index);
        is_later.then_some(unreadable)
    }

    /// The position in the line of the commit of an entry.
    pub(super) fn position_of(&self, entry: &HistoryEntry) -> Option<usize> {
        let mut events = self.line_events();
        let event = events.find(|event| self.facts.commits[event.commit].id == entry.commit)?;
        Some(event.position)
    }

    /// The commit with unknown content that may have rolled back the set of `revision`: the blind spot,
    /// or a commit that claims to promote this revision.
    pub(crate) fn blind_spot_of(&self, revision: &Revision) -> Option<&Unreadable> {
        self.blind_spot()
            .or_else(|| self.unreadable_promotion(revision))
    }

    /// Whether another set became current after the commit at `index`, which has unknown content. The
    /// set of the next readable commit counts only if it is a newer set: otherwise an unreadable commit
    /// may have made it current.
    fn is_replaced_since(&self, index: usize) -> bool {
        if self.has_newer_set_since(index) {
            return true;
        }
        self.events_since(index).any(|event| {
            let set = &self.facts.sets[event.set];
            let is_previous_known = self.facts.line_point(event.position - 1).set.is_some();
            is_previous_known && !set.is_empty() && !set.is_mixed()
        })
    }

    /// The events of the line after the commit at `index`, newest first.
    fn events_since(&self, index: usize) -> impl Iterator<Item = &Event> {
        let later = self.line_events().rev();
        later.take_while(move |event| event.position > index)
    }

    fn has_newer_set_since(&self, index: usize) -> bool {
        self.events.last_newer.is_some_and(|newer| newer > index)
    }

    /// The commit with unknown content that claims to promote `revision`, unless a newer set or this
    /// revision became current later.
    fn unreadable_promotion(&self, revision: &Revision) -> Option<&Unreadable> {
        let mut claiming = self.claimed.get(revision)?.iter().rev().copied();
        let index = claiming.find(|index| self.facts.line_point(*index).set.is_none())?;
        let mut later = self.events_since(index);
        let is_promoted_later = later.any(|event| event.revision.as_ref() == Some(revision));
        if is_promoted_later || self.has_newer_set_since(index) {
            return None;
        }
        let mut unreadable = self.unreadable.iter().rev();
        unreadable.find(|unreadable| unreadable.index <= index)
    }
}

/// The first of each group of consecutive commits with unknown content. `file` is the configuration.
pub(super) fn unreadable_commits(facts: &LineFacts, file: &str) -> Vec<Unreadable> {
    let mut found: Vec<Unreadable> = Vec::new();
    let mut previous: Option<&UnknownContent> = None;
    for (index, commit) in facts.line().enumerate().skip(facts.start) {
        let unknown = match &commit.content {
            Content::Unknown(unknown, _) => Some(&**unknown),
            Content::Changed(_) | Content::All(..) => None,
        };
        if let Some(unknown) = unknown
            && previous != Some(unknown)
        {
            found.push(Unreadable {
                commit: commit.id,
                date: commit.info.date(),
                file: unknown.file.clone().unwrap_or_else(|| file.to_owned()),
                problem: unknown.reason.to_string(),
                index,
            });
        }
        previous = unknown;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_contains_the_file_once() {
        let reason = |problem: &str| {
            let commit = ObjectId::parse("a".repeat(40).as_bytes()).unwrap();
            let problem = problem.to_owned();
            let example = Unreadable::example(commit);
            Unreadable { problem, ..example }.reason()
        };
        assert_eq!(reason("it is not UTF-8"), "repin.yaml: it is not UTF-8");
        assert_eq!(reason("repin.yaml:3:1: no"), "repin.yaml:3:1: no");
        assert_eq!(reason("repin.yaml is odd"), "repin.yaml: repin.yaml is odd");
    }
}
