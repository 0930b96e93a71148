//! The sets in git history as one HTML page: self-contained, without requests, readable without its script.
//!
//! The same history produces the same bytes: the page shows times between commits, independent of
//! the clock.
//!
//! The files with pins of a set on the page.

mod size;

use std::collections::{BTreeSet, HashMap, HashSet};

use minijinja::Error;
use serde::Serialize;
use size::{Reduced, Rendered};

use super::{
    changes::page::ChangesOfPage,
    deployed::{Badge, Deployed, rollback_at_top},
    layout::{SCRIPT, STYLE, Template, abbreviated, between, source_hash},
};
use crate::{
    base::{
        text::counted,
        untrusted::{short, to_minute},
    },
    config::Config,
    core::{
        changes::Changes,
        history::{Digests, HeldDigest, History, HistoryEntry, Kind},
    },
    git::ObjectId,
    oci::Revision,
};

const TEMPLATE: &str = include_str!("page.html.j2");
/// The number of held sets that are listed; the others are counted.
const MAX_HOLDS: usize = 5;
/// The maximum widths of texts that a person wrote: with 200 of them, the page stays small.
const SUBJECT_WIDTH: usize = 72;
const NAME_WIDTH: usize = 40;

/// The input of the page.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'f> {
    pub config: &'f Config,
    pub history: &'f History,
    /// The entries to list, newest first.
    pub listed: &'f [HistoryEntry],
    /// The number of entries without a limit.
    pub total: usize,
    /// The changes of each entry's commit.
    pub diffs: &'f HashMap<ObjectId, SetDiff>,
    /// The files with pins of each entry's set.
    pub files: &'f HashMap<ObjectId, Vec<FileOfSet>>,
    /// The changes of each entry since the one before it; `None` if they were not requested.
    pub changes: Option<&'f HashMap<ObjectId, Changes>>,
    /// The address of a pull request's page, up to its number.
    pub pull_requests: Option<&'f str>,
    /// The address of a commit's page, up to its id.
    pub commits: Option<&'f str>,
}

/// The changes of a commit in the files with pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SetDiff {
    /// A unified diff, with the number of files.
    Text(String, usize),
    /// The reason for a missing diff.
    Omitted(&'static str),
}

/// Renders the page.
pub(crate) fn html(facts: Facts<'_>) -> Result<String, Error> {
    let template = Template::new(TEMPLATE)?;
    let (mut page, sets) = Page::new(facts);
    let rest = template.render(&page)?.len();
    let rendered = Rendered::new(&sets, rest)?;
    page.reduced = rendered.reduced();
    page.sets = rendered.into_texts();
    template.render(&page)
}

/// The variables of the template.
#[derive(Serialize)]
struct Page {
    style: &'static str,
    style_hash: String,
    script: &'static str,
    script_hash: String,
    name: String,
    branch: String,
    tip: String,
    limited: bool,
    total: usize,
    listed: usize,
    now: Deployed,
    /// Whether the page shows changes, which are not recorded in git.
    has_changes: bool,
    holds: Vec<HeldItem>,
    more_holds: usize,
    reduced: Option<Reduced>,
    /// The sets as markup.
    sets: Vec<String>,
}

#[derive(Serialize)]
struct HeldItem {
    revision: Option<String>,
    by: EntryLink,
}

#[derive(Clone, Serialize)]
struct EntryLink {
    id: String,
    text: String,
    date: String,
    /// Whether the entry is on this page.
    is_listed: bool,
}

#[derive(Serialize)]
struct SetOfPage {
    id: String,
    kind: &'static str,
    revision: Option<String>,
    short_revision: String,
    commit: String,
    short_commit: String,
    commit_url: Option<String>,
    date: String,
    live: Option<String>,
    author: String,
    /// The subject, unless it repeats the revision.
    subject: Option<String>,
    pull_request: Option<u64>,
    pull_request_url: Option<String>,
    current: bool,
    badge: Option<Badge>,
    /// The command that rolls back to the set, if a rollback may return to it.
    rollback: Option<String>,
    undone_by: Option<EntryLink>,
    back_to: Option<EntryLink>,
    unreadable: Option<String>,
    images: Vec<ImageOfSet>,
    pinned_files: Option<FilesOfPage>,
    changes: Option<ChangesOfPage>,
    diff: Option<Vec<DiffRun>>,
    files: String,
    without_diff: Option<&'static str>,
}

#[derive(Serialize)]
struct ImageOfSet {
    name: String,
    repository: String,
    digest: Option<String>,
    was: Option<String>,
    /// The tags next to the digest.
    versions: Vec<String>,
}

/// Consecutive lines of a diff that are all removed, all added, or neither.
#[derive(Serialize)]
struct DiffRun {
    old: bool,
    new: bool,
    lines: Vec<String>,
}

/// The relations between entries.
struct Relations<'f> {
    facts: Facts<'f>,
    revisions: BTreeSet<&'f str>,
    listed: HashSet<ObjectId>,
    /// For each rolled back commit, the rollback.
    undone_by: HashMap<ObjectId, &'f HistoryEntry>,
    /// For each rollback, the restored entry.
    restored: HashMap<ObjectId, &'f HistoryEntry>,
    newer: HashMap<ObjectId, &'f HistoryEntry>,
    older: HashMap<ObjectId, &'f HistoryEntry>,
}

impl Page {
    /// The page without its sets, and the sets.
    fn new(facts: Facts<'_>) -> (Self, Vec<SetOfPage>) {
        let (history, config) = (facts.history, facts.config);
        let holds = history.held_sets();
        let relations = Relations::new(facts);
        let current = history.current();
        let held = holds.iter().take(MAX_HOLDS).map(|hold| HeldItem {
            revision: hold.revision.map(ToString::to_string),
            by: relations.hold(&hold.hold),
        });
        // A limit and unreadable commits may leave out the current set.
        let unlisted = current.filter(|entry| {
            !facts
                .listed
                .iter()
                .any(|other| other.commit == entry.commit)
        });
        let sets = facts.listed.iter().chain(unlisted);
        let sets: Vec<SetOfPage> = sets.map(|entry| relations.set(entry)).collect();
        let images = sets.iter().filter(|set| set.current);
        let versions = images
            .flat_map(|set| &set.images)
            .flat_map(|image| &image.versions);
        let versions: BTreeSet<String> = versions.cloned().collect();
        let page = Self {
            style: STYLE,
            style_hash: source_hash(STYLE),
            script: SCRIPT,
            script_hash: source_hash(SCRIPT),
            name: config.name.clone(),
            branch: history.branch.name.clone(),
            tip: history.branch.tip.to_string(),
            limited: facts.listed.len() < facts.total,
            total: facts.total,
            listed: facts.listed.len(),
            now: Deployed::new(config, history, versions.into_iter().collect()),
            has_changes: facts.changes.is_some(),
            holds: held.collect(),
            more_holds: holds.len().saturating_sub(MAX_HOLDS),
            reduced: None,
            sets: Vec::new(),
        };
        (page, sets)
    }
}

impl<'f> Relations<'f> {
    fn new(facts: Facts<'f>) -> Self {
        let entries = facts.history.entries();
        let revisions = entries.iter().filter_map(|entry| entry.revision.as_ref());
        let mut relations = Self {
            facts,
            revisions: revisions.map(Revision::as_str).collect(),
            listed: facts
                .listed
                .iter()
                .chain(entries.iter().filter(|entry| entry.current))
                .map(|entry| entry.commit)
                .collect(),
            undone_by: HashMap::new(),
            restored: HashMap::new(),
            newer: HashMap::new(),
            older: HashMap::new(),
        };
        for pair in entries.windows(2) {
            relations.newer.insert(pair[1].commit, &pair[0]);
            relations.older.insert(pair[0].commit, &pair[1]);
        }
        relations.add_rollbacks(entries);
        relations
    }

    /// Records the sets that each rollback undid, and the set that it restored.
    fn add_rollbacks(&mut self, entries: &'f [HistoryEntry]) {
        // The index of the latest entry with these digests; entries are visited oldest first.
        let mut latest: HashMap<&Digests, usize> = HashMap::new();
        for (index, entry) in entries.iter().enumerate().rev() {
            let restored = latest.insert(&entry.images, index);
            if let (Kind::Rollback, Some(restored)) = (entry.kind, restored) {
                self.restored.insert(entry.commit, &entries[restored]);
                for undone in &entries[index + 1..restored] {
                    self.undone_by.entry(undone.commit).or_insert(entry);
                }
            }
        }
    }

    fn link(&self, entry: &HistoryEntry) -> EntryLink {
        EntryLink {
            id: id(&entry.commit),
            text: entry.commit.short(),
            date: to_minute(&entry.date),
            is_listed: self.listed.contains(&entry.commit),
        }
    }

    /// The commit that undid a held digest.
    fn hold(&self, hold: &HeldDigest) -> EntryLink {
        EntryLink {
            id: id(&hold.commit),
            text: hold.commit.short(),
            date: to_minute(&hold.date),
            is_listed: self.listed.contains(&hold.commit),
        }
    }

    fn set(&self, entry: &HistoryEntry) -> SetOfPage {
        let (commit, history) = (entry.commit, self.facts.history);
        let revision = entry.revision.as_ref().map(Revision::as_str);
        let (mut diff, mut files, mut without_diff) = (None, String::new(), None);
        match self.facts.diffs.get(&commit) {
            Some(SetDiff::Text(text, count)) => {
                diff = Some(DiffRun::all(text));
                files = counted(*count, "file");
            }
            Some(SetDiff::Omitted(reason)) => without_diff = Some(*reason),
            None => {}
        }
        let short_revision = revision.map_or_else(String::new, |revision| {
            abbreviated(revision, &self.revisions)
        });
        let link = |entry: &&HistoryEntry| self.link(entry);
        let address = self.facts.pull_requests.zip(entry.pull_request);
        SetOfPage {
            id: id(&entry.commit),
            kind: entry.kind_name(),
            revision: revision.map(ToOwned::to_owned),
            subject: subject(entry),
            short_revision,
            commit: commit.to_string(),
            short_commit: commit.short(),
            date: to_minute(&entry.date),
            commit_url: self
                .facts
                .commits
                .map(|address| format!("{address}{commit}")),
            live: self
                .newer
                .get(&commit)
                .and_then(|newer| between(&entry.date, &newer.date)),
            author: short(&entry.author, NAME_WIDTH),
            pull_request: entry.pull_request,
            pull_request_url: address.map(|(address, number)| format!("{address}{number}")),
            current: entry.current,
            badge: Badge::new(history.state(entry)),
            rollback: (entry.revision.as_ref())
                .filter(|_| entry.can_roll_back)
                .map(|revision| rollback_at_top(revision, self.facts.config, history)),
            undone_by: self.undone_by.get(&commit).map(link),
            back_to: self.restored.get(&commit).map(link),
            unreadable: entry.unreadable.clone(),
            images: self.images(entry),
            pinned_files: FilesOfPage::new(self.files(entry), self.facts.config),
            changes: self
                .facts
                .changes
                .and_then(|changes| changes.get(&commit))
                .map(ChangesOfPage::new),
            diff,
            files,
            without_diff,
        }
    }

    /// The files with pins of a set; empty if the set is unknown.
    fn files(&self, entry: &HistoryEntry) -> &'f [FileOfSet] {
        if entry.unreadable.is_some() {
            return &[];
        }
        let files = self.facts.files.get(&entry.commit);
        files.map_or(&[], Vec::as_slice)
    }

    fn images(&self, entry: &HistoryEntry) -> Vec<ImageOfSet> {
        if entry.unreadable.is_some() {
            return Vec::new();
        }
        let older = self.older.get(&entry.commit).map(|older| &older.images);
        let mut images = Vec::new();
        let revision = entry.revision.as_ref().map(Revision::as_str);
        for (index, image) in self.facts.config.images.iter().enumerate() {
            if image.pins == 0 {
                continue;
            }
            let digest = entry.images.get(&image.name);
            let was = older
                .and_then(|older| older.get(&image.name))
                .filter(|was| Some(*was) != digest);
            images.push(ImageOfSet {
                name: image.name.clone(),
                repository: entry
                    .former_repositories
                    .get(&image.name)
                    .cloned()
                    .unwrap_or_else(|| image.repository.to_string()),
                digest: digest.map(ToString::to_string),
                was: was.map(ToString::to_string),
                versions: versions(self.files(entry), index, revision),
            });
        }
        images
    }
}

impl DiffRun {
    fn all(diff: &str) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for line in diff.lines() {
            let old = line.starts_with('-') && !line.starts_with("--- ");
            let new = line.starts_with('+') && !line.starts_with("+++ ");
            let text = line.replace('\t', "    ");
            match runs.last_mut() {
                Some(run) if (run.old, run.new) == (old, new) => run.lines.push(text),
                _ => runs.push(Self {
                    old,
                    new,
                    lines: vec![text],
                }),
            }
        }
        runs
    }
}

/// The subject of an entry, unless it says no more than the rest of the entry.
fn subject(entry: &HistoryEntry) -> Option<String> {
    let revision = entry.revision.as_ref().map(Revision::as_str);
    let repeats = revision.is_some_and(|revision| entry.subject.contains(revision));
    (!repeats && !entry.subject.is_empty()).then(|| short(&entry.subject, SUBJECT_WIDTH))
}

fn id(commit: &ObjectId) -> String {
    format!("set-{}", commit.short())
}

/// The maximum number of files that the page lists for a set; the others are counted.
const MAX_FILES: usize = 20;

/// A file with pins, in the commit that made a set current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileOfSet {
    pub path: String,
    pub pins: Vec<PinsOfFile>,
}

/// The pins of one image in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PinsOfFile {
    /// The index in the current configuration.
    pub image: usize,
    /// The number of pins; `None` in a file of a place, or in one that was not read.
    pub count: Option<usize>,
    /// The tags next to the digests.
    pub tags: BTreeSet<String>,
}

/// The variables of the template.
#[derive(Serialize)]
struct FilesOfPage {
    summary: String,
    files: Vec<FileOfPage>,
    more: usize,
}

#[derive(Serialize)]
struct FileOfPage {
    path: String,
    pins: String,
}

impl FilesOfPage {
    /// `None` if no file of the set is known.
    fn new(files: &[FileOfSet], config: &Config) -> Option<Self> {
        if files.is_empty() {
            return None;
        }
        let counts = files.iter().flat_map(|file| &file.pins);
        let total: Option<usize> = counts.map(|pins| pins.count).sum();
        let places = counted(files.len(), "file");
        Some(Self {
            summary: match total {
                Some(total) => format!("{} in {places}", counted(total, "pin")),
                None => format!("Pins in {places}"),
            },
            more: files.len().saturating_sub(MAX_FILES),
            files: files
                .iter()
                .take(MAX_FILES)
                .map(|file| FileOfPage::new(file, config))
                .collect(),
        })
    }
}

impl FileOfPage {
    fn new(file: &FileOfSet, config: &Config) -> Self {
        let pins = file.pins.iter().map(|pins| {
            let name = &config.images[pins.image].name;
            match pins.count {
                Some(count) if count > 1 => format!("{name} × {count}"),
                _ => name.clone(),
            }
        });
        Self {
            path: file.path.clone(),
            pins: pins.collect::<Vec<_>>().join(", "),
        }
    }
}

/// The tags that state the version of an image, without those that contain the revision of the set.
fn versions(files: &[FileOfSet], image: usize, revision: Option<&str>) -> Vec<String> {
    let pins = files.iter().flat_map(|file| &file.pins);
    let tags: BTreeSet<&str> = pins
        .filter(|pins| pins.image == image)
        .flat_map(|pins| &pins.tags)
        .map(String::as_str)
        .filter(|tag| revision.is_none_or(|revision| !tag.contains(revision)))
        .collect();
    // Tags of other revisions are as long as revisions.
    let shown = tags.iter().map(|tag| abbreviated(tag, &tags));
    shown.collect()
}
