//! The section "What changes" of the body of a pull request.

use std::fmt::Write as _;

use super::{
    Style, contents, counts, detailed_rows, image_details, layers, listed, not_read, range, rows,
    short, state_word, subject,
};
use crate::{
    base::untrusted::markdown,
    core::changes::{Changes, CommitList, ImageChanges, ListedCommit, Origin},
};

/// The maximum number of packages for each image.
const MAX_PACKAGES: usize = 10;

/// The section with its heading.
pub(crate) fn section(changes: &Changes) -> String {
    let mut text = "### What changes\n".to_owned();
    source(&mut text, changes);
    if !changes.images.is_empty() {
        text.push_str("\n| image | size | layers | configuration |\n| --- | --- | --- | --- |\n");
        for image in &changes.images {
            image_rows(&mut text, image);
        }
        let contents: Vec<_> = changes.images.iter().flat_map(contents_of).collect();
        if !contents.is_empty() {
            let _ = writeln!(text, "\n{}", contents.join("\n\n"));
        }
    }
    if !changes.not_read.is_empty() {
        text.push('\n');
    }
    for entry in &changes.not_read {
        let _ = writeln!(text, "- {}", not_read(entry, markdown::inline));
    }
    text
}

fn source(text: &mut String, changes: &Changes) {
    let source = &changes.source;
    let counts = counts(source);
    let range = range(changes, markdown::inline, |from, to| {
        if source.is_reversed {
            format!("{to}...{from}")
        } else {
            format!("{from}...{to}")
        }
    });
    if source.descendant == Some(false) {
        let _ = writeln!(text, "\n{}", counts.as_deref().unwrap_or_default());
    }
    let mut line = match &source.link {
        Some(link) => format!("[{range}]({link})"),
        None => range,
    };
    if let Some(counts) = counts.filter(|_| source.descendant != Some(false)) {
        let _ = write!(line, ": {counts}");
    }
    if source.stated_by == Some(Origin::Label) {
        line.push_str(", as the image's label states");
    }
    let _ = writeln!(text, "\n{line}");
    let pages = source.pull_requests.as_deref();
    let removed = source.removed.as_ref().filter(|removed| removed.count > 0);
    let added = source.added.as_ref().filter(|added| added.count > 0);
    if let Some(removed) = removed {
        list(text, "Taken away:", removed, pages);
    }
    if let Some(added) = added {
        let heading = if removed.is_some() { "Added:" } else { "" };
        list(text, heading, added, pages);
    }
}

fn list(text: &mut String, heading: &str, commits: &CommitList, pages: Option<&str>) {
    if commits.commits.is_empty() {
        return;
    }
    text.push('\n');
    if !heading.is_empty() {
        let _ = writeln!(text, "{heading}\n");
    }
    let (listed, more) = listed(commits);
    for commit in listed {
        let subject = linked_subject(commit, pages);
        let author = markdown::inline(&commit.author);
        let _ = writeln!(text, "- {} {subject}, {author}", short(&commit.commit));
    }
    if more > 0 {
        let _ = writeln!(text, "- … {more} more");
    }
}

/// The escaped subject, with a link to the pull request if its page is known. Elsewhere, `#N` would refer to
/// the repository of the body.
fn linked_subject(commit: &ListedCommit, pages: Option<&str>) -> String {
    let Some((number, pages)) = commit.pull_request.zip(pages) else {
        return markdown::inline(subject(commit));
    };
    match commit.subject.rsplit_once(&format!("(#{number})")) {
        Some((before, after)) => {
            let (before, after) = (markdown::inline(before), markdown::inline(after));
            let label = markdown::inline(&format!("#{number}"));
            format!("{before}([{label}]({pages}{number})){after}")
        }
        // The number is in the part that was cut.
        None => markdown::inline(&commit.subject),
    }
}

fn image_rows(text: &mut String, image: &ImageChanges) {
    let name = markdown::inline(&image.name);
    let joined = |details: Vec<String>| match details.join("; ") {
        none if none.is_empty() => "–".to_owned(),
        details => details,
    };
    let rows = detailed_rows(image, Style::MARKDOWN);
    if rows.is_empty() {
        let state = state_word(image).unwrap_or("–");
        let details = joined(image_details(image, Style::MARKDOWN));
        let _ = writeln!(text, "| {name} | {state} | – | {details} |");
        return;
    }
    let has_several = rows.len() > 1;
    for (row, details) in rows {
        let details = joined(details);
        let platforms = if has_several {
            format!(" {}", markdown::inline(&row.platforms.join(", ")))
        } else {
            String::new()
        };
        let layers = layers(row.content);
        let _ = writeln!(
            text,
            "| {name}{platforms} | {} | {layers} | {details} |",
            row.sizes
        );
    }
}

/// The changed contents of an image, one paragraph for the platforms with the same.
fn contents_of(image: &ImageChanges) -> Vec<String> {
    let rows = rows(image);
    let has_several = rows.len() > 1;
    let mut paragraphs = Vec::new();
    for row in &rows {
        let Some(difference) = &row.content.contents else {
            continue;
        };
        let mut subject = markdown::inline(&image.name);
        if has_several {
            let _ = write!(subject, " {}", markdown::inline(&row.platforms.join(", ")));
        }
        let text = contents(difference, MAX_PACKAGES, Style::MARKDOWN);
        paragraphs.push(format!("{subject}: {text}"));
    }
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::changes::{NotRead, SetState, SourceChanges};

    fn changes(subject: &str) -> Changes {
        let state = |digit: &str| SetState {
            revision: Some(digit.repeat(40)),
            ..SetState::default()
        };
        let commit = ListedCommit {
            commit: "b".repeat(40),
            subject: subject.to_owned(),
            author: "<b>Ada @acme|".to_owned(),
            pull_request: Some(412),
        };
        let source = SourceChanges {
            link: Some("https://github.com/acme/app/compare/a...b".to_owned()),
            stated_by: Some(Origin::Label),
            descendant: Some(true),
            added: Some(CommitList {
                count: 30,
                authors: None,
                commits: vec![commit],
            }),
            removed: Some(CommitList::NONE),
            ..SourceChanges::default()
        };
        Changes {
            from: state("a"),
            to: state("b"),
            source,
            images: Vec::new(),
            not_read: vec![NotRead::image("app", "a|b\n#7")],
        }
    }

    #[test]
    fn external_text_is_escaped_for_markdown() {
        let text = section(&changes("fix [x](http://y) \u{202e}#7 (#412)"));
        let expected = "### What changes\n\n\
            [aaaaaaa...bbbbbbb](https://github.com/acme/app/compare/a...b): 30 commits, as the image's label states\n\n\
            - bbbbbbb fix \\[x\\](http:\u{200b}//y) \\\\u{202e}#\u{200b}7 (#\u{200b}412), \\<b\\>Ada @\u{200b}acme\\|\n\
            - … 29 more\n\n\
            - image app not read: a\\|b\\\\u{a}#\u{200b}7\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn pull_requests_of_a_known_forge_are_links() {
        let mut changes = changes("fix (#412)");
        changes.source.pull_requests = Some("https://github.com/acme/app/pull/".to_owned());
        let text = section(&changes);
        let link = "fix ([#\u{200b}412](https://github.com/acme/app/pull/412)), ";
        assert!(text.contains(link), "{text}");
    }

    #[test]
    fn unknown_previous_revision_is_stated() {
        let mut changes = changes("x");
        changes.from.revision = None;
        changes.source = SourceChanges::default();
        let text = section(&changes);
        assert!(text.contains("previous revision unknown"), "{text}");
    }
}
