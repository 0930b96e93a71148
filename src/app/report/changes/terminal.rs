//! The differences of two sets for a terminal.

use super::{
    Style, contents, counts, details, fitted, image_details, layers, listed, not_read, range, rows,
    short, state_word, subject,
};
use crate::{
    app::report::layout::indented,
    base::untrusted::plain,
    core::changes::{Changes, CommitList, ImageChanges, Origin},
};

/// The maximum number of listed packages of an image.
const MAX_PACKAGES: usize = 50;

/// The indentation of the details of a platform.
const INDENT: usize = 4;

/// The differences in lines of at most `columns` columns. Addresses and the reasons of unread parts are not cut.
pub(crate) fn text(changes: &Changes, columns: usize) -> String {
    let mut lines = Lines {
        lines: Vec::new(),
        columns,
    };
    source(&mut lines, changes);
    for image in &changes.images {
        lines.add(0, "");
        image_lines(&mut lines, image);
    }
    if !changes.not_read.is_empty() {
        lines.add(0, "");
    }
    for entry in &changes.not_read {
        lines.add_whole(0, &not_read(entry, plain));
    }
    lines.lines.push(String::new());
    lines.lines.join("\n")
}

struct Lines {
    lines: Vec<String>,
    columns: usize,
}

impl Lines {
    /// Adds a line and cuts words that are too long.
    fn add(&mut self, indent: usize, line: &str) {
        let line = fitted(line, self.columns.saturating_sub(indent).max(1));
        self.add_whole(indent, &line);
    }

    /// Adds a line with words that are copied, such as addresses and digests.
    fn add_whole(&mut self, indent: usize, line: &str) {
        self.lines.extend(indented(line, indent, self.columns));
    }
}

fn source(lines: &mut Lines, changes: &Changes) {
    let source = &changes.source;
    let mut line = range(changes, plain, |from, to| format!("{from} → {to}"));
    if let Some(counts) = counts(source) {
        line = format!("{line}: {counts}");
    }
    lines.add(0, &line);
    if let Some(link) = &source.link {
        let note = if source.stated_by == Some(Origin::Label) {
            " (as the image's label states)"
        } else {
            ""
        };
        lines.add_whole(2, &format!("{link}{note}"));
    }
    for (sign, commits) in [("−", &source.removed), ("+", &source.added)] {
        if let Some(commits) = commits {
            list(lines, sign, commits);
        }
    }
}

fn list(lines: &mut Lines, sign: &str, commits: &CommitList) {
    let (listed, more) = listed(commits);
    for commit in listed {
        let id = short(&commit.commit);
        let [subject, author] = [subject(commit), &commit.author].map(plain);
        lines.add(2, &format!("{sign} {id} {subject}, {author}"));
    }
    if more > 0 && !listed.is_empty() {
        lines.add(2, &format!("{sign} … {more} more"));
    }
}

fn image_lines(lines: &mut Lines, image: &ImageChanges) {
    let name = plain(&image.name);
    match state_word(image) {
        Some(state) => lines.add(0, &format!("{name}  {state}")),
        None => lines.add(0, &name),
    }
    let style = Style {
        // A sign and a comma belong to the word.
        columns: lines.columns.saturating_sub(INDENT + 2).max(1),
        ..Style::PLAIN
    };
    for detail in image_details(image, style) {
        lines.add(2, &detail);
    }
    for row in rows(image) {
        lines.add(2, &plain(&row.platforms.join(", ")));
        lines.add(INDENT, &format!("size {}", row.sizes));
        lines.add(INDENT, &format!("layers {}", layers(row.content)));
        for detail in details(row.content, style) {
            lines.add(INDENT, &detail);
        }
        if let Some(difference) = &row.content.contents {
            lines.add(INDENT, &contents(difference, MAX_PACKAGES, style));
        }
    }
}
