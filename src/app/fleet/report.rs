//! `repin.fleet-close/1`: the outcome of closing a set's open pull requests in a fleet.
//!
//! `repin.fleet/1`: the merged reports of a fleet's shards.
//!
//! The last line about a repository counts, in the order of the files and lines. A pending outcome
//! never replaces another one. Lines of another list, set or revision are refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Serialize;

use super::{
    list::{FleetList, key},
    report_line::{FleetLine, FleetOutcome, FleetRow, ShardRun, class_of},
};
use crate::{
    app::report::{
        json::ErrorRow,
        layout::{Align, aligned},
    },
    base::{
        error::{Class, Code, Error, Errors},
        untrusted::{markdown, plain},
    },
    config::Operation,
    forge::Words,
};

#[derive(Debug, Serialize)]
pub(crate) struct CloseDocument {
    pub schema: &'static str,
    pub revision: String,
    pub list_sha256: String,
    pub applied: bool,
    pub totals: BTreeMap<&'static str, usize>,
    pub repositories: Vec<CloseRow>,
    /// The words of the forge, for texts.
    #[serde(skip)]
    pub words: Words,
}

/// A pull request, or a repository without one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CloseRow {
    pub repository: String,
    pub outcome: FleetOutcome,
    pub exit: u8,
    pub pull_request: Option<ClosedPull>,
    pub error: Option<ErrorRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ClosedPull {
    pub number: u64,
    pub url: String,
    pub kind: Operation,
}

impl CloseRow {
    /// A row that needs no action.
    pub(crate) fn done(
        repository: &str,
        outcome: FleetOutcome,
        pull_request: Option<ClosedPull>,
    ) -> Self {
        Self {
            repository: repository.to_owned(),
            outcome,
            exit: 0,
            pull_request,
            error: None,
        }
    }

    /// A row with an error that determines the outcome.
    pub(crate) fn failed(
        repository: &str,
        pull_request: Option<ClosedPull>,
        error: &Error,
    ) -> Self {
        let outcome = FleetOutcome::from_failure(&error.into());
        Self::done(repository, outcome, pull_request).with_error(error)
    }

    /// Adds an error that needs action and determines the exit code.
    #[must_use]
    pub(crate) fn with_error(self, error: &Error) -> Self {
        Self {
            exit: error.class.exit_code(),
            ..self.with_note(error)
        }
    }

    /// Adds an error that needs no action.
    #[must_use]
    pub(crate) fn with_note(self, error: &Error) -> Self {
        Self {
            error: Some(ErrorRow::of(error)),
            ..self
        }
    }
}

impl CloseDocument {
    /// `repositories` are in the order of the list.
    pub(crate) fn new(
        revision: String,
        list_sha256: String,
        applied: bool,
        repositories: Vec<CloseRow>,
        words: Words,
    ) -> Self {
        let outcomes = repositories.iter().map(|row| row.outcome);
        Self {
            schema: "repin.fleet-close/1",
            revision,
            list_sha256,
            applied,
            totals: FleetOutcome::totals(|outcome| !outcome.is_of_promotion(), outcomes),
            repositories,
            words,
        }
    }

    /// The worst class of the rows; `None` if no row needs action.
    pub(crate) fn class(&self) -> Option<Class> {
        self.repositories
            .iter()
            .filter_map(|row| class_of(row.exit))
            .reduce(Class::worse)
    }

    pub(crate) fn count(&self, outcome: FleetOutcome) -> usize {
        self.totals.get(outcome.as_str()).copied().unwrap_or(0)
    }

    /// The rows that are printed: repositories without a pull request of the set are omitted.
    fn printed_rows(&self) -> impl Iterator<Item = &CloseRow> {
        self.repositories
            .iter()
            .filter(|row| row.outcome != FleetOutcome::None)
    }
}

/// A table of the pull requests, followed by the reason for each that was not closed.
pub(crate) fn close_table(document: &CloseDocument) -> String {
    let title = document.words.pull_request.to_uppercase();
    let mut rows = vec![vec!["REPOSITORY".to_owned(), "OUTCOME".to_owned(), title]];
    for row in document.printed_rows() {
        let pull = row.pull_request.as_ref();
        let url = pull.map_or_else(String::new, |pull| plain(&pull.url));
        rows.push(vec![
            plain(&row.repository),
            row.outcome.as_str().to_owned(),
            url,
        ]);
    }
    if rows.len() == 1 {
        return String::new();
    }
    let mut text = aligned(&[Align::Left; 3], &rows);
    for row in document.printed_rows() {
        let Some(error) = &row.error else { continue };
        let (repository, message) = (plain(&row.repository), plain(&error.message));
        let _ = write!(text, "\n{repository}: {message}\n");
        if let Some(hint) = &error.hint {
            let _ = writeln!(text, "  help: {}", plain(hint));
        }
    }
    text
}

/// The step summary, in Markdown.
pub(crate) fn close_summary(document: &CloseDocument) -> String {
    let revision = markdown::code(&document.revision);
    let mut text = format!("## fleet close: {revision}\n\n");
    let title = document.words.pull_request;
    let _ = writeln!(
        text,
        "| repository | outcome | {title} |\n| --- | --- | --- |"
    );
    for row in document.printed_rows() {
        let pull = row.pull_request.as_ref();
        let url = pull.map_or_else(String::new, |pull| markdown::inline(&pull.url));
        let (repository, outcome) = (markdown::inline(&row.repository), row.outcome.as_str());
        let _ = writeln!(text, "| {repository} | {outcome} | {url} |");
    }
    for row in document.printed_rows() {
        let Some(error) = &row.error else { continue };
        let (repository, message) = (&row.repository, markdown::code(&error.message));
        let _ = write!(text, "\n- {}: {message}", markdown::inline(repository));
    }
    text.push('\n');
    text
}

#[derive(Debug, Serialize)]
pub(crate) struct FleetDocument {
    pub schema: &'static str,
    pub revision: Option<String>,
    pub list_sha256: Option<String>,
    pub set_sha256: Option<String>,
    pub shards: ShardsRow,
    pub totals: BTreeMap<&'static str, usize>,
    pub repositories: Vec<FleetRow>,
    pub missing: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ShardsRow {
    pub expected: Option<u64>,
    pub seen: Vec<u64>,
}

/// Merges reports of shards.
#[derive(Debug)]
pub(crate) struct Merger<'l> {
    list: Option<&'l FleetList>,
    run: Option<RunIdentity>,
    rows: BTreeMap<String, FleetRow>,
    /// The number of shards according to the last line.
    expected: Option<u64>,
    /// The shards with a line, each with the number of shards according to that line.
    seen: BTreeSet<(u64, u64)>,
    problems: Vec<Error>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// The values that all lines of a run share.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RunIdentity {
    revision: String,
    list_sha256: String,
    set_sha256: Option<String>,
}

impl<'l> Merger<'l> {
    /// Without a list, the report covers the repositories that have a line.
    pub(crate) fn new(list: Option<&'l FleetList>) -> Self {
        Self {
            list,
            run: None,
            rows: BTreeMap::new(),
            expected: None,
            seen: BTreeSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Parses the report in the file `name`, up to its first problem.
    pub(crate) fn read(&mut self, name: &str, content: &[u8]) {
        let lines = content.split_inclusive(|byte| *byte == b'\n');
        for (index, line) in lines.enumerate() {
            let is_complete = line.ends_with(b"\n");
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let added = match FleetLine::parse(text) {
                Ok(line) => self.add(line),
                Err(_) if !is_complete => {
                    let warning = format!("{name}: the last line is truncated and was ignored");
                    self.warnings.push(warning);
                    Ok(())
                }
                Err(reason) => Err(reason),
            };
            if let Err(reason) = added {
                let message = format!("{name}:{}: {reason}", index + 1);
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
            first.check_same(&run)?;
        } else {
            self.check_list(&run)?;
            self.run = Some(run);
        }
        let key = key(&line.row.repository);
        if self.list.is_some_and(|list| !list.contains(&key)) {
            return Err(format!("{} is not in the list", line.row.repository));
        }
        self.expected = Some(line.shards);
        self.seen.insert((line.row.shard, line.shards));
        let is_pending = |row: &FleetRow| row.report.outcome == FleetOutcome::Pending;
        if !is_pending(&line.row) || self.rows.get(&key).is_none_or(is_pending) {
            self.rows.insert(key, line.row);
        }
        Ok(())
    }

    /// Checks that a run belongs to the given list.
    fn check_list(&self, run: &RunIdentity) -> Result<(), String> {
        match self.list.map(|list| list.sha256.hex()) {
            Some(list) if list != run.list_sha256 => Err(format!(
                "the line is about another list: list_sha256 is {}, that of --list is {list}",
                run.list_sha256
            )),
            _ => Ok(()),
        }
    }

    /// Returns the merged report, in the order of the list; without a list, ordered by name.
    pub(crate) fn finish(mut self) -> Result<FleetDocument, Errors> {
        if !self.problems.is_empty() {
            return Err(self.problems.into());
        }
        let mut missing = None;
        let mut repositories = Vec::new();
        if let Some(list) = self.list {
            let mut without_line = Vec::new();
            for entry in &list.entries {
                match self.rows.remove(&entry.key()) {
                    Some(row) => repositories.push(row),
                    None => without_line.push(entry.repository.clone()),
                }
            }
            missing = Some(without_line);
        } else {
            repositories.extend(self.rows.into_values());
        }
        let seen = self
            .seen
            .iter()
            .filter(|(_, shards)| Some(*shards) == self.expected)
            .map(|(shard, _)| *shard);
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
                seen: seen.collect(),
            },
            totals: totals(&repositories),
            repositories,
            missing,
        })
    }
}

impl RunIdentity {
    fn check_same(&self, other: &Self) -> Result<(), String> {
        let set = |run: &Self| run.set_sha256.clone().unwrap_or_else(|| "none".to_owned());
        let (set, other_set) = (set(self), set(other));
        let pairs = [
            ("revision", &self.revision, &other.revision),
            ("list_sha256", &self.list_sha256, &other.list_sha256),
            ("set_sha256", &set, &other_set),
        ];
        for (key, first, this) in pairs {
            if first != this {
                return Err(format!(
                    "the line is of another run: `{key}` is {this}, in the lines before it is {first}"
                ));
            }
        }
        Ok(())
    }
}

impl FleetDocument {
    /// The report of one shard: the repositories that it covers.
    pub(crate) fn from_shard(run: &ShardRun, repositories: Vec<FleetRow>) -> Self {
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

    /// The worst class of the rows; `None` if nothing needs action.
    pub(crate) fn class(&self) -> Option<Class> {
        let rows = self.repositories.iter();
        let failures = rows.filter_map(|row| class_of(row.report.exit));
        let missing = self.is_incomplete().then_some(Class::Unavailable);
        failures.chain(missing).reduce(Class::worse)
    }

    /// Whether a repository has no line or, without a list, whether a shard has no line.
    pub(crate) fn is_incomplete(&self) -> bool {
        match &self.missing {
            Some(missing) => !missing.is_empty(),
            None => self.shards.expected.is_none() || !self.unseen().is_empty(),
        }
    }

    /// The shards without a line.
    pub(crate) fn unseen(&self) -> Vec<u64> {
        let seen: BTreeSet<_> = self.shards.seen.iter().copied().collect();
        // The number is bounded because a line may claim any number of shards.
        (0..self.shards.expected.unwrap_or_default())
            .filter(|shard| !seen.contains(shard))
            .take(MAX_UNSEEN)
            .collect()
    }

    /// The repositories that need another run, as a list: those that failed, and those without a line.
    pub(crate) fn failed(&self, list: Option<&FleetList>) -> String {
        let rows = self.repositories.iter().filter(|row| row.report.exit != 0);
        let failed = rows.map(|row| &row.repository);
        let Some(list) = list else {
            return failed.flat_map(|name| [name.as_str(), "\n"]).collect();
        };
        let missing = self.missing.iter().flatten();
        let keys: BTreeSet<String> = failed.chain(missing).map(|name| key(name)).collect();
        let mut text = String::new();
        for entry in &list.entries {
            if keys.contains(&entry.key()) {
                text += &(entry.line() + "\n");
            }
        }
        text
    }
}

const SCHEMA: &str = "repin.fleet/1";

/// The number of repositories with each outcome.
fn totals(repositories: &[FleetRow]) -> BTreeMap<&'static str, usize> {
    let outcomes = repositories.iter().map(|row| row.report.outcome);
    FleetOutcome::totals(|outcome| !outcome.is_of_closing(), outcomes)
}

/// The maximum number of shards without a line that are listed.
const MAX_UNSEEN: usize = 20;
