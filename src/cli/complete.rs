//! Completions that know the repository: the images of `repin.yaml`, and the sets of git history.
//!
//! A shell asks for them with `REPIN_COMPLETE` (see `docs/completions.md`). Only local files and git
//! objects are read; where something is missing or malformed, nothing is proposed and nothing is
//! reported, because a command line is being typed.

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

/// The variable by which a shell asks.
const VARIABLE: &str = "REPIN_COMPLETE";

/// Answers a shell; `None` if none asks.
pub(super) fn answered(arguments: &[OsString], environment: &Environment) -> Option<ExitCode> {
    environment.filled(VARIABLE)?;
    let answered = CompleteEnv::with_factory(super::command)
        .var(VARIABLE)
        .try_complete(arguments, Some(environment.directory()));
    match answered {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        Err(error) => {
            // Nothing else can be told to a shell that cannot be answered.
            let _ = error.print();
            Some(ExitCode::from(2))
        }
    }
}

/// The images of the configuration.
pub(super) fn images(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(config) = configuration() else {
        return Vec::new();
    };
    let images = config.images.iter().map(|image| {
        let help = plain(&image.repository.to_string());
        CompletionCandidate::new(&image.name).help(Some(help.into()))
    });
    beginning(current, images)
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
    beginning(current, codes)
}

fn sets(current: &OsStr, wanted: fn(&HistoryEntry) -> bool) -> Vec<CompletionCandidate> {
    let mut seen = HashSet::new();
    let entries = history().unwrap_or_default();
    let candidates = entries
        .iter()
        .filter(|entry| wanted(entry))
        .filter_map(|entry| {
            let revision = entry.revision.as_ref()?;
            if !seen.insert(revision) {
                return None;
            }
            let help = plain(&format!("{} {}", dates::day(&entry.date), entry.subject));
            Some(CompletionCandidate::new(revision.as_str()).help(Some(help.into())))
        });
    let candidates: Vec<_> = candidates.collect();
    beginning(current, candidates.into_iter())
}

/// The sets on the line of `HEAD`, newest first: which branch counts may be for the remote to say,
/// and a completion asks no remote.
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

fn beginning(
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
