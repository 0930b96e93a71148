//! `repin.fleet-close/1`: the outcome of closing a set's open pull requests in a fleet.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::report_line::FleetOutcome;
use crate::{
    app::report::{
        json::ErrorRow,
        layout::{Align, aligned},
    },
    base::{
        error::{Class, Error},
        untrusted::{markdown, plain},
    },
    config::Operation,
};

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
    pub outcome: FleetOutcome,
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
        outcome: FleetOutcome,
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
        let outcome = FleetOutcome::of_failure(&error.into());
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
        let outcomes = repositories.iter().map(|row| row.outcome);
        Self {
            schema: "repin.fleet-close/1",
            revision,
            list_sha256,
            applied,
            totals: FleetOutcome::totals(|outcome| !outcome.is_of_promotion(), outcomes),
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
