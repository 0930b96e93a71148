//! All sets as one table.
//!
//! The histories of all sets as one HTML page: the answers for each environment, then a row for each set of digests and a
//! column for each environment. The page is self-contained.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use minijinja::Error;
use serde::Serialize;

use super::{
    deployed::{Badge, Deployed},
    layout::{Align, SCRIPT, STYLE, Template, abbreviated, aligned, local, source_hash},
    set_histories::{Cell, Grid, NOT_RECORDED},
};
use crate::{
    base::untrusted::{markdown, plain, short, to_minute},
    config::SetPath,
    core::history::EntryState,
};

const COLUMNS: [&str; 5] = ["SET PATH", "REVISION", "SINCE", "PINS", "STATE"];

/// The row of one set. A set without `since` has no known history.
#[derive(Debug)]
pub(crate) struct SetSummary {
    pub set_path: SetPath,
    /// The recorded revision of the current set.
    pub revision: Option<String>,
    /// The date of the commit that made the set current.
    pub since: Option<String>,
    /// The numbers of pins that were found and declared.
    pub pins: Option<[usize; 2]>,
    pub state: String,
}

impl SetSummary {
    /// The row of a configuration with an unknown set.
    pub(crate) fn without_set(set_path: SetPath, state: String) -> Self {
        Self {
            set_path,
            revision: None,
            since: None,
            pins: None,
            state,
        }
    }
}

/// The table for a terminal.
pub(crate) fn table(sets: &[SetSummary], zone: &TimeZone) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
    for cells in cells(sets, |date| local(date, zone)) {
        rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }
    aligned(&[Align::Left; COLUMNS.len()], &rows)
}

/// The table for a step summary, with the offsets of commits.
pub(crate) fn markdown_table(sets: &[SetSummary]) -> String {
    let mut text = format!(
        "| {} |\n|{}\n",
        COLUMNS.join(" | "),
        " --- |".repeat(COLUMNS.len())
    );
    for cells in cells(sets, to_minute) {
        let cells = cells.map(|cell| markdown::inline(&cell));
        text = text + "| " + &cells.join(" | ") + " |\n";
    }
    text
}

fn cells(sets: &[SetSummary], shown_time: impl Fn(&str) -> String) -> Vec<[String; COLUMNS.len()]> {
    let known: BTreeSet<&str> = sets
        .iter()
        .filter_map(|set| set.revision.as_deref())
        .collect();
    let mut rows = Vec::new();
    for set in sets {
        let revision = match (&set.revision, &set.since) {
            (Some(revision), _) => abbreviated(revision, &known),
            (None, Some(_)) => NOT_RECORDED.to_owned(),
            (None, None) => "-".to_owned(),
        };
        let pins = set
            .pins
            .map(|[found, declared]| format!("{found} of {declared}"));
        let none = || "-".to_owned();
        rows.push([
            set.set_path.to_string(),
            revision,
            set.since.as_deref().map_or_else(none, &shown_time),
            pins.unwrap_or_else(none),
            set.state.clone(),
        ]);
    }
    rows
}

const TEMPLATE: &str = include_str!("history_page/sets.html.j2");

/// The maximum width of the name of a person.
const NAME_WIDTH: usize = 40;

/// A set that is not on the page, with the reason.
#[derive(Debug, Serialize)]
pub(crate) struct Gap {
    pub set_path: String,
    pub reason: String,
}

/// The variables of the template.
#[derive(Serialize)]
struct Page<'p> {
    style: &'static str,
    style_hash: String,
    script: &'static str,
    script_hash: String,
    /// Production first.
    environments: Vec<EnvironmentOfPage<'p>>,
    /// The names in the order of the columns.
    headings: Vec<String>,
    rows: Vec<RowOfPage>,
    total: usize,
    gaps: &'p [Gap],
}

#[derive(Serialize)]
struct EnvironmentOfPage<'p> {
    name: String,
    now: &'p Deployed,
}

#[derive(Serialize)]
struct RowOfPage {
    revisions: Vec<String>,
    cells: Vec<Option<CellOfPage>>,
}

#[derive(Serialize)]
struct CellOfPage {
    is_current: bool,
    badge: Option<Badge>,
    time: String,
    author: String,
}

impl CellOfPage {
    fn new(cell: &Cell) -> Self {
        Self {
            is_current: cell.state == EntryState::Current,
            badge: Badge::new(cell.state),
            time: to_minute(&cell.since),
            author: short(&cell.author, NAME_WIDTH),
        }
    }
}

/// Renders the page.
pub(crate) fn html(grid: &Grid, gaps: &[Gap]) -> Result<String, Error> {
    let rows = grid.rows().map(|(revisions, cells)| RowOfPage {
        revisions: revisions.iter().map(ToString::to_string).collect(),
        cells: cells
            .into_iter()
            .map(|cell| cell.map(CellOfPage::new))
            .collect(),
    });
    let headings = grid.environments();
    let mut columns: Vec<_> = grid.columns().iter().zip(&headings).collect();
    // The last one waits for the others.
    columns.reverse();
    columns.sort_by_key(|(column, _)| !column.is_production());
    let environments = columns.into_iter().map(|(column, name)| EnvironmentOfPage {
        name: name.clone(),
        now: &column.now,
    });
    let page = Page {
        style: STYLE,
        style_hash: source_hash(STYLE),
        script: SCRIPT,
        script_hash: source_hash(SCRIPT),
        environments: environments.collect(),
        rows: rows.collect(),
        total: grid.total(),
        headings,
        gaps,
    };
    Template::new(TEMPLATE)?.render(&page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_is_one_row() {
        let set = |path: &str| SetPath::new(std::path::Path::new(path)).unwrap();
        let row = |path: &str, revision: Option<&str>| SetSummary {
            set_path: set(path),
            revision: revision.map(str::to_owned),
            since: Some("2026-11-20T14:02:11Z".to_owned()),
            pins: Some([2, 3]),
            state: "1 failed".to_owned(),
        };
        let revision = "a".repeat(40);
        let rows = [
            row("a|b\n/repin.yaml", Some(&revision)),
            row("c/repin.yaml", None),
            SetSummary::without_set(set("d/repin.yaml"), "skipped".to_owned()),
        ];
        insta::assert_snapshot!(table(&rows, &TimeZone::UTC), @r"
        SET PATH          REVISION      SINCE              PINS    STATE
        a|b\n/repin.yaml  aaaaaaaaaaaa  2026-11-20 14:02Z  2 of 3  1 failed
        c/repin.yaml      not recorded  2026-11-20 14:02Z  2 of 3  1 failed
        d/repin.yaml      -             -                  -       skipped
        ");
        let text = markdown_table(&rows);
        assert!(
            text.contains("\n| a\\|b\\\\u{a}/repin.yaml | aaaaaaaaaaaa |"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 5);
    }
}
