//! The answers to the first three questions of an operator: the deployed set, its state, and the command that
//! rolls back.

use serde::Serialize;

use crate::{
    base::untrusted::{shell, to_minute},
    config::{self, Config},
    core::history::{EntryState, History, HistoryEntry},
    oci::Revision,
};

/// The answers about one set, as variables of a template.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Deployed {
    set: Option<DeployedSet>,
    condition: Condition,
    problems: Vec<String>,
    /// The reasons for which the history is incomplete.
    gaps: Vec<String>,
    back: Option<BackCommand>,
    /// Whether the newest available set has no recorded revision.
    is_back_unknown: bool,
    /// Whether it is unknown which sets a rollback undid.
    is_shallow: bool,
}

#[derive(Debug, Serialize)]
struct DeployedSet {
    revision: Option<String>,
    /// The versions in the tags of the pins.
    versions: Vec<String>,
    kind: &'static str,
    since: String,
    author: String,
    commit: String,
    pull_request: Option<u64>,
}

/// The worst fact about a deployed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(Default))]
#[serde(rename_all = "snake_case")]
enum Condition {
    #[cfg_attr(test, default)]
    Ok,
    Incomplete,
    NotOk,
}

/// The way back.
#[derive(Debug, Serialize)]
struct BackCommand {
    revision: String,
    since: String,
    author: String,
    command: String,
}

impl Deployed {
    /// `versions`: those in the tags of the current pins.
    pub(crate) fn new(config: &Config, history: &History, versions: Vec<String>) -> Self {
        let gaps = warnings(history);
        let current = history.current();
        let problems = current.map_or_else(
            || vec!["No commit on this branch pins an image of the set.".to_owned()],
            |entry| problems(entry, config, history),
        );
        Self {
            condition: match (problems.as_slice(), gaps.as_slice()) {
                ([], []) => Condition::Ok,
                ([], _) => Condition::Incomplete,
                _ => Condition::NotOk,
            },
            set: current.map(|entry| DeployedSet {
                revision: entry.revision.as_ref().map(ToString::to_string),
                versions,
                kind: entry.kind_name(),
                since: to_minute(&entry.date),
                author: entry.author.clone(),
                commit: entry.commit.short(),
                pull_request: entry.pull_request,
            }),
            problems,
            gaps,
            back: back(config, history),
            is_back_unknown: (history.newest_available())
                .is_some_and(|entry| entry.revision.is_none()),
            is_shallow: history.shallow,
        }
    }
}

/// The problems of the current set that git shows.
fn problems(entry: &HistoryEntry, config: &Config, history: &History) -> Vec<String> {
    let mut problems = Vec::new();
    let mixed = history.mixed_images(entry);
    for image in &config.images {
        let name = &image.name;
        if image.pins == 0 || entry.images.contains_key(name) {
            continue;
        }
        problems.push(if mixed.contains(name) {
            format!("The pins of {name} have several digests.")
        } else {
            format!("{name} is not pinned.")
        });
    }
    if let Some(hold) = history.hold_in_list(&entry.images) {
        let commit = hold.commit.short();
        problems.push(format!(
            "Commit {commit} rolled this set back: its digests are held."
        ));
    }
    problems
}

/// `None` if the newest available set has no revision: an older one would be a surprise.
fn back(config: &Config, history: &History) -> Option<BackCommand> {
    let entry = history.newest_available()?;
    let revision = entry.revision.as_ref()?;
    Some(BackCommand {
        revision: revision.to_string(),
        since: to_minute(&entry.date),
        author: entry.author.clone(),
        command: rollback_at_top(revision, config, history),
    })
}

/// The reasons for which sets may be missing.
pub(super) fn warnings(history: &History) -> Vec<String> {
    let mut warnings = Vec::new();
    if history.shallow {
        warnings.push(
            "the clone is shallow, so older sets and holds on them may be missing.".to_owned(),
        );
    }
    if let Some(unreadable) = history.blind_spot() {
        warnings.push(format!(
            "commit {} may have changed the set or rolled one back: {}",
            unreadable.commit.short(),
            unreadable.reason()
        ));
    }
    warnings
}

/// The complete command that rolls back to a revision. `option`: the option that selects the configuration, with
/// a space before it; `change`: the options that change something, likewise.
pub(crate) fn rollback_command(revision: &Revision, option: &str, change: &str) -> String {
    let revision = shell(revision.as_str());
    format!("repin rollback{option} --to {revision}{change}")
}

/// The options with which the current set was published.
pub(crate) fn published_options(config: &Config, history: &History) -> &'static str {
    let merged = history.current().and_then(|entry| entry.pull_request);
    if config.forge.is_some() && merged.is_some() {
        " --pr ready"
    } else {
        " --apply --commit --push"
    }
}

/// The complete command that rolls back to a revision, at the top of any clone: a page has no current directory.
pub(super) fn rollback_at_top(revision: &Revision, config: &Config, history: &History) -> String {
    let option = config::option_unless_default(&config.set_path.to_string());
    rollback_command(revision, &option, published_options(config, history))
}

/// The state of a set, as a class and a badge of a page. A superseded set has neither.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Badge {
    /// The class of a state that is marked.
    class: Option<&'static str>,
    text: &'static str,
}

impl Badge {
    pub(super) const fn new(state: EntryState) -> Option<Self> {
        let (class, text) = match state {
            EntryState::Current | EntryState::Held => (Some(state.as_str()), state.as_str()),
            EntryState::Available => (None, "available for rollback"),
            EntryState::Superseded => return None,
        };
        Some(Self { class, text })
    }
}
