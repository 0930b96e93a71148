//! The histories of all sets as one table: a row for each set of images, a column for each configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use jiff::tz::TimeZone;

use super::layout::{Align, abbreviated, aligned, local};
use crate::{
    base::untrusted::{self, plain},
    config::{Config, SetPath, StageSet},
    core::history::{Digests, History, HistoryEntry},
    oci::{Revision, date},
};

/// The width of the table without `verbose`, unless the dates need more.
const COLUMNS: usize = 80;

/// The explanation of the marks.
pub(crate) const LEGEND: &str = "each date is the last on which the set became current; * is current, < is available for rollback, ! is held";

/// The name of a set without a recorded revision.
pub(super) const NOT_RECORDED: &str = "not recorded";

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
pub(super) struct Cell {
    pub(super) mark: char,
    /// The date on which the set last became current.
    pub(super) since: String,
    pub(super) author: String,
    /// The first date.
    first: Option<SystemTime>,
}

impl SetColumn {
    /// `entries`: the newest first.
    pub(crate) fn new(config: &Config, history: &History, entries: &[HistoryEntry]) -> Self {
        let mut cells: BTreeMap<RowKey, Cell> = BTreeMap::new();
        for entry in entries {
            let Some(key) = row_key(entry) else { continue };
            let first = date::parse(&entry.date);
            let mark = match entry {
                _ if entry.current => '*',
                _ if history.hold_in_list(&entry.images).is_some() => '!',
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
                    StageSet::SameRepository(set) => Some(set.clone()),
                    StageSet::OtherRepository(_) => None,
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

/// The sets of all configurations, newest first; stages are left of the sets that wait for them.
#[derive(Debug)]
pub(crate) struct Grid {
    columns: Vec<SetColumn>,
    keys: Vec<RowKey>,
    /// The number of rows without a limit.
    total: usize,
}

impl Grid {
    pub(crate) fn new(columns: Vec<SetColumn>, limit: usize) -> Self {
        let columns = in_order_of_stages(columns);
        let mut first_dates: BTreeMap<&RowKey, Option<SystemTime>> = BTreeMap::new();
        for (key, cell) in columns.iter().flat_map(|column| &column.cells) {
            let first = first_dates.entry(key).or_insert(cell.first);
            *first = (*first).min(cell.first);
        }
        let mut keys: Vec<_> = first_dates.into_iter().collect();
        keys.sort_by(|(_, one), (_, other)| other.cmp(one));
        let total = keys.len();
        let keys = keys.into_iter().take(limit);
        Self {
            keys: keys.map(|(key, _)| key.clone()).collect(),
            columns,
            total,
        }
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn headings(&self) -> Vec<String> {
        self.columns.iter().map(SetColumn::heading).collect()
    }

    /// The revision and the cells of each row; the revision is `None` if it is not recorded.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Option<&Revision>, Vec<Option<&Cell>>)> {
        self.keys.iter().map(|key| {
            let revision = match key {
                RowKey::Revision(revision) => Some(revision),
                RowKey::Digests(_) => None,
            };
            let cells = self.columns.iter().map(|column| column.cells.get(key));
            (revision, cells.collect())
        })
    }

    /// The listed revisions.
    fn revisions(&self) -> BTreeSet<&str> {
        let revisions = self.rows().filter_map(|(revision, _)| revision);
        revisions.map(Revision::as_str).collect()
    }
}

/// The table. `verbose`: complete revisions and names.
pub(crate) fn table(grid: &Grid, verbose: bool, zone: &TimeZone) -> String {
    let revisions = grid.revisions();
    let mut names = Vec::new();
    for (revision, _) in grid.rows() {
        names.push(match revision {
            None => NOT_RECORDED.to_owned(),
            Some(revision) if verbose => plain(revision.as_str()),
            Some(revision) => abbreviated(revision.as_str(), &revisions),
        });
    }
    let first = names.iter().map(|name| untrusted::width(name)).max();
    let remaining = COLUMNS.saturating_sub(first.unwrap_or_default().max("REVISION".len()));
    let columns = grid.columns.len();
    let author = (remaining / columns.max(1)).saturating_sub("  ! YYYY-MM-DD HH:MM+ZZ:ZZ ".len());
    let mut rows = vec![vec!["REVISION".to_owned()]];
    rows[0].extend(grid.headings());
    for (name, (_, cells)) in names.into_iter().zip(grid.rows()) {
        let mut row = vec![name];
        for cell in cells {
            row.push(match cell {
                None => "  -".to_owned(),
                Some(cell) if verbose => {
                    let (since, author) = (local(&cell.since, zone), plain(&cell.author));
                    format!("{} {since} {author}", cell.mark)
                }
                Some(cell) => {
                    let author = untrusted::short(&cell.author, author);
                    format!("{} {} {author}", cell.mark, local(&cell.since, zone))
                }
            });
        }
        rows.push(row);
    }
    aligned(&vec![Align::Left; columns + 1], &rows)
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
        insta::assert_snapshot!(table(&Grid::new(columns(), usize::MAX), false, &TimeZone::UTC), @r"
        REVISION      envs/staging                  envs/prod
        bbbbbbbbbbbb  * 2026-11-20 14:02Z Grace\n     -
        aaaaaaaaaaaa  < 2026-11-18 08:00Z a robot…  * 2026-11-19 08:00Z Ada
        ");
        insta::assert_snapshot!(table(&Grid::new(columns(), 1), true, &TimeZone::UTC), @r"
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
