//! `repin.fleet-close/1`: what became of the open pull requests of a set.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use crate::{
    code::Code,
    config::Operation,
    error::{Class, Error},
    report::{
        json::ErrorRow,
        table::{Align, aligned},
    },
    untrusted::{markdown, plain},
};

/// What became of a pull request, or of a repository without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseOutcome {
    /// It would be closed.
    Open,
    /// It was closed.
    Closed,
    /// The repository has no open pull request of the set.
    None,
    /// Somebody else committed to its branch.
    ForeignCommit,
    /// The request or the configuration was refused.
    Refused,
    /// The repository is missing or empty.
    Unconfigured,
    /// The repository is archived.
    Archived,
    /// The repository has another name now.
    Moved,
    /// The token may not do what is needed.
    Denied,
    /// It could not be read or closed.
    Unavailable,
    /// An internal error stopped the work on it.
    Failed,
    /// It was not begun.
    Pending,
}

impl CloseOutcome {
    /// Every outcome, in the order of tables.
    pub const ALL: [Self; 12] = [
        Self::Open,
        Self::Closed,
        Self::None,
        Self::ForeignCommit,
        Self::Refused,
        Self::Unconfigured,
        Self::Archived,
        Self::Moved,
        Self::Denied,
        Self::Unavailable,
        Self::Failed,
        Self::Pending,
    ];

    /// The word of the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::None => "none",
            Self::ForeignCommit => "foreign_commit",
            Self::Refused => "refused",
            Self::Unconfigured => "unconfigured",
            Self::Archived => "archived",
            Self::Moved => "moved",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }

    /// What an error of this class means.
    pub fn of(class: Class) -> Self {
        match class {
            Class::Limited => Self::Pending,
            Class::Unavailable => Self::Unavailable,
            Class::Denied => Self::Denied,
            Class::Conflict => Self::ForeignCommit,
            Class::Failed | Class::Ambiguous | Class::Refused | Class::Input => Self::Refused,
        }
    }
}

/// `repin.fleet-close/1`.
#[derive(Debug, Serialize)]
pub struct CloseDocument {
    pub schema: &'static str,
    pub revision: String,
    pub list_sha256: String,
    pub applied: bool,
    pub totals: BTreeMap<&'static str, usize>,
    pub repositories: Vec<CloseRow>,
}

/// A pull request, or a repository without one.
#[derive(Debug, Clone, Serialize)]
pub struct CloseRow {
    pub repository: String,
    pub outcome: CloseOutcome,
    pub exit: u8,
    pub pull_request: Option<ClosedPull>,
    pub error: Option<ErrorRow>,
    #[serde(skip)]
    pub class: Option<Class>,
}

/// The pull request of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClosedPull {
    pub number: u64,
    pub url: String,
    /// The operation that it belongs to.
    pub kind: Operation,
}

impl CloseRow {
    /// A row that nobody must act on.
    pub fn done(repository: &str, outcome: CloseOutcome, pull_request: Option<ClosedPull>) -> Self {
        Self {
            repository: repository.to_owned(),
            outcome,
            exit: 0,
            pull_request,
            error: None,
            class: None,
        }
    }

    /// A row whose error decides what became of it.
    pub fn failed(repository: &str, pull_request: Option<ClosedPull>, error: &Error) -> Self {
        let outcome = match error.code {
            Code::INTERNAL => CloseOutcome::Failed,
            _ => CloseOutcome::of(error.class),
        };
        Self::done(repository, outcome, pull_request).because(error)
    }

    /// The same with an error that somebody must act on.
    #[must_use]
    pub fn because(self, error: &Error) -> Self {
        Self {
            exit: error.class.exit_code(),
            class: Some(error.class),
            ..self.noting(error)
        }
    }

    /// The same with an error that nobody must act on.
    #[must_use]
    pub fn noting(self, error: &Error) -> Self {
        Self {
            error: Some(ErrorRow::of(error)),
            ..self
        }
    }
}

impl CloseDocument {
    /// The document of these rows, in the order of the list.
    pub fn new(
        revision: String,
        list_sha256: String,
        applied: bool,
        repositories: Vec<CloseRow>,
    ) -> Self {
        let mut totals: BTreeMap<_, _> = CloseOutcome::ALL.map(|each| (each.as_str(), 0)).into();
        for row in &repositories {
            *totals.entry(row.outcome.as_str()).or_default() += 1;
        }
        Self {
            schema: "repin.fleet-close/1",
            revision,
            list_sha256,
            applied,
            totals,
            repositories,
        }
    }

    /// Who must act; `None`: nobody.
    pub fn class(&self) -> Option<Class> {
        let rows = self.repositories.iter().filter_map(|row| row.class);
        rows.reduce(Class::worse)
    }

    /// How many rows have this outcome.
    pub fn count(&self, outcome: CloseOutcome) -> usize {
        self.totals.get(outcome.as_str()).copied().unwrap_or(0)
    }

    /// The rows with something to show, all but repositories without a pull request of the set.
    fn shown(&self) -> impl Iterator<Item = &CloseRow> {
        let rows = self.repositories.iter();
        rows.filter(|row| row.outcome != CloseOutcome::None)
    }
}

/// The pull requests, and the reason for each that was left alone.
pub fn close_table(document: &CloseDocument) -> String {
    let heading = ["REPOSITORY", "OUTCOME", "PULL REQUEST"].map(str::to_owned);
    let mut rows = vec![heading.to_vec()];
    rows.extend(document.shown().map(|row| {
        let pull = row.pull_request.as_ref();
        let url = pull.map_or_else(String::new, |pull| plain(&pull.url));
        vec![plain(&row.repository), row.outcome.as_str().to_owned(), url]
    }));
    if rows.len() == 1 {
        return String::new();
    }
    let mut text = aligned(&[Align::Left; 3], &rows);
    for row in document.shown() {
        let Some(error) = &row.error else { continue };
        let (repository, message) = (plain(&row.repository), plain(&error.message));
        let _ = write!(text, "\n{repository}: {message}\n");
        if let Some(hint) = &error.hint {
            let _ = writeln!(text, "  help: {}", plain(hint));
        }
    }
    text
}

/// The same in Markdown, for a step summary.
pub fn close_summary(document: &CloseDocument) -> String {
    let revision = markdown::code(&document.revision);
    let mut text = format!("## fleet close: {revision}\n\n");
    text.push_str("| repository | outcome | pull request |\n| --- | --- | --- |\n");
    for row in document.shown() {
        let pull = row.pull_request.as_ref();
        let url = pull.map_or_else(String::new, |pull| markdown::inline(&pull.url));
        let (repository, outcome) = (markdown::inline(&row.repository), row.outcome.as_str());
        let _ = writeln!(text, "| {repository} | {outcome} | {url} |");
    }
    let failed = document
        .shown()
        .filter_map(|row| Some((row, row.error.as_ref()?)));
    for (row, error) in failed {
        let (repository, message) = (&row.repository, markdown::code(&error.message));
        let _ = write!(text, "\n- {}: {message}", markdown::inline(repository));
    }
    text.push('\n');
    text
}
