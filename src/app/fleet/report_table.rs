//! A fleet's report as text: totals, and the failures grouped by cause.

use std::fmt::Write as _;

use super::{
    list::shard_of,
    report::FleetDocument,
    report_line::{FleetOutcome, FleetRow},
};
use crate::{
    app::report::layout::{Align, aligned},
    base::{
        error::Code,
        text::few,
        untrusted::{markdown, plain},
    },
    forge::Words,
};

/// The number of repositories that are listed for a cause.
const LISTED: usize = 5;

/// Repositories that failed for the same reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FleetCause {
    pub outcome: &'static str,
    /// The code of the check or the error.
    pub code: Option<String>,
    /// The message of the first repository.
    pub detail: Option<String>,
    pub help: Option<String>,
    pub repositories: Vec<String>,
}

impl FleetCause {
    /// Every cause, that of the most repositories first.
    pub(crate) fn all(document: &FleetDocument) -> Vec<Self> {
        let mut causes: Vec<Self> = Vec::new();
        let failed = document
            .repositories
            .iter()
            .filter(|row| row.report.exit != 0);
        for cause in failed.flat_map(causes_of) {
            let known = causes
                .iter_mut()
                .find(|known| (known.outcome, &known.code) == (cause.outcome, &cause.code));
            match known {
                Some(known) => known.repositories.extend(cause.repositories),
                None => causes.push(cause),
            }
        }
        causes.extend(missing(document));
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.repositories.len()));
        causes
    }

    pub(crate) fn title(&self) -> String {
        match &self.code {
            Some(code) if code != self.outcome => format!("{}: {}", self.outcome, plain(code)),
            _ => self.outcome.to_owned(),
        }
    }

    /// The first repositories, and the number of the others.
    pub(crate) fn names(&self) -> String {
        few(self.repositories.iter().map(|name| plain(name)), LISTED)
    }
}

/// The causes of one repository: its error, each code of its failed checks, or else its outcome.
fn causes_of(row: &FleetRow) -> Vec<FleetCause> {
    let report = &row.report;
    let cause = |code: Option<&str>, detail: Option<&str>, help: Option<&str>| FleetCause {
        outcome: report.outcome.as_str(),
        code: code.map(str::to_owned),
        detail: detail.map(str::to_owned),
        help: help.map(str::to_owned),
        repositories: vec![row.repository.clone()],
    };
    let explained = |code: &str| Code::of(code).map(Code::help);
    if let Some(error) = &report.error {
        let help = error.hint.clone().or_else(|| explained(&error.code));
        let detail = Some(error.message.as_str());
        return vec![cause(Some(&error.code), detail, help.as_deref())];
    }
    let mut causes: Vec<FleetCause> = Vec::new();
    for check in &report.checks {
        let code = Some(check.code.clone());
        if causes.iter().all(|known| known.code != code) {
            let help = check.help.clone().or_else(|| explained(&check.code));
            causes.push(cause(code.as_deref(), Some(&check.detail), help.as_deref()));
        }
    }
    if causes.is_empty() {
        let url = report.pull_request.as_ref().map_or("", |pull| &pull.url);
        let help = remedy(report.outcome, Words::for_page(url));
        causes.push(cause(None, None, help.as_deref()));
    }
    causes
}

/// The remedy for an outcome without a message.
fn remedy(outcome: FleetOutcome, words: Words) -> Option<String> {
    let name = words.pull_request;
    let text = match outcome {
        FleetOutcome::ForeignCommit => {
            let reason = "its branch has a foreign commit";
            return Some(format!("merge or close the {name} by hand: {reason}"));
        }
        FleetOutcome::ClosedByPerson => {
            return Some(format!("ask who closed the {name}, or reopen it by hand"));
        }
        FleetOutcome::Moved => "write the new name into the list",
        FleetOutcome::Unconfigured => {
            "add a repin.yaml to the repository, or remove it from the list"
        }
        FleetOutcome::Archived => "remove the repository from the list",
        FleetOutcome::Denied => "give the token the missing permission",
        FleetOutcome::Unavailable | FleetOutcome::Pending => "run the same shards again",
        _ => return None,
    };
    Some(text.to_owned())
}

/// The repositories without a line or, without a list, the shards without a line.
fn missing(document: &FleetDocument) -> Option<FleetCause> {
    let expected = document.shards.expected;
    let names: Vec<_> = match &document.missing {
        Some(missing) => missing
            .iter()
            .map(|name| match expected {
                Some(shards) => format!("{name} (shard {})", shard_of(name, shards)),
                None => name.clone(),
            })
            .collect(),
        None if expected.is_none() => vec!["every shard".to_owned()],
        None => document
            .unseen()
            .iter()
            .map(|shard| format!("shard {shard}"))
            .collect(),
    };
    if names.is_empty() {
        return None;
    }
    Some(FleetCause {
        outcome: "missing",
        code: None,
        detail: None,
        help: Some(match document.missing {
            Some(_) => "find out why the shard ended early, and run it again".to_owned(),
            None => "pass --list FILE, or find out why the shard has no line".to_owned(),
        }),
        repositories: names,
    })
}

/// The totals and the causes as plain text.
pub(crate) fn table(document: &FleetDocument) -> String {
    let mut rows = vec![["OUTCOME", "REPOSITORIES"].map(str::to_owned).to_vec()];
    for (outcome, count) in totals(document) {
        rows.push(vec![outcome.to_owned(), count.to_string()]);
    }
    let mut text = aligned(&[Align::Left, Align::Right], &rows);
    for cause in FleetCause::all(document) {
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

/// The step summary, in Markdown.
pub(crate) fn summary(document: &FleetDocument) -> String {
    let revision = document.revision.as_deref().unwrap_or("(no line)");
    let mut text = format!("## fleet: {}\n\n", markdown::code(revision));
    text.push_str("| outcome | repositories |\n| --- | --- |\n");
    for (word, count) in totals(document) {
        let _ = writeln!(text, "| {word} | {count} |");
    }
    for cause in FleetCause::all(document) {
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

/// The outcomes that occur with their counts, and the number of missing repositories.
fn totals(document: &FleetDocument) -> Vec<(&'static str, usize)> {
    let mut totals: Vec<_> = FleetOutcome::ALL
        .iter()
        .filter_map(|outcome| document.totals.get_key_value(outcome.as_str()))
        .map(|(outcome, count)| (*outcome, *count))
        .collect();
    totals.push(("missing", document.missing.as_ref().map_or(0, Vec::len)));
    totals.retain(|(_, count)| *count > 0);
    totals
}
