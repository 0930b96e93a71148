//! The histories of all sets as one table: a row for each set of digests, a column for each configuration.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

use jiff::tz::TimeZone;

use super::{
    deployed::Deployed,
    layout::{Align, abbreviated, aligned, local},
};
use crate::{
    base::untrusted::{self, plain},
    config::{Config, SetPath, StageSet},
    core::history::{Digests, EntryState, History, HistoryEntry},
    git::ObjectId,
    oci::{Digest, Revision, date},
};

/// The width of the table without `verbose`, unless the dates need more.
const COLUMNS: usize = 80;

/// The explanation of the marks.
pub(crate) const LEGEND: &str = "each date is the last on which the set became current; * is current, < is available for rollback, ! is held";

/// The name of a set without a recorded revision.
pub(super) const NOT_RECORDED: &str = "not recorded";

/// The parts of a path that name production.
const PRODUCTION: [&str; 4] = ["live", "prd", "prod", "production"];

/// The history of one configuration.
#[derive(Debug)]
pub(crate) struct SetColumn {
    set: SetPath,
    /// The name in the configuration.
    name: String,
    /// The stages in the same repository.
    stages: Vec<SetPath>,
    /// One for each revision and set of digests, newest first.
    cells: Vec<Cell>,
    pub(super) now: Deployed,
}

/// A set that was current in a configuration.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    revision: Option<Revision>,
    images: Digests,
    pub(super) state: EntryState,
    /// The date on which the set last became current.
    pub(super) since: String,
    pub(super) author: String,
    /// The first date.
    first: Option<SystemTime>,
}

impl SetColumn {
    /// `entries`: the newest first.
    pub(crate) fn new(config: &Config, history: &History, entries: &[HistoryEntry]) -> Self {
        let mut cells: Vec<Cell> = Vec::new();
        let mut known: HashMap<(&Option<Revision>, &Digests), usize> = HashMap::new();
        for entry in entries {
            // The content is unreadable, or nothing is pinned.
            if entry.revision.is_none() && entry.images.is_empty() {
                continue;
            }
            let first = date::parse(&entry.date);
            let state = history.state(entry);
            let key = (&entry.revision, &entry.images);
            let index = *known.entry(key).or_insert(cells.len());
            if let Some(cell) = cells.get_mut(index) {
                cell.first = first;
                cell.state = cell.state.min(state);
                continue;
            }
            cells.push(Cell {
                revision: entry.revision.clone(),
                images: entry.images.clone(),
                state,
                since: entry.date.clone(),
                author: entry.author.clone(),
                first,
            });
        }
        let stages = config.promote.after.iter();
        Self {
            set: config.set_path.clone(),
            name: config.name.clone(),
            stages: stages
                .filter_map(|stage| match &stage.set {
                    StageSet::SameRepository(set) => Some(set.clone()),
                    StageSet::OtherRepository(_) => None,
                })
                .collect(),
            cells,
            now: Deployed::new(config, history, Vec::new()),
        }
    }

    /// The directory of a `repin.yaml`; otherwise the set path.
    fn heading(&self) -> String {
        let path = self.set.to_string();
        plain(path.strip_suffix("/repin.yaml").unwrap_or(&path))
    }

    /// The last `count` parts of the set path; the name of the set at the top.
    fn environment(&self, count: usize) -> String {
        let parts = self.set.parts();
        match parts.len() {
            0 => self.name.clone(),
            length => parts[length.saturating_sub(count)..].join("/"),
        }
    }

    /// Whether this is production, by the parts of its path.
    pub(super) fn is_production(&self) -> bool {
        let parts = self.set.parts();
        let mut words = parts
            .iter()
            .flat_map(|part| part.split(|c: char| !c.is_alphanumeric()));
        words.any(|word| PRODUCTION.contains(&word.to_ascii_lowercase().as_str()))
    }
}

/// A set of digests, under each revision that a configuration records for it.
#[derive(Debug)]
struct Row {
    revisions: BTreeSet<Revision>,
    images: Digests,
    cells: BTreeMap<SetPath, Cell>,
    /// The first date in any configuration.
    first: Option<SystemTime>,
}

impl Row {
    fn new(set: &SetPath, cell: &Cell) -> Self {
        Self {
            revisions: cell.revision.iter().cloned().collect(),
            images: cell.images.clone(),
            cells: BTreeMap::from([(set.clone(), cell.clone())]),
            first: cell.first,
        }
    }

    /// Whether an image has another digest in each row: the sets differ, whatever their revisions are.
    fn contradicts(&self, other: &Self) -> bool {
        let mut images = self.images.iter();
        images.any(|(name, digest)| (other.images.get(name)).is_some_and(|other| other != digest))
    }

    fn add(&mut self, other: Self) {
        self.revisions.extend(other.revisions);
        self.images.extend(other.images);
        self.first = self.first.min(other.first);
        for (set, cell) in other.cells {
            let Some(known) = self.cells.get_mut(&set) else {
                self.cells.insert(set, cell);
                continue;
            };
            let state = known.state.min(cell.state);
            if date::parse(&cell.since) > date::parse(&known.since) {
                *known = cell;
            }
            known.state = state;
        }
    }

    /// Versions before commit ids, which tell a reader less.
    fn names(&self) -> Vec<&Revision> {
        let mut names: Vec<_> = self.revisions.iter().collect();
        names.sort_by_key(|name| ObjectId::parse(name.as_str().as_bytes()).is_some());
        names
    }
}

/// The rows of the columns: one for each set of digests. Configurations with different images, such as one for each
/// part of an application, share a row by the revision.
fn rows(columns: &[SetColumn]) -> Vec<Row> {
    let mut by_digests: Vec<Row> = Vec::new();
    let mut known: HashMap<BTreeSet<Digest>, usize> = HashMap::new();
    for column in columns {
        for cell in &column.cells {
            let row = Row::new(&column.set, cell);
            let digests: BTreeSet<Digest> = cell.images.values().copied().collect();
            let index = if digests.is_empty() {
                by_digests.len()
            } else {
                *known.entry(digests).or_insert(by_digests.len())
            };
            match by_digests.get_mut(index) {
                Some(same) => same.add(row),
                None => by_digests.push(row),
            }
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut by_revision: HashMap<Revision, Vec<usize>> = HashMap::new();
    for row in by_digests {
        let mut same = row
            .revisions
            .iter()
            .filter_map(|name| by_revision.get(name));
        let index = same.find_map(|indexes| {
            let mut indexes = indexes.iter().copied();
            indexes.find(|index| !rows[*index].contradicts(&row))
        });
        let index = index.unwrap_or(rows.len());
        for revision in &row.revisions {
            let indexes = by_revision.entry(revision.clone()).or_default();
            if !indexes.contains(&index) {
                indexes.push(index);
            }
        }
        match rows.get_mut(index) {
            Some(same) => same.add(row),
            None => rows.push(row),
        }
    }
    rows
}

/// The sets of all configurations, newest first; stages are left of the sets that wait for them.
#[derive(Debug)]
pub(crate) struct Grid {
    columns: Vec<SetColumn>,
    rows: Vec<Row>,
    /// The number of rows without a limit.
    total: usize,
}

impl Grid {
    pub(crate) fn new(columns: Vec<SetColumn>, limit: usize) -> Self {
        let mut rows = rows(&columns);
        rows.sort_by(|one, other| {
            let key = |row: &Row| (Reverse(row.first), row.revisions.clone());
            let order = key(one).cmp(&key(other));
            order.then_with(|| one.images.cmp(&other.images))
        });
        let total = rows.len();
        rows.truncate(limit);
        Self {
            columns: in_order_of_stages(columns),
            rows,
            total,
        }
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn columns(&self) -> &[SetColumn] {
        &self.columns
    }

    fn headings(&self) -> Vec<String> {
        self.columns.iter().map(SetColumn::heading).collect()
    }

    /// The shortest names that differ, from the ends of the set paths.
    pub(super) fn environments(&self) -> Vec<String> {
        let mut names = Vec::new();
        for column in &self.columns {
            let counts = 1..=column.set.parts().len();
            let name = counts.map(|count| (count, column.environment(count)));
            let mut unique = name.filter(|(count, name)| {
                let others = self.columns.iter().filter(|other| other.set != column.set);
                others
                    .map(|other| other.environment(*count))
                    .all(|other| other != *name)
            });
            let name = unique.next().map(|(_, name)| name);
            names.push(name.unwrap_or_else(|| column.environment(usize::MAX)));
        }
        names
    }

    /// The revisions and the cells of each row.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Vec<&Revision>, Vec<Option<&Cell>>)> {
        self.rows.iter().map(|row| {
            let cells = self.columns.iter().map(|column| row.cells.get(&column.set));
            (row.names(), cells.collect())
        })
    }

    /// The listed revisions.
    fn revisions(&self) -> BTreeSet<&str> {
        let revisions = self.rows.iter().flat_map(|row| &row.revisions);
        revisions.map(Revision::as_str).collect()
    }
}

/// The table. `verbose`: complete revisions and names.
pub(crate) fn table(grid: &Grid, verbose: bool, zone: &TimeZone) -> String {
    let revisions = grid.revisions();
    let mut names = Vec::new();
    for (recorded, _) in grid.rows() {
        let recorded = recorded.iter().map(|revision| {
            if verbose {
                plain(revision.as_str())
            } else {
                abbreviated(revision.as_str(), &revisions)
            }
        });
        let name = recorded.collect::<Vec<_>>().join(" ");
        names.push(if name.is_empty() {
            NOT_RECORDED.to_owned()
        } else {
            name
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
                    format!("{} {since} {author}", mark(cell))
                }
                Some(cell) => {
                    let author = untrusted::short(&cell.author, author);
                    format!("{} {} {author}", mark(cell), local(&cell.since, zone))
                }
            });
        }
        rows.push(row);
    }
    aligned(&vec![Align::Left; columns + 1], &rows)
}

/// The mark of a state, with the width of one column.
fn mark(cell: &Cell) -> String {
    format!("{:<1}", cell.state.mark())
}

/// Moves every set after its stages; sets without an order keep theirs, except that production is after the others.
fn in_order_of_stages(mut columns: Vec<SetColumn>) -> Vec<SetColumn> {
    let mut ordered: Vec<SetColumn> = Vec::new();
    while !columns.is_empty() {
        let is_next = |column: &SetColumn| {
            let mut stages = column.stages.iter();
            stages.all(|stage| columns.iter().all(|other| other.set != *stage))
        };
        let is_earlier = |column: &SetColumn| is_next(column) && !column.is_production();
        // In a cycle, no set is first.
        let next = (columns.iter().position(is_earlier))
            .or_else(|| columns.iter().position(is_next))
            .unwrap_or_default();
        ordered.push(columns.remove(next));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use EntryState::{Available, Current, Held, Superseded};

    use super::*;
    use crate::oci::Pattern;

    /// A revision, a build whose digests it pins, the state, the date and the author.
    type CellOfTest<'c> = (&'c str, char, EntryState, &'c str, &'c str);

    fn column(set: &str, stages: &[&str], cells: &[CellOfTest<'_>]) -> SetColumn {
        let path = |path: &str| SetPath::new(Path::new(path)).unwrap();
        let revision = |text: &str| Pattern::parse(".*").unwrap().revision(text).unwrap();
        let cells = cells
            .iter()
            .map(|(name, build, state, since, author)| Cell {
                revision: (!name.is_empty()).then(|| revision(name)),
                images: Digests::from([("app".to_owned(), digest(*build))]),
                state: *state,
                since: (*since).to_owned(),
                author: (*author).to_owned(),
                first: date::parse(since),
            });
        SetColumn {
            set: path(set),
            name: "images".to_owned(),
            stages: stages.iter().map(|stage| path(stage)).collect(),
            cells: cells.collect(),
            now: Deployed::default(),
        }
    }

    fn digest(build: char) -> Digest {
        let text = format!("sha256:{}", build.to_string().repeat(64));
        text.parse().unwrap()
    }

    /// The names of each row, and the marks of its cells; `-` without a cell.
    fn marks(columns: Vec<SetColumn>) -> Vec<String> {
        let grid = Grid::new(columns, usize::MAX);
        let rows = grid.rows().map(|(names, cells)| {
            let mut words: Vec<_> = names.iter().map(|name| name.as_str()).collect();
            words.extend(cells.iter().map(|cell| match cell {
                Some(cell) => cell.state.mark(),
                None => "-",
            }));
            words.join(" ")
        });
        rows.collect()
    }

    #[test]
    fn stages_are_left_of_their_successors() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let columns = || {
            let robot = "a robot with a very long name";
            vec![
                column(
                    "envs/prod/repin.yaml",
                    &["envs/staging/repin.yaml"],
                    &[(&a, 'a', Current, "2026-11-19T08:00:00Z", "Ada")],
                ),
                column(
                    "envs/staging/repin.yaml",
                    &[],
                    &[
                        (&a, 'a', Available, "2026-11-18T08:00:00Z", robot),
                        (&b, 'b', Current, "2026-11-20T14:02:11Z", "Grace\n"),
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
    fn page_of_two_hundred_sets_in_three_environments_is_small() {
        let mut columns = Vec::new();
        for environment in ["dev", "staging", "prod"] {
            let texts: Vec<_> = (0..200)
                .map(|set| {
                    (
                        format!("{set:040x}"),
                        format!("2026-11-20T14:{:02}:11+01:00", set % 60),
                    )
                })
                .collect();
            let path = format!("envs/{environment}/repin.yaml");
            let author = "Grace Brewster Hopper";
            let cells = texts.iter();
            let cells = cells.map(|(name, since)| (&**name, 'a', Available, &**since, author));
            let cells: Vec<CellOfTest<'_>> = cells.collect();
            let mut column = column(&path, &[], &cells);
            for (number, cell) in column.cells.iter_mut().enumerate() {
                let digest = Digest::of(number.to_string().as_bytes());
                cell.images = Digests::from([("app".to_owned(), digest)]);
            }
            columns.push(column);
        }
        let grid = Grid::new(columns, usize::MAX);
        let page = crate::app::report::sets::html(&grid, &[]).unwrap();
        assert_eq!(page.matches("<tr role").count(), 201);
        assert!(page.len() <= 150 * 1024, "{}", page.len());
    }

    #[test]
    fn equal_digests_share_a_row() {
        let commit = "a".repeat(40);
        let day = |day: u8| format!("2026-11-{day:02}T08:00:00Z");
        let columns = vec![
            column(
                "envs/prod/repin.yaml",
                &[],
                &[
                    ("v1.1.0", 'b', Current, &day(5), "Ada"),
                    ("v1.0.0", 'a', Available, &day(2), "Ada"),
                ],
            ),
            column(
                "envs/staging/repin.yaml",
                &[],
                &[
                    ("", 'b', Held, &day(4), "Ada"),
                    (&commit, 'a', Current, &day(3), "Ada"),
                    // The first promotion of the same digests.
                    ("", 'a', Superseded, &day(1), "Ada"),
                ],
            ),
        ];
        let expected = ["v1.1.0 ! *".to_owned(), format!("v1.0.0 {commit} * <")];
        assert_eq!(marks(columns), expected);
    }

    #[test]
    fn revision_of_other_digests_has_its_own_row() {
        let columns = vec![
            column(
                "prod/repin.yaml",
                &[],
                &[("v1", 'a', Current, "2026-11-01T08:00:00Z", "Ada")],
            ),
            column(
                "staging/repin.yaml",
                &[],
                &[("v1", 'b', Current, "2026-11-02T08:00:00Z", "Ada")],
            ),
        ];
        assert_eq!(marks(columns), ["v1 * -", "v1 - *"]);
    }

    #[test]
    fn sets_of_different_images_share_a_row_by_revision() {
        let cells = [("v1", 'a', Current, "2026-11-01T08:00:00Z", "Ada")];
        let mut web = column("web/repin.yaml", &[], &cells);
        web.cells[0].images = Digests::from([("web".to_owned(), digest('b'))]);
        let columns = vec![column("api/repin.yaml", &[], &cells), web];
        assert_eq!(marks(columns), ["v1 * *"]);
    }

    #[test]
    fn environments_have_short_names() {
        let paths = [
            "shop/envs/prod/repin.yaml",
            "shop/envs/staging/repin.yaml",
            "cart/envs/staging/repin.yaml",
            "repin.eu.yaml",
            "repin.yaml",
        ];
        let columns = paths.map(|path| column(path, &[], &[]));
        let grid = Grid::new(columns.into(), usize::MAX);
        // Production is last: on a phone, the last one is on top.
        let expected = [
            "shop/envs/staging",
            "cart/envs/staging",
            "eu",
            "images",
            "prod",
        ];
        assert_eq!(grid.environments(), expected);
        for (path, is_production) in [
            ("envs/PROD-eu/repin.yaml", true),
            ("repin.live.yaml", true),
            ("products/repin.yaml", false),
        ] {
            let column = column(path, &[], &[]);
            assert_eq!(column.is_production(), is_production, "{path}");
        }
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
