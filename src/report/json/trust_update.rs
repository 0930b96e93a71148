//! Updates of trusted roots in the documents.

use std::fmt::Write as _;

use serde::Serialize;

use super::ErrorRow;
use crate::{
    config::number,
    trust::{Change, RootEntry},
    untrusted::plain,
};

/// `repin.trust-update/1`: the current trusted roots, compared with those in use.
#[derive(Debug, Serialize)]
pub struct TrustUpdateDocument {
    pub schema: &'static str,
    pub written: bool,
    pub roots: Vec<RootRow>,
    pub errors: Vec<ErrorRow>,
}

/// One trusted root.
#[derive(Debug, Serialize)]
pub struct RootRow {
    pub name: &'static str,
    pub repository: String,
    pub file: String,
    pub built_in: bool,
    pub current: bool,
    pub changes: Vec<RootChange>,
}

/// One authority or log that differs.
#[derive(Debug, Serialize)]
pub struct RootChange {
    pub change: &'static str,
    pub kind: &'static str,
    pub name: String,
    pub id: String,
    pub valid_from: Option<String>,
    pub valid_until: Option<String>,
    pub previous_from: Option<String>,
    pub previous_until: Option<String>,
}

impl RootChange {
    /// A difference as a row.
    pub fn of(change: &Change) -> Self {
        let RootEntry {
            kind,
            name,
            id,
            from,
            until,
        } = change.entry.clone();
        let before = change.before.as_ref();
        Self {
            change: change.kind.as_str(),
            kind: kind.as_str(),
            name,
            id,
            valid_from: from,
            valid_until: until,
            previous_from: before.and_then(|entry| entry.from.clone()),
            previous_until: before.and_then(|entry| entry.until.clone()),
        }
    }

    fn is_validity_change(&self) -> bool {
        matches!(self.change, "ended" | "extended")
    }
}

impl TrustUpdateDocument {
    /// For people: a line for each root, and four for each difference.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for root in &self.roots {
            let place = if root.built_in {
                "built in".to_owned()
            } else {
                plain(&root.file)
            };
            let state = match root.changes.len() {
                _ if root.current => "current".to_owned(),
                0 => "differs in other fields only".to_owned(),
                changes => number(changes, "difference"),
            };
            let _ = writeln!(text, "{} ({place}): {state}", root.name);
            for change in &root.changes {
                let kind = change.kind.replace('_', " ");
                let _ = writeln!(text, "  {}: {kind}", change.change);
                let _ = writeln!(text, "    {}", plain(&change.name));
                let _ = writeln!(text, "    {}", plain(&change.id));
                let valid = period(change.valid_from.as_deref(), change.valid_until.as_deref());
                let _ = writeln!(text, "    valid {valid}");
                if change.is_validity_change() {
                    let (from, until) = (&change.previous_from, &change.previous_until);
                    let valid = period(from.as_deref(), until.as_deref());
                    let _ = writeln!(text, "    before: valid {valid}");
                }
            }
        }
        text
    }
}

fn period(from: Option<&str>, until: Option<&str>) -> String {
    match (from, until) {
        (Some(from), Some(until)) => format!("from {from} until {until}"),
        (Some(from), None) => format!("from {from}, without end"),
        (None, Some(until)) => format!("until {until}"),
        (None, None) => "without end".to_owned(),
    }
}
