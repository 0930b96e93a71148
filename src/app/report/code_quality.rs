//! The report of GitLab's widget for code quality, from the findings and errors of one run.
//!
//! GitLab compares the reports of both branches by their fingerprints, which do not depend on lines
//! (<https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format>).

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    github::with_help,
    json::ErrorRow,
    sarif::{Findings, Locate},
};
use crate::{base::error::Errors, config::FILE_NAME, core::checks::FileLocation};

#[derive(Debug, Serialize)]
pub(crate) struct Issue {
    description: String,
    check_name: String,
    fingerprint: String,
    severity: &'static str,
    location: IssueLocation,
}

#[derive(Debug, Serialize)]
struct IssueLocation {
    path: String,
    lines: Lines,
}

#[derive(Debug, Serialize)]
struct Lines {
    begin: usize,
}

impl IssueLocation {
    fn new(path: &str, line: usize) -> Self {
        Self {
            path: path.to_owned(),
            lines: Lines { begin: line },
        }
    }
}

/// The issues of a run.
pub(crate) fn report(
    findings: &Findings,
    errors: Option<&Errors>,
    locate: &mut dyn Locate,
) -> Vec<Issue> {
    let mut issues = Vec::new();
    for (finding, fingerprint) in findings.fingerprinted() {
        let place = finding.place();
        // Only a place outside of the repository has no location.
        let location = match locate.in_root(place) {
            Some(found) => IssueLocation::new(&found.path, found.line),
            None => IssueLocation::new(&place.file, place.line),
        };
        issues.push(Issue {
            description: finding.message().to_owned(),
            check_name: finding.rule().to_owned(),
            fingerprint,
            severity: match finding.level() {
                "error" => "major",
                "warning" => "minor",
                _ => "info",
            },
            location,
        });
    }
    for error in errors.into_iter().flatten() {
        let row = ErrorRow::of(error);
        let place = error.place.as_ref().and_then(|place| {
            let (line, column) = place.line_column();
            let file = place.source.name.clone();
            locate.of_error(&FileLocation { file, line, column })
        });
        let key = format!("{}\0{}", row.code, row.message);
        issues.push(Issue {
            description: with_help(&row.message, row.hint.as_deref()),
            check_name: row.code.clone(),
            fingerprint: hex::encode(Sha256::digest(key)),
            severity: "critical",
            // GitLab requires a path.
            location: place.map_or_else(
                || IssueLocation::new(FILE_NAME, 1),
                |found| IssueLocation::new(&found.path, found.line),
            ),
        });
    }
    issues
}
