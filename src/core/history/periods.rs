//! The periods in which a set was current on the line, with the dates that limit them.

use super::{Digests, History, HistoryEntry, Kind, claims};
use crate::git::ObjectId;

/// The periods of one set, and the facts that invalidate them.
#[derive(Debug)]
pub(crate) struct SetPeriods<'h> {
    /// Oldest first, without those that a rollback of the set, or to the set, forfeited.
    pub periods: Vec<Period<'h>>,
    /// The latest rollback that undid the set, unless the set became current again.
    pub undone_by: Option<HistoryEntry>,
    /// The reason why the set may have been current in unknown commits.
    pub gap: Option<String>,
}

/// A period in which a set was current.
#[derive(Debug)]
pub(crate) struct Period<'h> {
    /// The change that made the set current.
    pub entry: &'h HistoryEntry,
    pub start: DatedCommit,
    /// The commit that made another set current; `None` while the set is current.
    pub end: Option<DatedCommit>,
    /// The commit after `end`.
    pub after_end: Option<DatedCommit>,
    /// A commit since the start that cannot be read, with the reason.
    pub unreadable: Option<String>,
}

/// A commit of the line with its committer date.
#[derive(Debug)]
pub(crate) struct DatedCommit {
    pub commit: ObjectId,
    /// ISO 8601.
    pub date: String,
    /// The number of the pull request in the subject.
    pub pull_request: Option<u64>,
    pub parent: ParentDate,
}

/// The committer date of the first parent.
#[derive(Debug)]
pub(crate) enum ParentDate {
    NoParent,
    Known(String),
    /// The clone does not contain the parent.
    Missing,
}

impl History {
    /// The periods of the set with exactly these digests of the images that must be pinned.
    pub(crate) fn periods(&self, digests: &Digests) -> SetPeriods<'_> {
        let mut sets = self.facts.sets.iter();
        let Some(set) = sets.position(|set| set.digests(&self.config) == *digests) else {
            return SetPeriods {
                periods: Vec::new(),
                undone_by: None,
                gap: self.gap(),
            };
        };
        let events: Vec<_> = self.line_events().collect();
        let undone_by = self.events.undone_by[set].map(|rollback| &self.events.all[rollback]);
        let mut forfeited = undone_by.map_or(0, |rollback| rollback.position);
        for event in &events {
            if event.set == set && event.kind == Kind::Rollback {
                forfeited = forfeited.max(event.position);
            }
        }
        let mut periods = Vec::new();
        for (index, event) in events.iter().enumerate() {
            if event.set == set && event.position >= forfeited {
                let entry = &self.entries()[events.len() - 1 - index];
                let end = events.get(index + 1).map(|next| next.position);
                periods.push(self.period(entry, event.position, end));
            }
        }
        let is_over = periods.is_empty();
        SetPeriods {
            periods,
            undone_by: undone_by
                .filter(|_| is_over)
                .map(|rollback| self.entry(rollback)),
            gap: self.gap(),
        }
    }

    fn period<'h>(&self, entry: &'h HistoryEntry, start: usize, end: Option<usize>) -> Period<'h> {
        let after_end = end.filter(|end| end + 1 < self.facts.graph.line.len());
        Period {
            entry,
            start: self.dated(start),
            end: end.map(|end| self.dated(end)),
            after_end: after_end.map(|end| self.dated(end + 1)),
            unreadable: self.unreadable_since(start),
        }
    }

    fn dated(&self, position: usize) -> DatedCommit {
        let date = |position: usize| self.facts.line_commit(position).info.date();
        let commit = self.facts.line_commit(position);
        DatedCommit {
            commit: commit.id,
            pull_request: claims::pull_request(commit.info.subject()),
            date: date(position),
            parent: match position.checked_sub(1) {
                Some(parent) => ParentDate::Known(date(parent)),
                None if self.facts.doubtful.contains(&0) => ParentDate::Missing,
                None => ParentDate::NoParent,
            },
        }
    }

    /// A commit after `start` that may hide a rollback.
    fn unreadable_since(&self, start: usize) -> Option<String> {
        let mut unreadable = self.unreadable.iter();
        if let Some(found) = unreadable.find(|unreadable| unreadable.index > start) {
            let commit = found.commit.short();
            return Some(format!("cannot read commit {commit}: {}", found.reason()));
        }
        let doubtful = self.facts.doubtful.range(start + 1..).next()?;
        let commit = self.facts.line_commit(*doubtful).id.short();
        Some(format!(
            "the clone is shallow: commits that {commit} merged are missing"
        ))
    }

    /// The reason why the set may have been current in a commit that is unknown.
    fn gap(&self) -> Option<String> {
        if self.shallow {
            return Some("older commits are missing in the clone".to_owned());
        }
        if let Some(past) = self.unknown_past() {
            return Some(past.to_string());
        }
        let unreadable = self.blind_spot()?;
        let commit = unreadable.commit.short();
        let reason = unreadable.reason();
        Some(format!("cannot read commit {commit}: {reason}"))
    }
}
