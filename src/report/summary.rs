//! The step summary of a check, in Markdown.

use std::fmt::Write as _;

use super::causes::by_cause;
use crate::{
    checks::{Check, Status},
    config::{Config, number},
    error::Error,
    pins::Found,
    untrusted::markdown,
};

/// What was checked, and every cause of what did not pass.
pub fn check(config: &Config, found: &Found, checks: &[Check], outages: &[Error]) -> String {
    let mut text = format!("## check: {}\n\n", markdown::inline(&config.name));
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let _ = writeln!(
        text,
        "{} of {} in {}: {} passed, {} failed, {} warned, {} skipped\n",
        number(found.pins().len(), "pin"),
        number(config.images.len(), "image"),
        number(found.files.len(), "file"),
        count(Status::Pass),
        count(Status::Fail),
        count(Status::Warn),
        count(Status::Skip),
    );
    for cause in by_cause(checks) {
        if cause.status() == Status::Pass {
            continue;
        }
        let subject = markdown::inline(&cause.subject());
        let _ = writeln!(
            text,
            "- {} {} {subject}: {}",
            cause.status().as_str(),
            markdown::code(cause.code().as_str()),
            markdown::code(&cause.message())
        );
        for evidence in cause.evidence() {
            let _ = writeln!(text, "  - {}", markdown::code(&evidence));
        }
        if let Some(help) = cause.help() {
            let _ = writeln!(text, "  - help: {}", markdown::inline(help));
        }
    }
    for error in outages {
        let _ = writeln!(
            text,
            "- error {}: {}",
            markdown::code(error.code.as_str()),
            markdown::code(&error.text())
        );
    }
    text
}
