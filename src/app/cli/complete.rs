//! Dynamic completions: the images of `repin.yaml`, the sets in git history, and the builds in the registry.
//!
//! A shell requests them with `REPIN_COMPLETE` (see `docs/install.md`). Only the builds require requests,
//! for which a shell waits for a limited time. Errors are not reported, because the user is typing a command
//! line.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use clap::error::ErrorKind;
use clap_complete::{CompleteEnv, CompletionCandidate};

use crate::{
    app::pull_request::NoteListener,
    app::report::{layout::local, words::WORDS},
    app::workflow::{
        Console, Environment, Interruption, Progress, Services, builds::listed_revisions,
    },
    base::{error::Code, http::PauseListener, untrusted::plain},
    config::{self, Config},
    core::history::{EntryState, History, HistoryEntry},
    git::Git,
};

/// The variable with which a shell requests completions.
const VARIABLE: &str = "REPIN_COMPLETE";

/// The maximum time for listing the builds in the registry.
const BUILDS_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum number of builds that are offered.
const MAX_BUILDS: usize = 50;

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
            let is_unwritable = error.kind() == ErrorKind::Io;
            Some(ExitCode::from(if is_unwritable { 3 } else { 2 }))
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

/// The sets that are available for rollback and not held.
pub(super) fn rollbacks(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(history) = history() else {
        return Vec::new();
    };
    let mut entries = history.all_entries();
    entries.retain(|entry| history.state(entry) == EntryState::Available);
    let mut candidates = sets(&entries);
    if !candidates.is_empty() {
        let previous = CompletionCandidate::new("previous");
        let help = "the newest available set before the current one";
        candidates.insert(0, previous.help(Some(help.into())));
    }
    with_prefix(current, candidates.into_iter())
}

/// The revisions of all sets.
pub(super) fn revisions(current: &OsStr) -> Vec<CompletionCandidate> {
    let entries = history().map(|history| history.all_entries());
    with_prefix(current, sets(&entries.unwrap_or_default()).into_iter())
}

/// The builds in the registry that are listed in time, newest first, and the revisions of all sets.
pub(super) fn builds(current: &OsStr) -> Vec<CompletionCandidate> {
    let (sender, receiver) = mpsc::channel();
    // The process ends after the completions are printed, even if a registry is slow.
    thread::spawn(move || sender.send(builds_in_registry().unwrap_or_default()));
    let mut candidates =
        vec![CompletionCandidate::new("newest").help(Some("the newest build".into()))];
    let sets = revisions(current);
    for (revision, help) in receiver.recv_timeout(BUILDS_TIMEOUT).unwrap_or_default() {
        let candidate = CompletionCandidate::new(revision);
        candidates.push(candidate.help(Some(plain(&help).into())));
    }
    let known: HashSet<OsString> = candidates
        .iter()
        .map(|known| known.get_value().to_owned())
        .collect();
    candidates.extend(
        sets.into_iter()
            .filter(|set| !known.contains(set.get_value())),
    );
    with_prefix(current, candidates.into_iter())
}

/// The revisions in the registry with the number of their images.
fn builds_in_registry() -> Option<Vec<(String, String)>> {
    let config = configuration()?;
    let environment = super::environment().ok()?;
    let interruption = Arc::new(Interruption::new(Box::new(|_| ())));
    let services = Services::new(environment, Vec::new(), Box::new(Silence), interruption).ok()?;
    let git = Git::open(&config.root).ok();
    let builds = listed_revisions(&config, git.as_ref(), &services).ok()?;
    let total = config.images.len();
    let offered = builds.into_iter().take(MAX_BUILDS);
    Some(
        offered
            .map(|(revision, images)| (revision, format!("{images} of {total} images")))
            .collect(),
    )
}

/// Discards every message.
pub(crate) struct Silence;

impl Console for Silence {
    fn note(&self, _: &str) {}

    fn warn(&self, _: &str) {}

    fn progress(&self, _: &str) -> Option<Box<dyn Progress>> {
        None
    }

    fn pause_listener(&self) -> PauseListener {
        PauseListener::default()
    }

    fn note_listener(&self) -> NoteListener {
        NoteListener::default()
    }
}

/// The codes of checks and errors, and the words of the output.
pub(super) fn codes(current: &OsStr) -> Vec<CompletionCandidate> {
    let words = WORDS
        .iter()
        .map(|word| CompletionCandidate::new(word.name).help(Some(word.summary.into())));
    let codes = Code::all().map(|code| {
        CompletionCandidate::new(code.as_str()).help(Some(code.explanation().summary.into()))
    });
    with_prefix(current, codes.chain(words))
}

fn sets(entries: &[HistoryEntry]) -> Vec<CompletionCandidate> {
    let Ok(environment) = super::environment() else {
        return Vec::new();
    };
    let zone = (environment.zone)();
    let (mut revisions, mut candidates) = (HashSet::new(), Vec::new());
    for entry in entries {
        let Some(revision) = &entry.revision else {
            continue;
        };
        if revisions.insert(revision) {
            let help = plain(&format!("{} {}", local(&entry.date, &zone), entry.subject));
            let candidate = CompletionCandidate::new(revision.as_str());
            candidates.push(candidate.help(Some(help.into())));
        }
    }
    candidates
}

/// The history of `HEAD`. That of the default branch would require a request to the remote.
fn history() -> Option<History> {
    let config = configuration()?;
    let git = Git::open(&config.root).ok()?;
    let head = git.head().ok()?;
    History::for_branch(&git, &config, head).ok()
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
