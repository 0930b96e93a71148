//! What the template of the page shows.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::{Facts, SCRIPT, STYLE, SetDiff, source_hash};
use crate::{
    config::number,
    git::ObjectId,
    history::{Digests, HeldSet, History, HistoryEntry, Kind},
    oci::Revision,
    report::{
        dates::{between, shown},
        revision::abbreviated,
    },
};

/// The page.
#[derive(Serialize)]
pub(super) struct Page {
    style: &'static str,
    style_hash: String,
    script: &'static str,
    script_hash: String,
    name: String,
    branch: String,
    tip: String,
    limited: bool,
    total: usize,
    warnings: Vec<String>,
    current: Option<SetOfPage>,
    images: Vec<CurrentImage>,
    holds: Vec<HeldItem>,
    sets: Vec<SetOfPage>,
}

/// An image of the configuration, and its digest in the current set.
#[derive(Serialize)]
struct CurrentImage {
    name: String,
    repository: String,
    digest: Option<String>,
}

/// A set that is held.
#[derive(Serialize)]
struct HeldItem {
    revision: Option<String>,
    by: EntryLink,
}

/// Another entry.
#[derive(Clone, Serialize)]
struct EntryLink {
    id: String,
    text: String,
    date: String,
    shown: String,
    /// Whether it is on this page.
    shown_below: bool,
}

/// An entry.
#[derive(Serialize)]
struct SetOfPage {
    id: String,
    kind: &'static str,
    revision: Option<String>,
    short_revision: String,
    commit: String,
    short_commit: String,
    date: String,
    shown: String,
    shown_below: bool,
    live: Option<String>,
    author: String,
    subject: String,
    pull_request: Option<u64>,
    pull_request_url: Option<String>,
    current: bool,
    held: bool,
    undone_by: Option<EntryLink>,
    back_to: Option<EntryLink>,
    unreadable: Option<String>,
    images: Vec<ImageOfSet>,
    diff: Option<Vec<DiffRun>>,
    files: String,
    without_diff: Option<&'static str>,
}

/// An image in a set.
#[derive(Serialize)]
struct ImageOfSet {
    name: String,
    digest: Option<String>,
    was: Option<String>,
}

/// Lines of a diff that are all removed, all added, or neither.
#[derive(Serialize)]
struct DiffRun {
    old: bool,
    new: bool,
    lines: Vec<String>,
}

/// What the entries are to one another.
struct Relations<'f> {
    facts: Facts<'f>,
    revisions: BTreeSet<&'f str>,
    listed: HashSet<ObjectId>,
    held: HashSet<ObjectId>,
    /// For each commit whose set a rollback undid, that rollback.
    undone: HashMap<ObjectId, &'f HistoryEntry>,
    /// For each rollback, the entry whose set it brought back.
    back: HashMap<ObjectId, &'f HistoryEntry>,
    /// For each entry with a known set, the next newer one.
    next: HashMap<ObjectId, &'f HistoryEntry>,
    /// For each entry, the one before.
    before: HashMap<ObjectId, &'f HistoryEntry>,
}

impl Page {
    pub(super) fn of(facts: Facts<'_>) -> Self {
        let (history, config) = (facts.history, facts.config);
        let holds = history.holds();
        let relations = Relations::of(facts, &holds);
        let current = history.entries().first().filter(|entry| entry.current);
        let images = config.images.iter().map(|image| CurrentImage {
            name: image.name.clone(),
            repository: image.repository.to_string(),
            digest: current
                .and_then(|entry| entry.images.get(&image.name))
                .map(ToString::to_string),
        });
        let item = |hold: &HeldSet<'_>| HeldItem {
            revision: hold.revision.map(ToString::to_string),
            by: relations.link(hold.rollback),
        };
        Self {
            style: STYLE,
            style_hash: source_hash(STYLE),
            script: SCRIPT,
            script_hash: source_hash(SCRIPT),
            name: config.name.clone(),
            branch: history.branch.name.clone(),
            tip: history.branch.tip.to_string(),
            limited: facts.listed.len() < facts.total,
            total: facts.total,
            warnings: warnings(history),
            current: current.map(|entry| relations.set(entry)),
            images: images.collect(),
            holds: holds.iter().map(item).collect(),
            sets: facts
                .listed
                .iter()
                .map(|entry| relations.set(entry))
                .collect(),
        }
    }
}

fn warnings(history: &History) -> Vec<String> {
    let mut warnings = Vec::new();
    if history.shallow {
        warnings.push(
            "the clone is shallow, so older sets and holds on them may be missing.".to_owned(),
        );
    }
    if let Some(unreadable) = history.blind_spot() {
        warnings.push(format!(
            "commit {} may have changed the set or rolled one back: {}",
            unreadable.commit.short(),
            unreadable.reason()
        ));
    }
    warnings
}

impl<'f> Relations<'f> {
    fn of(facts: Facts<'f>, holds: &[HeldSet<'f>]) -> Self {
        let entries = facts.history.entries();
        let revisions = entries.iter().filter_map(|entry| entry.revision.as_ref());
        let held = holds.iter().filter_map(|hold| hold.undone);
        let pairs = || entries.iter().zip(entries.iter().skip(1));
        let mut relations = Self {
            facts,
            revisions: revisions.map(Revision::as_str).collect(),
            listed: facts.listed.iter().map(|entry| entry.commit).collect(),
            held: held.map(|entry| entry.commit).collect(),
            undone: HashMap::new(),
            back: HashMap::new(),
            next: pairs()
                .map(|(newer, older)| (older.commit, newer))
                .collect(),
            before: pairs()
                .map(|(newer, older)| (newer.commit, older))
                .collect(),
        };
        relations.rollbacks(entries);
        relations
    }

    /// Which rollback undid which entries, and what it brought back.
    fn rollbacks(&mut self, entries: &'f [HistoryEntry]) {
        // The latest entry so far with these digests, by its place; entries come oldest first.
        let mut last: HashMap<&Digests, usize> = HashMap::new();
        for (at, entry) in entries.iter().enumerate().rev() {
            let brought_back = last.get(&entry.images).copied();
            if let (Kind::Rollback, Some(before)) = (entry.kind, brought_back) {
                self.back.insert(entry.commit, &entries[before]);
                for undone in &entries[at + 1..before] {
                    self.undone.entry(undone.commit).or_insert(entry);
                }
            }
            last.insert(&entry.images, at);
        }
    }

    fn link(&self, entry: &HistoryEntry) -> EntryLink {
        EntryLink {
            id: id(entry),
            text: entry.commit.short(),
            date: entry.date.clone(),
            shown: shown(&entry.date),
            shown_below: self.listed.contains(&entry.commit),
        }
    }

    fn set(&self, entry: &HistoryEntry) -> SetOfPage {
        let commit = entry.commit;
        let revision = entry.revision.as_ref().map(Revision::as_str);
        let (mut diff, mut files, mut without_diff) = (None, String::new(), None);
        match self.facts.diffs.get(&commit) {
            Some(SetDiff::Text(text, count)) => {
                diff = Some(DiffRun::all(text));
                files = number(*count, "file");
            }
            Some(SetDiff::Omitted(reason)) => without_diff = Some(*reason),
            None => {}
        }
        let live = self.next.get(&commit);
        let link = |entry: &&HistoryEntry| self.link(entry);
        let number = entry.pull_request;
        let address = self.facts.pull_requests.zip(number);
        SetOfPage {
            id: id(entry),
            kind: entry.kind_name(),
            revision: revision.map(ToOwned::to_owned),
            short_revision: revision.map_or_else(String::new, |revision| {
                abbreviated(revision, &self.revisions)
            }),
            commit: commit.to_string(),
            short_commit: commit.short(),
            date: entry.date.clone(),
            shown: shown(&entry.date),
            shown_below: self.listed.contains(&commit),
            live: live.and_then(|newer| between(&entry.date, &newer.date)),
            author: entry.author.clone(),
            subject: entry.subject.clone(),
            pull_request: number,
            pull_request_url: address.map(|(address, number)| format!("{address}{number}")),
            current: entry.current,
            held: self.held.contains(&commit),
            undone_by: self.undone.get(&commit).map(link),
            back_to: self.back.get(&commit).map(link),
            unreadable: entry.unreadable.clone(),
            images: self.images(entry),
            diff,
            files,
            without_diff,
        }
    }

    fn images(&self, entry: &HistoryEntry) -> Vec<ImageOfSet> {
        if entry.unreadable.is_some() {
            return Vec::new();
        }
        let before = self.before.get(&entry.commit).map(|entry| &entry.images);
        let image = |image: &crate::config::Image| {
            let digest = entry.images.get(&image.name);
            let was = before.and_then(|before| before.get(&image.name));
            ImageOfSet {
                name: image.name.clone(),
                digest: digest.map(ToString::to_string),
                was: was
                    .filter(|was| Some(*was) != digest)
                    .map(ToString::to_string),
            }
        };
        let images = self.facts.config.images.iter();
        images.filter(|image| image.pins > 0).map(image).collect()
    }
}

impl DiffRun {
    /// The runs of a diff.
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

fn id(entry: &HistoryEntry) -> String {
    format!("set-{}", entry.commit.short())
}
