//! The output of `freshness`: the table, the heartbeat of every finished run, and the text of issues.

use std::fmt::Write as _;

use crate::{
    app::{
        cli::{context::Context, exit::Exit, format::Format, step_files::StepFiles},
        report::{
            json::{FreshnessDocument, FreshnessRow},
            layout::{Align, aligned},
        },
    },
    base::{
        error::{Class, Errors},
        untrusted::{markdown, plain, workflow::Commands},
    },
    config::Freshness,
};

/// Prints the document or the table, and in every format the heartbeat.
pub(super) fn report(
    document: &FreshnessDocument,
    now: &str,
    exit: Exit,
    errors: &[Errors],
    cx: &mut Context,
) -> Exit {
    match cx.output.format {
        Format::Json => cx.output.print_json(document),
        Format::Human | Format::Github | Format::Sarif => cx.output.print(table(&document.entries)),
    }
    if cx.output.format == Format::Github && exit == Exit::Failed(Class::Failed) {
        for row in &document.entries {
            if row.state == Some("stale") && row.issue.is_none() {
                cx.output
                    .annotate(&Commands::error("freshness", &line(row), None));
            }
        }
    }
    for errors in errors {
        cx.output.report_errors_separately(errors);
    }
    for row in &document.entries {
        if row.state == Some("ahead") {
            cx.output.write_stderr(&format!(
                "warning: {}: {}\n",
                plain(&row.name),
                plain(row.reason.as_deref().unwrap_or_default())
            ));
        }
    }
    let mut summary = String::from("### Freshness\n\n");
    for row in &document.entries {
        let heartbeat = format!("{}; checked {now}", line(row));
        cx.output
            .write_stderr(&format!("freshness: {}\n", plain(&heartbeat)));
        let _ = writeln!(summary, "- {}", markdown::inline(&heartbeat));
    }
    let written =
        StepFiles::open(&cx.services.environment).and_then(|mut files| files.summary(&summary));
    match written {
        Ok(()) => exit,
        Err(errors) => exit.worse(cx.output.report_errors_separately(&errors)),
    }
}

/// The result of an entry, on one line.
fn line(row: &FreshnessRow) -> String {
    let refs = format!(
        "{} → {}",
        short(row.pinned.as_ref()),
        short(row.head.as_ref())
    );
    let distance = match (row.commits, row.gap_days) {
        (Some(commits), Some(days)) => format!(", commits: {commits}, days: {days}"),
        _ => String::new(),
    };
    let reason = match &row.reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    let issue = match &row.issue {
        Some(issue) => format!(", issue #{} {}", issue.number, issue.state),
        None => String::new(),
    };
    format!(
        "{}: {}{reason}: {refs}{distance}{issue}",
        row.name,
        row.state.unwrap_or("not checked")
    )
}

fn short(commit: Option<&String>) -> String {
    match commit {
        Some(commit) => commit.chars().take(12).collect(),
        None => "?".to_owned(),
    }
}

fn table(rows: &[FreshnessRow]) -> String {
    let heading = [
        "NAME", "STATE", "PINNED", "HEAD", "COMMITS", "DAYS", "ISSUE", "REASON",
    ];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        let issue = row.issue.as_ref();
        lines.push(vec![
            plain(&row.name),
            row.state.unwrap_or("-").to_owned(),
            plain(&short(row.pinned.as_ref())),
            short(row.head.as_ref()),
            or_dash(row.commits.map(|commits| commits.to_string())),
            or_dash(row.gap_days.map(|days| days.to_string())),
            or_dash(issue.map(|issue| format!("#{} {}", issue.number, issue.state))),
            plain(row.reason.as_deref().unwrap_or_default()),
        ]);
    }
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
        &lines,
    )
}

/// The part of an issue's text that repin writes.
pub(super) fn issue_text(entry: &Freshness, row: &FreshnessRow, now: &str) -> String {
    let reference = |text: Option<&String>| markdown::code(text.map_or("?", String::as_str));
    let mut text = format!(
        "{} is **{}**: `{}` pins {} of {}, whose branch {} is at {}.\n",
        markdown::code(&entry.name),
        row.state.unwrap_or_default(),
        entry.pinned.file,
        reference(row.pinned.as_ref()),
        markdown::code(&entry.repository),
        markdown::code(&entry.branch),
        reference(row.head.as_ref()),
    );
    if let Some(reason) = &row.reason {
        let _ = writeln!(text, "\n{}", markdown::inline(reason));
    }
    let _ = writeln!(text, "\nlast checked: {now}");
    text
}
