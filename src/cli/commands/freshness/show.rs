//! Shows freshness: the table, the heartbeat of every finished run, and the issue's text.

use std::fmt::Write as _;

use crate::{
    cli::{context::Context, exit::Exit, format::Format, github::StepFiles},
    config::Freshness,
    error::{Class, Errors},
    report::{
        json::{FreshnessDocument, FreshnessRow},
        table::{Align, aligned},
    },
    untrusted::{markdown, plain, workflow::Commands},
};

/// Prints the document or the table, and the heartbeat in every format.
pub(super) fn report(
    document: &FreshnessDocument,
    now: &str,
    exit: Exit,
    faults: &[Errors],
    cx: &mut Context,
) -> Exit {
    match cx.output.format {
        Format::Json => cx.output.json(document),
        Format::Human | Format::Github | Format::Sarif => cx.output.print(table(&document.entries)),
    }
    if cx.output.format == Format::Github && exit == Exit::Because(Class::Failed) {
        for row in document
            .entries
            .iter()
            .filter(|row| row.state == Some("stale") && row.issue.is_none())
        {
            cx.output
                .annotate(&Commands::error("freshness", &line(row), None));
        }
    }
    for fault in faults {
        cx.output.fault_beside(fault);
    }
    for row in document
        .entries
        .iter()
        .filter(|row| row.state == Some("ahead"))
    {
        cx.output.error_text(&format!(
            "warning: {}: {}\n",
            plain(&row.name),
            plain(row.reason.as_deref().unwrap_or_default())
        ));
    }
    let mut summary = String::from("### Freshness\n\n");
    for row in &document.entries {
        let beat = format!("{}; checked {now}", line(row));
        cx.output
            .error_text(&format!("freshness: {}\n", plain(&beat)));
        let _ = writeln!(summary, "- {}", markdown::inline(&beat));
    }
    let written =
        StepFiles::open(&cx.services.environment).and_then(|mut files| files.summary(&summary));
    written.map_or_else(
        |fault| exit.worse(cx.output.fault_beside(&fault)),
        |()| exit,
    )
}

/// The result of an entry, on one line.
fn line(row: &FreshnessRow) -> String {
    let refs = format!(
        "{} → {}",
        shown(row.pinned.as_ref()),
        shown(row.head.as_ref())
    );
    let distance = match (row.commits, row.gap_days) {
        (Some(commits), Some(days)) => format!(", commits: {commits}, days: {days}"),
        _ => String::new(),
    };
    let reason = row
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    let issue = row.issue.as_ref().map_or_else(String::new, |issue| {
        format!(", issue #{} {}", issue.number, issue.state)
    });
    format!(
        "{}: {}{reason}: {refs}{distance}{issue}",
        row.name,
        row.state.unwrap_or("not checked")
    )
}

fn shown(commit: Option<&String>) -> String {
    commit.map_or_else(
        || "?".to_owned(),
        |commit| commit.chars().take(12).collect(),
    )
}

fn table(rows: &[FreshnessRow]) -> String {
    let heading = [
        "NAME", "STATE", "PINNED", "HEAD", "COMMITS", "DAYS", "ISSUE", "REASON",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut all = vec![heading];
    let number = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    all.extend(rows.iter().map(|row| {
        vec![
            plain(&row.name),
            row.state.unwrap_or("-").to_owned(),
            plain(&shown(row.pinned.as_ref())),
            shown(row.head.as_ref()),
            number(row.commits.map(|commits| commits.to_string())),
            number(row.gap_days.map(|days| days.to_string())),
            number(
                row.issue
                    .as_ref()
                    .map(|issue| format!("#{} {}", issue.number, issue.state)),
            ),
            plain(row.reason.as_deref().unwrap_or_default()),
        ]
    }));
    let left = Align::Left;
    aligned(
        &[
            left,
            left,
            left,
            left,
            Align::Right,
            Align::Right,
            left,
            left,
        ],
        &all,
    )
}

/// The part of the issue's text that repin writes.
pub(super) fn text(entry: &Freshness, row: &FreshnessRow, now: &str) -> String {
    let code = |text: &str| markdown::code(text);
    let known = |text: Option<&String>| code(text.map_or("?", String::as_str));
    let mut text = format!(
        "{} is **{}**: `{}` pins {} of {}, whose branch {} is at {}.\n",
        code(&entry.name),
        row.state.unwrap_or_default(),
        entry.pinned.file,
        known(row.pinned.as_ref()),
        code(&entry.repository),
        code(&entry.branch),
        known(row.head.as_ref()),
    );
    if let Some(reason) = &row.reason {
        let _ = writeln!(text, "\n{}", markdown::inline(reason));
    }
    let _ = writeln!(text, "\nlast checked: {now}");
    text
}
