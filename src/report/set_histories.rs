//! The histories of all sets as one table: a row for each set of images, a column for each configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use super::{
    dates::{day, to_minute},
    layout::{Align, aligned},
    revision::abbreviated,
};
use crate::{
    config::{Config, SetPath, StageSet},
    history::{Digests, History, HistoryEntry},
    oci::{Revision, date},
    untrusted::{self, plain},
};

/// The width of the table without `verbose`, unless the dates need more.
const COLUMNS: usize = 80;

/// The explanation of the marks.
pub(crate) const LEGEND: &str = "each date is the last on which the set became current; * is current, < is available for rollback, ! is held";

/// The history of one configuration.
#[derive(Debug)]
pub(crate) struct SetColumn {
    set: SetPath,
    /// The stages in the same repository.
    stages: Vec<SetPath>,
    cells: BTreeMap<RowKey, Cell>,
}

/// A set of images in every configuration: its revision, or its digests if no revision is recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum RowKey {
    Revision(Revision),
    Digests(Digests),
}

#[derive(Debug)]
struct Cell {
    mark: char,
    /// The date on which the set last became current.
    since: String,
    author: String,
    /// The first date.
    first: Option<SystemTime>,
}

impl SetColumn {
    /// `entries`: the newest first.
    pub(crate) fn new(config: &Config, history: &History, entries: &[HistoryEntry]) -> Self {
        let holds = history.holds();
        let mut held = BTreeSet::new();
        for hold in &holds {
            held.extend(hold.revision.cloned().map(RowKey::Revision));
            held.extend(hold.undone.and_then(row_key));
        }
        let mut cells: BTreeMap<RowKey, Cell> = BTreeMap::new();
        for entry in entries {
            let Some(key) = row_key(entry) else { continue };
            let first = date::parse(&entry.date);
            let mark = match entry {
                _ if entry.current => '*',
                _ if held.contains(&key) => '!',
                _ if entry.can_roll_back => '<',
                _ => ' ',
            };
            let cell = cells.entry(key).or_insert_with(|| Cell {
                mark,
                since: entry.date.clone(),
                author: entry.author.clone(),
                first,
            });
            cell.first = first;
            if cell.mark == ' ' {
                cell.mark = mark;
            }
        }
        let stages = config.promote.after.iter();
        Self {
            set: config.set_path.clone(),
            stages: stages
                .filter_map(|stage| match &stage.set {
                    StageSet::Here(set) => Some(set.clone()),
                    StageSet::Elsewhere(_) => None,
                })
                .collect(),
            cells,
        }
    }

    /// The directory of a `repin.yaml`; otherwise the set path.
    fn heading(&self) -> String {
        let path = self.set.to_string();
        plain(path.strip_suffix("/repin.yaml").unwrap_or(&path))
    }
}

/// `None` for an entry whose content is unreadable.
fn row_key(entry: &HistoryEntry) -> Option<RowKey> {
    match &entry.revision {
        Some(revision) => Some(RowKey::Revision(revision.clone())),
        None if entry.images.is_empty() => None,
        None => Some(RowKey::Digests(entry.images.clone())),
    }
}

/// The table, newest sets first; stages are left of the sets that wait for them. `verbose`: complete
/// revisions, times and names.
pub(crate) fn table(columns: Vec<SetColumn>, limit: usize, verbose: bool) -> String {
    let columns = in_order_of_stages(columns);
    let mut first_dates: BTreeMap<&RowKey, Option<SystemTime>> = BTreeMap::new();
    for (key, cell) in columns.iter().flat_map(|column| &column.cells) {
        let first = first_dates.entry(key).or_insert(cell.first);
        *first = (*first).min(cell.first);
    }
    let mut keys: Vec<_> = first_dates.into_iter().collect();
    keys.sort_by(|(_, one), (_, other)| other.cmp(one));
    keys.truncate(limit);
    let mut revisions = BTreeSet::new();
    for (key, _) in &keys {
        if let RowKey::Revision(revision) = key {
            revisions.insert(revision.as_str());
        }
    }
    let mut names = Vec::new();
    for (key, _) in &keys {
        names.push(match key {
            RowKey::Digests(_) => "not recorded".to_owned(),
            RowKey::Revision(revision) if verbose => plain(revision.as_str()),
            RowKey::Revision(revision) => abbreviated(revision.as_str(), &revisions),
        });
    }
    let first = names.iter().map(|name| untrusted::width(name)).max();
    let remaining = COLUMNS.saturating_sub(first.unwrap_or_default().max("REVISION".len()));
    let author = (remaining / columns.len().max(1)).saturating_sub("  ! YYYY-MM-DD ".len());
    let mut rows = vec![vec!["REVISION".to_owned()]];
    rows[0].extend(columns.iter().map(SetColumn::heading));
    for (name, (key, _)) in names.into_iter().zip(&keys) {
        let mut row = vec![name];
        for column in &columns {
            row.push(match column.cells.get(key) {
                None => "  -".to_owned(),
                Some(cell) if verbose => {
                    let (since, author) = (to_minute(&cell.since), plain(&cell.author));
                    format!("{} {since} {author}", cell.mark)
                }
                Some(cell) => {
                    let author = untrusted::short(&cell.author, author);
                    format!("{} {} {author}", cell.mark, day(&cell.since))
                }
            });
        }
        rows.push(row);
    }
    aligned(&vec![Align::Left; columns.len() + 1], &rows)
}

/// Moves every set after its stages; sets without an order keep theirs.
fn in_order_of_stages(mut columns: Vec<SetColumn>) -> Vec<SetColumn> {
    let mut ordered: Vec<SetColumn> = Vec::new();
    while !columns.is_empty() {
        let is_next = |column: &SetColumn| {
            let mut stages = column.stages.iter();
            stages.all(|stage| columns.iter().all(|other| other.set != *stage))
        };
        // In a cycle, no set is first.
        let next = columns.iter().position(is_next).unwrap_or_default();
        ordered.push(columns.remove(next));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::oci::Pattern;

    fn column(set: &str, stages: &[&str], cells: &[(&str, char, &str, &str)]) -> SetColumn {
        let path = |path: &str| SetPath::new(Path::new(path)).unwrap();
        let cells = cells.iter().map(|(revision, mark, since, author)| {
            let key = RowKey::Revision(Pattern::parse(".*").unwrap().revision(revision).unwrap());
            let cell = Cell {
                mark: *mark,
                since: (*since).to_owned(),
                author: (*author).to_owned(),
                first: date::parse(since),
            };
            (key, cell)
        });
        SetColumn {
            set: path(set),
            stages: stages.iter().map(|stage| path(stage)).collect(),
            cells: cells.collect(),
        }
    }

    #[test]
    fn stages_are_left_of_their_successors() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let columns = || {
            vec![
                column(
                    "envs/prod/repin.yaml",
                    &["envs/staging/repin.yaml"],
                    &[(&a, '*', "2026-11-19T08:00:00Z", "Ada")],
                ),
                column(
                    "envs/staging/repin.yaml",
                    &[],
                    &[
                        (
                            &a,
                            '<',
                            "2026-11-18T08:00:00Z",
                            "a robot with a very long name",
                        ),
                        (&b, '*', "2026-11-20T14:02:11Z", "Grace\n"),
                    ],
                ),
            ]
        };
        insta::assert_snapshot!(table(columns(), usize::MAX, false), @r"
        REVISION      envs/staging                       envs/prod
        bbbbbbbbbbbb  * 2026-11-20 Grace\n                 -
        aaaaaaaaaaaa  < 2026-11-18 a robot with a very…  * 2026-11-19 Ada
        ");
        insta::assert_snapshot!(table(columns(), 1, true), @r"
        REVISION                                  envs/staging                 envs/prod
        bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb  * 2026-11-20 14:02Z Grace\n    -
        ");
    }

    #[test]
    fn cycle_of_stages_lists_every_set() {
        let columns = vec![
            column("a.repin.yaml", &["b.repin.yaml"], &[]),
            column("b.repin.yaml", &["a.repin.yaml"], &[]),
        ];
        assert_eq!(in_order_of_stages(columns).len(), 2);
    }
}
