//! The table of results, and the list of missed mutants.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::{Deserialize, Serialize};

use crate::sites::Site;

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A test fails with it, or never ends.
    Caught { by: String },
    /// Every test that it could make a difference to passes.
    Missed,
    /// No test runs the code.
    NotReached,
    /// The budget ended first.
    Undecided,
}

impl Outcome {
    /// Whether nothing holds it.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Missed | Self::NotReached | Self::Undecided)
    }
}

/// A mutant and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    #[serde(flatten)]
    pub site: Site,
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Measured {
    /// The test that caught it.
    pub fn caught_by(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Caught { by } => Some(by),
            _ => None,
        }
    }
}

/// A mutant on one line.
pub fn shown(site: &Site) -> String {
    let Site {
        file,
        line,
        function,
        text,
        mutation,
        ..
    } = site;
    let mutation = if mutation.is_empty() {
        "(left out)"
    } else {
        mutation
    };
    format!("{file}:{line}: {function}: {text} => {mutation}")
}

/// The table by file, and the mutants that are neither caught nor `accepted`.
pub fn table(measured: &[&Measured], accepted: &BTreeSet<String>) -> String {
    let mut files: BTreeMap<&str, [usize; 5]> = BTreeMap::new();
    let is_accepted = |one: &Measured| accepted.contains(&one.site.key());
    for one in measured {
        let column = match one.outcome {
            _ if is_accepted(one) => 4,
            Outcome::Caught { .. } => 0,
            Outcome::Missed => 1,
            Outcome::NotReached => 2,
            Outcome::Undecided => 3,
        };
        files.entry(&one.site.file).or_default()[column] += 1;
        files.entry("total").or_default()[column] += 1;
    }
    let mut out = String::new();
    let mut row = |name: &str, cells: [String; 5]| {
        let [caught, missed, unreached, undecided, equivalent] = cells;
        let _ = writeln!(
            out,
            "{name:<40} {caught:>7} {missed:>7} {unreached:>12} {undecided:>10} {equivalent:>11}"
        );
    };
    row(
        "file",
        ["caught", "missed", "not reached", "undecided", "equivalent"].map(str::to_owned),
    );
    for (file, counts) in &files {
        row(file, counts.map(|count| count.to_string()));
    }
    for (heading, outcome) in [
        ("missed: every test passes", Outcome::Missed),
        ("not reached: no test runs it", Outcome::NotReached),
        (
            "undecided: the budget ended before the tests did",
            Outcome::Undecided,
        ),
    ] {
        let mut list: Vec<&Site> = measured
            .iter()
            .filter(|one| one.outcome == outcome && !is_accepted(one))
            .map(|one| &one.site)
            .collect();
        list.sort_by_key(|site| (&site.file, site.line));
        if !list.is_empty() {
            let _ = writeln!(out, "\n{heading}");
        }
        for site in list {
            let _ = writeln!(out, "  {}", shown(site));
        }
    }
    out
}
