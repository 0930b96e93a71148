//! The text of the issue about stale references to other repositories.

use std::fmt::Write as _;

use super::json::FreshnessRow;
use crate::{
    base::untrusted::{markdown, plain, redacted},
    config::Freshness,
    core::freshness::{Evidence, LISTED},
    oci::date,
};

/// The maximum length of a subject or a path, in characters.
const MAX_LENGTH: usize = 200;

/// An entry of an issue.
pub(crate) struct IssueEntry<'e> {
    pub entry: &'e Freshness,
    pub row: &'e FreshnessRow,
    /// `None` if the entry could not be checked.
    pub evidence: Option<&'e Evidence>,
    /// The page that compares the pinned commit with the head.
    pub comparison: Option<String>,
}

/// The part of an issue's text that repin writes: a table of the entries, and the evidence and the steps for each
/// that is not fresh.
pub(crate) fn issue_text(entries: &[IssueEntry<'_>], now: &str) -> String {
    let mut text = String::from(
        "| reference | state | pinned | head | days | commits |\n| --- | --- | --- | --- | ---: | ---: |\n",
    );
    let or_unknown = |number: Option<String>| number.unwrap_or_else(|| "?".to_owned());
    for IssueEntry {
        entry,
        row,
        evidence,
        ..
    } in entries
    {
        let pinned = evidence.and_then(|evidence| evidence.pinned_time);
        let head = evidence.map(|evidence| evidence.head_time);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            markdown::inline(&entry.name),
            row.state.unwrap_or("not checked"),
            commit(row.pinned.as_deref(), pinned),
            commit(row.head.as_deref(), head),
            or_unknown(row.gap_days.map(|days| days.to_string())),
            or_unknown(row.commits.map(|commits| commits.to_string())),
        );
    }
    for entry in entries
        .iter()
        .filter(|entry| entry.row.state != Some("fresh"))
    {
        text += &section(entry);
    }
    let _ = writeln!(text, "\nlast checked: {now}");
    text
}

/// A commit or another reference, with the day of the commit.
fn commit(reference: Option<&str>, time: Option<i64>) -> String {
    let reference = markdown::inline(reference.unwrap_or("?"));
    match time.and_then(date::from_seconds) {
        Some(time) => {
            let date = date::format(time);
            format!("{reference} of {}", plain(date.get(..10).unwrap_or(&date)))
        }
        None => reference,
    }
}

fn section(issue: &IssueEntry<'_>) -> String {
    let IssueEntry {
        entry,
        row,
        evidence,
        comparison,
    } = issue;
    let file = markdown::inline(&entry.pinned.file.to_string());
    let mut text = format!(
        "\n### {}\n\n{file} pins {} of {}, whose branch {} is at {}.",
        markdown::inline(&entry.name),
        markdown::inline(row.pinned.as_deref().unwrap_or("?")),
        markdown::inline(&entry.repository),
        markdown::inline(&entry.branch),
        markdown::inline(row.head.as_deref().unwrap_or("?")),
    );
    if let Some(reason) = &row.reason {
        let _ = write!(text, " {}.", markdown::inline(reason));
    }
    if let Some(page) = comparison {
        let _ = write!(text, " {}", markdown::link("Compare the commits", page));
    }
    text.push('\n');
    if let Some(evidence) = evidence {
        let commits = usize::try_from(row.commits.unwrap_or_default()).unwrap_or(usize::MAX);
        text += &list("Commits, newest first", &evidence.subjects, commits);
        text += &list("Changed paths", &evidence.changed_paths, evidence.changed);
    }
    if row.state == Some("stale") {
        let head = markdown::inline(row.head.as_deref().unwrap_or("the head"));
        let pointer = markdown::inline(&entry.pinned.pointer);
        let _ = write!(
            text,
            "\nSteps:\n\n1. Review the commits.\n2. Set {pointer} in {file} to {head}, or to another commit that is recent enough.\n\
             3. Test the change, and merge it. The next run of `repin freshness --apply` closes this issue.\n"
        );
    }
    text
}

/// A list of foreign texts, of which there are `total`.
fn list(title: &str, texts: &[String], total: usize) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let mut list = format!("\n{title}:\n\n");
    for text in texts.iter().take(LISTED) {
        let text: String = redacted(text).chars().take(MAX_LENGTH).collect();
        let _ = writeln!(list, "- {}", markdown::inline(&text));
    }
    let omitted = total.saturating_sub(texts.len().min(LISTED));
    if omitted > 0 {
        let _ = writeln!(list, "- … and {omitted} more");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn issue_links_the_comparison() {
        let config = config::example(
            "version: 1\nfreshness: [{ name: a, pinned: { file: p.yaml, pointer: /r }, repository: 'https://x.example/o/r' }]\n",
        );
        let row = FreshnessRow {
            name: "a".to_owned(),
            pinned: Some("1".to_owned()),
            head: Some("2".to_owned()),
            commits: Some(3),
            gap_days: Some(20),
            state: Some("stale"),
            reason: None,
            issue: None,
        };
        let page = "https://x.example/o/r/compare/1...2";
        let entry = IssueEntry {
            entry: &config.freshness[0],
            row: &row,
            evidence: None,
            comparison: Some(page.to_owned()),
        };
        let text = issue_text(&[entry], "now");
        let link = format!(" [Compare the commits]({page})\n");
        assert!(text.contains(&link), "{text}");
    }
}
