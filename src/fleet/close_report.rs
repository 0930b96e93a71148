//! `repin.fleet-close/1`: the outcome of closing a set's open pull requests in a fleet.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use crate::{
    code::Code,
    config::Operation,
    error::{Class, Error},
    report::{
        json::ErrorRow,
        layout::{Align, aligned},
    },
    text::words,
    untrusted::{markdown, plain},
};

words! {
    /// The outcome for a pull request, or for a repository without one.
    #[derive(PartialOrd, Ord)]
    pub(crate) enum CloseOutcome {
        /// A dry run would close the pull request.
        Open = "open",
        Closed = "closed",
        /// The repository has no open pull request of the set.
        None = "none",
        /// The branch contains a foreign commit.
        ForeignCommit = "foreign_commit",
        /// The request or the configuration was refused.
        Refused = "refused",
        /// The repository is missing or empty.
        Unconfigured = "unconfigured",
        Archived = "archived",
        /// The repository was renamed or transferred.
        Moved = "moved",
        /// The token needs another permission.
        Denied = "denied",
        /// The pull request could not be read or closed.
        Unavailable = "unavailable",
        /// An internal error occurred.
        Failed = "failed",
        /// The run stopped before it reached the repository.
        Pending = "pending",
    }
}

impl CloseOutcome {
    pub(crate) fn from_class(class: Class) -> Self {
        match class {
            Class::Limited => Self::Pending,
            Class::Unavailable | Class::WrongBytes | Class::MissingContent => Self::Unavailable,
            Class::Denied => Self::Denied,
            Class::Conflict => Self::ForeignCommit,
            Class::Failed | Class::Ambiguous | Class::Refused | Class::Input => Self::Refused,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct CloseDocument {
    pub schema: &'static str,
    pub revision: String,
    pub list_sha256: String,
    pub applied: bool,
    pub totals: BTreeMap<&'static str, usize>,
    pub repositories: Vec<CloseRow>,
}

/// A pull request, or a repository without one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CloseRow {
    pub repository: String,
    pub outcome: CloseOutcome,
    pub exit: u8,
    pub pull_request: Option<ClosedPull>,
    pub error: Option<ErrorRow>,
    #[serde(skip)]
    pub class: Option<Class>,
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
        outcome: CloseOutcome,
        pull_request: Option<ClosedPull>,
    ) -> Self {
        Self {
            repository: repository.to_owned(),
            outcome,
            exit: 0,
            pull_request,
            error: None,
            class: None,
        }
    }

    /// A row with an error that determines the outcome.
    pub(crate) fn failed(
        repository: &str,
        pull_request: Option<ClosedPull>,
        error: &Error,
    ) -> Self {
        let outcome = match error.code {
            Code::INTERNAL => CloseOutcome::Failed,
            _ => CloseOutcome::from_class(error.class),
        };
        Self::done(repository, outcome, pull_request).with_error(error)
    }

    /// Adds an error that needs action and determines the exit code.
    #[must_use]
    pub(crate) fn with_error(self, error: &Error) -> Self {
        Self {
            exit: error.class.exit_code(),
            class: Some(error.class),
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

    /// The worst class of the rows; `None` if no row needs action.
    pub(crate) fn class(&self) -> Option<Class> {
        self.repositories
            .iter()
            .filter_map(|row| row.class)
            .reduce(Class::worse)
    }

    pub(crate) fn count(&self, outcome: CloseOutcome) -> usize {
        self.totals.get(outcome.as_str()).copied().unwrap_or(0)
    }

    /// The rows that are printed: repositories without a pull request of the set are omitted.
    fn printed_rows(&self) -> impl Iterator<Item = &CloseRow> {
        self.repositories
            .iter()
            .filter(|row| row.outcome != CloseOutcome::None)
    }
}

/// A table of the pull requests, followed by the reason for each that was not closed.
pub(crate) fn close_table(document: &CloseDocument) -> String {
    let heading = ["REPOSITORY", "OUTCOME", "PULL REQUEST"].map(str::to_owned);
    let mut rows = vec![heading.to_vec()];
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
    text.push_str("| repository | outcome | pull request |\n| --- | --- | --- |\n");
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
