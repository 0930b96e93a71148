//! The report of GitLab's widget for code quality, from the findings and errors of one run.
//!
//! GitLab compares the reports of both branches by their fingerprints, which do not depend on lines
//! (<https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format>).

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    github::with_help,
    json::ErrorRow,
    sarif::{Findings, Locate},
};
use crate::{base::error::Errors, config::FILE_NAME, core::checks::FileLocation};

/// A location in a file, as GitLab requires it.
fn location(path: &str, line: usize) -> Value {
    json!({ "path": path, "lines": { "begin": line } })
}

/// The issues of a run.
pub(crate) fn report(
    findings: &Findings,
    errors: Option<&Errors>,
    locate: &mut dyn Locate,
) -> Vec<Value> {
    let mut issues = Vec::new();
    for (finding, fingerprint) in findings.fingerprinted() {
        let written = finding.location();
        // Only a file outside of the repository has no location in the log.
        let at = match locate.in_root(written) {
            Some(found) => location(&found.path, found.line),
            None => location(&written.file, written.line),
        };
        let severity = match finding.level() {
            "error" => "major",
            "warning" => "minor",
            _ => "info",
        };
        issues.push(json!({
            "description": finding.message(), "check_name": finding.rule(),
            "fingerprint": fingerprint, "severity": severity, "location": at,
        }));
    }
    for error in errors.into_iter().flatten() {
        let row = ErrorRow::of(error);
        let located = error.location.as_ref().and_then(|location| {
            let (line, column) = location.line_column();
            let file = location.source.name.clone();
            locate.of_error(&FileLocation { file, line, column })
        });
        let key = format!("{}\0{}", row.code, row.message);
        // GitLab requires a path.
        let at = located.map_or_else(
            || location(FILE_NAME, 1),
            |found| location(&found.path, found.line),
        );
        issues.push(json!({
            "description": with_help(&row.message, row.hint.as_deref()),
            "check_name": row.code, "fingerprint": hex::encode(Sha256::digest(key)),
            "severity": "critical", "location": at,
        }));
    }
    issues
}
