//! The reports of shards, merged: which repository has which outcome, and what is missing.
//!
//! Of several lines about one repository the last counts, in the order of the files and within each,
//! but a repository that was not begun never replaces one that was. Lines of another list, set or
//! revision are refused.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    line::{FleetLine, FleetOutcome, FleetRow, ShardRun},
    list::{FleetList, key},
};
use crate::{
    code::Code,
    error::{Class, Error, Errors},
};

/// `repin.fleet/1`: what became of a fleet.
#[derive(Debug, Serialize)]
pub struct FleetDocument {
    pub schema: &'static str,
    pub revision: Option<String>,
    pub list_sha256: Option<String>,
    pub set_sha256: Option<String>,
    pub shards: ShardsRow,
    pub totals: BTreeMap<&'static str, usize>,
    pub repositories: Vec<FleetRow>,
    pub missing: Option<Vec<String>>,
}

/// The shards of a fleet.
#[derive(Debug, Serialize)]
pub struct ShardsRow {
    pub expected: Option<u64>,
    pub seen: Vec<u64>,
}

/// The reports read so far.
#[derive(Debug)]
pub struct Merger<'l> {
    list: Option<&'l FleetList>,
    run: Option<RunIdentity>,
    rows: BTreeMap<String, FleetRow>,
    /// How many shards the last line says that there are.
    expected: Option<u64>,
    /// The shards with a line, and how many each said that there are.
    seen: BTreeSet<(u64, u64)>,
    problems: Vec<Error>,
    /// What the reader of the report should know.
    pub notes: Vec<String>,
}

/// What all lines of a run have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RunIdentity {
    revision: String,
    list_sha256: String,
    set_sha256: Option<String>,
}

impl<'l> Merger<'l> {
    /// Begins a report about the repositories of a list, or about those that have lines.
    pub fn new(list: Option<&'l FleetList>) -> Self {
        Self {
            list,
            run: None,
            rows: BTreeMap::new(),
            expected: None,
            seen: BTreeSet::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Reads the report `content` of the file `name`, up to its first problem.
    pub fn read(&mut self, name: &str, content: &[u8]) {
        let lines = content.split_inclusive(|byte| *byte == b'\n');
        for (at, line) in lines.enumerate() {
            let whole = line.ends_with(b"\n");
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let read = match FleetLine::parse(text) {
                Ok(read) => self.add(read),
                Err(_) if !whole => {
                    let note = format!("{name}: the last line is cut off and was left out");
                    self.notes.push(note);
                    Ok(())
                }
                Err(reason) => Err(reason),
            };
            if let Err(reason) = read {
                let message = format!("{name}:{}: {reason}", at + 1);
                self.problems
                    .push(Error::input(Code::FLEET_REPORT, message));
                return;
            }
        }
    }

    fn add(&mut self, line: FleetLine) -> Result<(), String> {
        let run = RunIdentity {
            revision: line.revision,
            list_sha256: line.list_sha256,
            set_sha256: line.set_sha256,
        };
        if let Some(first) = &self.run {
            first.same(&run)?;
        } else {
            self.of_list(&run)?;
            self.run = Some(run);
        }
        let key = key(&line.row.repository);
        if self.list.is_some_and(|list| !list.has(&key)) {
            return Err(format!("{} is not in the list", line.row.repository));
        }
        self.expected = Some(line.shards);
        self.seen.insert((line.row.shard, line.shards));
        let begun = |row: &FleetRow| row.outcome != FleetOutcome::Pending;
        match self.rows.get(&key) {
            Some(former) if begun(former) && !begun(&line.row) => {}
            _ => drop(self.rows.insert(key, line.row)),
        }
        Ok(())
    }

    /// Checks that a run is about the given list.
    fn of_list(&self, run: &RunIdentity) -> Result<(), String> {
        match self.list.map(|list| list.sha256.hex()) {
            Some(list) if list != run.list_sha256 => Err(format!(
                "the line is about another list: list_sha256 is {}, that of --list is {list}",
                run.list_sha256
            )),
            _ => Ok(()),
        }
    }

    /// The merged report: every repository in the order of the list, or of their names.
    pub fn finish(mut self) -> Result<FleetDocument, Errors> {
        if !self.problems.is_empty() {
            return Err(self.problems.into());
        }
        let mut missing = None;
        let mut repositories = Vec::new();
        if let Some(list) = self.list {
            let mut without = Vec::new();
            for entry in &list.entries {
                match self.rows.remove(&entry.key()) {
                    Some(row) => repositories.push(row),
                    None => without.push(entry.repository.clone()),
                }
            }
            missing = Some(without);
        } else {
            repositories.extend(self.rows.into_values());
        }
        let seen = self.seen.iter();
        let seen = seen.filter(|(_, shards)| Some(*shards) == self.expected);
        let (revision, list_sha256, set_sha256) = match self.run {
            Some(run) => (Some(run.revision), Some(run.list_sha256), run.set_sha256),
            None => (None, self.list.map(|list| list.sha256.hex()), None),
        };
        Ok(FleetDocument {
            schema: SCHEMA,
            revision,
            list_sha256,
            set_sha256,
            shards: ShardsRow {
                expected: self.expected,
                seen: seen.map(|(shard, _)| *shard).collect(),
            },
            totals: totals(&repositories),
            repositories,
            missing,
        })
    }
}

impl RunIdentity {
    fn same(&self, other: &Self) -> Result<(), String> {
        let none = || "none".to_owned();
        let [set, other_set] = [self, other].map(|run| run.set_sha256.clone().unwrap_or_else(none));
        let pairs = [
            ("revision", &self.revision, &other.revision),
            ("list_sha256", &self.list_sha256, &other.list_sha256),
            ("set_sha256", &set, &other_set),
        ];
        match pairs.iter().find(|(_, first, this)| first != this) {
            Some((what, first, this)) => Err(format!(
                "the line is of another run: `{what}` is {this}, in the lines before it is {first}"
            )),
            None => Ok(()),
        }
    }
}

impl FleetDocument {
    /// The report of one shard by itself: the repositories that it was to work on.
    pub fn of_shard(run: &ShardRun, repositories: Vec<FleetRow>) -> Self {
        Self {
            schema: SCHEMA,
            revision: Some(run.revision.clone()),
            list_sha256: Some(run.list_sha256.clone()),
            set_sha256: run.set_sha256.clone(),
            shards: ShardsRow {
                expected: Some(run.shards),
                seen: vec![run.shard],
            },
            totals: totals(&repositories),
            repositories,
            missing: Some(Vec::new()),
        }
    }

    /// Who must act; `None`: nobody.
    pub fn class(&self) -> Option<Class> {
        let rows = self.repositories.iter().filter_map(FleetRow::class);
        let missing = self.is_incomplete().then_some(Class::Unavailable);
        rows.chain(missing).reduce(Class::worse)
    }

    /// Whether a repository has no line; without a list, whether a shard has none.
    pub fn is_incomplete(&self) -> bool {
        match &self.missing {
            Some(missing) => !missing.is_empty(),
            None => self.shards.expected.is_none() || !self.unseen().is_empty(),
        }
    }

    /// The shards without a line.
    pub fn unseen(&self) -> Vec<u64> {
        let seen: BTreeSet<_> = self.shards.seen.iter().copied().collect();
        let all = 0..self.shards.expected.unwrap_or_default();
        // A line may claim any number of shards.
        let unseen = all.filter(|shard| !seen.contains(shard));
        unseen.take(UNSEEN_SHOWN).collect()
    }

    /// The repositories that need another run, as a list: those that somebody must act on, and those
    /// without a line.
    pub fn failed(&self, list: Option<&FleetList>) -> String {
        let failed = self.repositories.iter().filter(|row| row.exit != 0);
        let failed = failed.map(|row| &row.repository);
        let Some(list) = list else {
            return failed.flat_map(|name| [name.as_str(), "\n"]).collect();
        };
        let missing = self.missing.iter().flatten();
        let open: BTreeSet<String> = failed.chain(missing).map(|name| key(name)).collect();
        let entries = list.entries.iter();
        let open = entries.filter(|entry| open.contains(&entry.key()));
        open.map(|entry| entry.line() + "\n").collect()
    }
}

/// The schema of the document.
const SCHEMA: &str = "repin.fleet/1";

/// How many repositories have each outcome.
fn totals(repositories: &[FleetRow]) -> BTreeMap<&'static str, usize> {
    let mut totals: BTreeMap<_, _> = FleetOutcome::ALL.map(|each| (each.as_str(), 0)).into();
    for row in repositories {
        *totals.entry(row.outcome.as_str()).or_default() += 1;
    }
    totals
}

/// The most shards without a line that are counted.
const UNSEEN_SHOWN: usize = 20;
