//! A fleet's report for people: totals, and what needs somebody, grouped by cause.

use std::fmt::Write as _;

use super::{
    line::{FleetOutcome, FleetRow},
    list::shard_of,
    merge::FleetDocument,
};
use crate::{
    code::Code,
    config::few,
    report::table::{Align, aligned},
    untrusted::{markdown, plain},
};

/// How many repositories of a cause are listed.
const NAMED: usize = 5;

/// Repositories that need the same.
#[derive(Debug, PartialEq, Eq)]
pub struct FleetCause {
    /// What became of them.
    pub outcome: &'static str,
    /// The code of their check or their error, if they have one.
    pub code: Option<String>,
    /// What the first of them reported.
    pub detail: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Which they are.
    pub repositories: Vec<String>,
}

impl FleetCause {
    /// Every cause, the one of the most repositories first.
    pub fn of(document: &FleetDocument) -> Vec<Self> {
        let mut causes: Vec<Self> = Vec::new();
        let failed = document.repositories.iter().filter(|row| row.exit != 0);
        for cause in failed.flat_map(reasons) {
            let same =
                |other: &&mut Self| (other.outcome, &other.code) == (cause.outcome, &cause.code);
            match causes.iter_mut().find(same) {
                Some(known) => known.repositories.extend(cause.repositories),
                None => causes.push(cause),
            }
        }
        causes.extend(missing(document));
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.repositories.len()));
        causes
    }

    /// The outcome, and the code.
    pub fn title(&self) -> String {
        match &self.code {
            Some(code) if code != self.outcome => format!("{}: {}", self.outcome, plain(code)),
            _ => self.outcome.to_owned(),
        }
    }

    /// The first repositories, and how many more there are.
    pub fn names(&self) -> String {
        few(self.repositories.iter().map(|name| plain(name)), NAMED)
    }
}

/// Why a repository needs somebody: its error, or each code of its failed checks, or its outcome.
fn reasons(row: &FleetRow) -> Vec<FleetCause> {
    let cause = |code: Option<&str>, detail: Option<&str>, help: Option<&str>| FleetCause {
        outcome: row.outcome.as_str(),
        code: code.map(str::to_owned),
        detail: detail.map(str::to_owned),
        help: help.map(str::to_owned),
        repositories: vec![row.repository.clone()],
    };
    let explained = |code: &str| Code::of(code).map(Code::help);
    if let Some(error) = &row.error {
        let help = error.hint.clone().or_else(|| explained(&error.code));
        let detail = Some(error.message.as_str());
        return vec![cause(Some(&error.code), detail, help.as_deref())];
    }
    let mut causes: Vec<FleetCause> = Vec::new();
    for check in &row.checks {
        let code = Some(check.code.clone());
        if causes.iter().all(|known| known.code != code) {
            let help = check.help.clone().or_else(|| explained(&check.code));
            causes.push(cause(code.as_deref(), Some(&check.detail), help.as_deref()));
        }
    }
    if causes.is_empty() {
        causes.push(cause(None, None, remedy(row.outcome)));
    }
    causes
}

/// What to do about an outcome that states no reason.
fn remedy(outcome: FleetOutcome) -> Option<&'static str> {
    match outcome {
        FleetOutcome::ForeignCommit => {
            Some("merge or close the pull request by hand: its branch has a foreign commit")
        }
        FleetOutcome::ClosedByPerson => {
            Some("ask who closed the pull request, or reopen it by hand")
        }
        FleetOutcome::Moved => Some("put the new name into the list"),
        FleetOutcome::Unconfigured => {
            Some("add a repin.yaml to the repository, or take it off the list")
        }
        FleetOutcome::Archived => Some("take the repository off the list"),
        FleetOutcome::Denied => Some("give the token the missing permission"),
        FleetOutcome::Unavailable | FleetOutcome::Pending => Some("run the same shards again"),
        _ => None,
    }
}

/// Repositories without a line; without a list, shards without one.
fn missing(document: &FleetDocument) -> Option<FleetCause> {
    let expected = document.shards.expected;
    let names = match &document.missing {
        Some(missing) => {
            let shard = |name: &String| match expected {
                Some(shards) => format!("{name} (shard {})", shard_of(name, shards)),
                None => name.clone(),
            };
            missing.iter().map(shard).collect()
        }
        None if expected.is_none() => vec!["every shard".to_owned()],
        None => {
            let unseen = document.unseen();
            unseen
                .iter()
                .map(|shard| format!("shard {shard}"))
                .collect()
        }
    };
    let cause = |names: Vec<String>| FleetCause {
        outcome: "missing",
        code: None,
        detail: None,
        help: Some(match document.missing {
            Some(_) => "find out why the shard ended early, and run it again".to_owned(),
            None => "pass --list FILE, or find out why the shard has no line".to_owned(),
        }),
        repositories: names,
    };
    (!names.is_empty()).then(|| cause(names))
}

/// The totals, and every cause.
pub fn table(document: &FleetDocument) -> String {
    let rows = totals(document);
    let rows: Vec<_> = std::iter::once(["OUTCOME", "REPOSITORIES"].map(str::to_owned).to_vec())
        .chain(
            rows.into_iter()
                .map(|(word, count)| vec![word.to_owned(), count.to_string()]),
        )
        .collect();
    let mut text = aligned(&[Align::Left, Align::Right], &rows);
    for cause in FleetCause::of(document) {
        let _ = write!(text, "\n{} ({})\n", cause.title(), cause.repositories.len());
        let _ = writeln!(text, "  {}", cause.names());
        if let Some(detail) = &cause.detail {
            let _ = writeln!(text, "  {}", plain(detail));
        }
        if let Some(help) = &cause.help {
            let _ = writeln!(text, "  help: {}", plain(help));
        }
    }
    text
}

/// The same in Markdown, for a step summary.
pub fn summary(document: &FleetDocument) -> String {
    let revision = document.revision.as_deref().unwrap_or("(no line)");
    let mut text = format!("## fleet: {}\n\n", markdown::code(revision));
    text.push_str("| outcome | repositories |\n| --- | --- |\n");
    for (word, count) in totals(document) {
        let _ = writeln!(text, "| {word} | {count} |");
    }
    for cause in FleetCause::of(document) {
        let (title, count) = (markdown::inline(&cause.title()), cause.repositories.len());
        let _ = write!(text, "\n### {title} ({count})\n\n");
        let _ = writeln!(text, "- {}", markdown::inline(&cause.names()));
        if let Some(detail) = &cause.detail {
            let _ = writeln!(text, "- {}", markdown::code(detail));
        }
        if let Some(help) = &cause.help {
            let _ = writeln!(text, "- help: {}", markdown::inline(help));
        }
    }
    text
}

/// The outcomes that occur, in their order, and how many repositories are missing.
fn totals(document: &FleetDocument) -> Vec<(&'static str, usize)> {
    let counted = FleetOutcome::ALL.map(|outcome| {
        let word = outcome.as_str();
        (word, document.totals.get(word).copied().unwrap_or_default())
    });
    let missing = document.missing.as_ref().map_or(0, Vec::len);
    let all = counted.into_iter().chain([("missing", missing)]);
    all.filter(|(_, count)| *count > 0).collect()
}
