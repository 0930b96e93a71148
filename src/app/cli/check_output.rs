//! Checks as text: failures and warnings, skipped checks, and the number of checks by status.

use super::{format::Volume, output::Output};
use crate::{
    app::report::{
        causes::{Cause, by_cause, subject},
        layout::{Align, aligned},
    },
    base::{
        error::{Error, Errors},
        untrusted::plain,
    },
    config::Config,
    core::checks::{Check, Status},
};

/// Prints failed checks and warnings; with `--verbose`, all checks.
pub(super) fn print_checks(checks: &[Check], config: &Config, output: &mut Output) {
    if output.volume >= Volume::Verbose {
        let rows: Vec<_> = checks.iter().map(row).collect();
        output.print(format!("\n{}", aligned(&[Align::Left; 4], &rows)));
    }
    output.print_causes(checks, config);
}

fn row(check: &Check) -> Vec<String> {
    // A passed check shows the statement that it proves; `repin explain` accepts the code of the others.
    let title = match check.status {
        Status::Pass => check.code.passed(),
        Status::Fail | Status::Warn | Status::Skip => check.code.as_str(),
    };
    vec![
        check.status.as_str().to_owned(),
        title.to_owned(),
        plain(&subject(check)),
        plain(&check.describe()),
    ]
}

/// Prints the skipped checks, so that an incomplete verification is visible, except those whose reason
/// is one of the `errors`. The table of a verbose run already contains them.
pub(super) fn print_skipped(checks: &[Check], errors: Option<&Errors>, output: &mut Output) {
    if output.volume >= Volume::Verbose {
        return;
    }
    let reasons: Vec<_> = errors.into_iter().flatten().map(Error::text).collect();
    for cause in by_cause(checks) {
        if cause.status() == Status::Skip && !reasons.contains(&cause.first().detail) {
            output.note(&format!("skip[{}]: {}", cause.code(), described(&cause)));
        }
    }
}

/// Rows for the skipped checks. Failures and warnings are on standard error.
pub(super) fn skip_rows(checks: &[Check]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for cause in by_cause(checks) {
        if cause.status() == Status::Skip {
            rows.push(vec![
                cause.status().as_str().to_owned(),
                cause.code().to_string(),
                described(&cause),
            ]);
        }
    }
    rows
}

fn described(cause: &Cause<'_>) -> String {
    let (subject, message) = (cause.subject(), cause.message());
    if subject.is_empty() {
        plain(&message)
    } else {
        plain(&format!("{subject}: {message}"))
    }
}

/// The number of checks by status, such as `1 failed, 3 passed`.
pub(super) fn tally<'c>(checks: impl Iterator<Item = &'c Check>) -> String {
    let statuses: Vec<_> = checks.map(|check| check.status).collect();
    let mut counts = Vec::new();
    for (status, word) in [
        (Status::Fail, "failed"),
        (Status::Warn, "warned"),
        (Status::Skip, "skipped"),
        (Status::Pass, "passed"),
    ] {
        let count = statuses.iter().filter(|other| **other == status).count();
        if count > 0 {
            counts.push(format!("{count} {word}"));
        }
    }
    counts.join(", ")
}
