//! Dynamic completions: the images of `repin.yaml`, and the sets in git history.
//!
//! A shell requests them with `REPIN_COMPLETE` (see `docs/completions.md`). Only local files and git objects
//! are read. Errors are not reported, because the user is typing a command line.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    process::ExitCode,
};

use clap_complete::{CompleteEnv, CompletionCandidate};

use crate::{
    code::Code,
    config::{self, Config},
    git::Git,
    history::{History, HistoryEntry},
    report::dates,
    untrusted::plain,
    workflow::Environment,
};

/// The variable with which a shell requests completions.
const VARIABLE: &str = "REPIN_COMPLETE";

/// Prints completions if a shell requests them.
pub(super) fn print_completions(
    arguments: &[OsString],
    environment: &Environment,
) -> Option<ExitCode> {
    environment.filled(VARIABLE)?;
    let completed = CompleteEnv::with_factory(super::command)
        .var(VARIABLE)
        .try_complete(arguments, Some(environment.directory()));
    match completed {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        Err(error) => {
            // If standard error is closed too, the error cannot be reported.
            let _ = error.print();
            Some(ExitCode::from(2))
        }
    }
}

/// The configured images.
pub(super) fn images(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(config) = configuration() else {
        return Vec::new();
    };
    let images = config.images.iter().map(|image| {
        let help = plain(&image.repository.to_string());
        CompletionCandidate::new(&image.name).help(Some(help.into()))
    });
    with_prefix(current, images)
}

/// The sets that are available for rollback.
pub(super) fn rollbacks(current: &OsStr) -> Vec<CompletionCandidate> {
    sets(current, |entry| entry.can_roll_back)
}

/// The revisions of all sets.
pub(super) fn revisions(current: &OsStr) -> Vec<CompletionCandidate> {
    sets(current, |_| true)
}

/// The codes of checks and errors.
pub(super) fn codes(current: &OsStr) -> Vec<CompletionCandidate> {
    let codes = Code::all().map(|code| {
        CompletionCandidate::new(code.as_str()).help(Some(code.explanation().summary.into()))
    });
    with_prefix(current, codes)
}

fn sets(current: &OsStr, is_wanted: fn(&HistoryEntry) -> bool) -> Vec<CompletionCandidate> {
    let entries = history().unwrap_or_default();
    let (mut revisions, mut candidates) = (HashSet::new(), Vec::new());
    for entry in entries.iter().filter(|entry| is_wanted(entry)) {
        let Some(revision) = &entry.revision else {
            continue;
        };
        if revisions.insert(revision) {
            let help = plain(&format!("{} {}", dates::day(&entry.date), entry.subject));
            let candidate = CompletionCandidate::new(revision.as_str());
            candidates.push(candidate.help(Some(help.into())));
        }
    }
    with_prefix(current, candidates.into_iter())
}

/// The sets in the history of `HEAD`, newest first. The history of the default branch would require a
/// request to the remote.
fn history() -> Option<Vec<HistoryEntry>> {
    let config = configuration()?;
    let git = Git::open(&config.root).ok()?;
    let head = git.head().ok()?;
    Some(History::of_branch(&git, &config, head).ok()?.all_entries())
}

fn configuration() -> Option<Config> {
    let environment = super::environment().ok()?;
    let file = config::find(environment.directory())?;
    config::load(&file, config::FILE_NAME).ok()
}

fn with_prefix(
    current: &OsStr,
    candidates: impl Iterator<Item = CompletionCandidate>,
) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    candidates
        .filter(|candidate| {
            candidate
                .get_value()
                .to_string_lossy()
                .starts_with(&*current)
        })
        .collect()
}
