//! The histories of all sets as one HTML page: a row for each set of images, a column for each configuration.
//! The page is self-contained and has no script.

use minijinja::Error;
use serde::Serialize;

use super::{
    dates::{day, to_minute},
    history_page,
    html::{self, STYLE, source_hash},
    set_histories::{Cell, Grid},
};
use crate::core::history::History;

const TEMPLATE: &str = include_str!("history_page/sets.html.j2");

/// A reason for which a set or a part of it is missing.
#[derive(Debug, Serialize)]
pub(crate) struct Gap {
    pub set_path: String,
    pub reason: String,
}

impl Gap {
    /// The gaps in a history that was read.
    pub(crate) fn of_history(set_path: &str, history: &History) -> Vec<Self> {
        let warnings = history_page::warnings(history).into_iter();
        let gap = |reason| Self {
            set_path: set_path.to_owned(),
            reason,
        };
        warnings.map(gap).collect()
    }
}

/// The variables of the template.
#[derive(Serialize)]
struct Page<'p> {
    style: &'static str,
    style_hash: String,
    headings: Vec<String>,
    rows: Vec<RowOfPage>,
    total: usize,
    gaps: &'p [Gap],
}

#[derive(Serialize)]
struct RowOfPage {
    revision: Option<String>,
    cells: Vec<Option<CellOfPage>>,
}

#[derive(Serialize)]
struct CellOfPage {
    /// The state of the set; empty if it is neither current, available for rollback nor held.
    state: &'static str,
    date: String,
    day: String,
    time: String,
    author: String,
}

impl CellOfPage {
    fn new(cell: &Cell) -> Self {
        Self {
            state: match cell.mark {
                '*' => "current",
                '!' => "held",
                '<' => "available",
                _ => "",
            },
            date: cell.since.clone(),
            day: day(&cell.since),
            time: to_minute(&cell.since),
            author: cell.author.clone(),
        }
    }
}

/// Renders the page.
pub(crate) fn html(grid: &Grid, gaps: &[Gap]) -> Result<String, Error> {
    let rows = grid.rows().map(|(revision, cells)| RowOfPage {
        revision: revision.map(ToString::to_string),
        cells: cells
            .into_iter()
            .map(|cell| cell.map(CellOfPage::new))
            .collect(),
    });
    let page = Page {
        style: STYLE,
        style_hash: source_hash(STYLE),
        headings: grid.headings(),
        rows: rows.collect(),
        total: grid.total(),
        gaps,
    };
    html::render(TEMPLATE, &page)
}
