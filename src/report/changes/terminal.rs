//! The differences of two sets for a terminal.

use super::{
    contents, counts, details, image_details, layers, listed, not_read, range, rows, short,
    state_word,
};
use crate::{
    changes::{Changes, CommitList, ImageChanges, Origin},
    report::layout::indented,
    untrusted::plain,
};

/// The maximum number of listed packages of an image.
const MAX_PACKAGES: usize = 50;

/// The differences in lines of at most `columns` columns, if no word is longer.
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
        lines.add(0, &not_read(entry, plain));
    }
    lines.lines.push(String::new());
    lines.lines.join("\n")
}

struct Lines {
    lines: Vec<String>,
    columns: usize,
}

impl Lines {
    fn add(&mut self, indent: usize, line: &str) {
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
        lines.add(2, &format!("{link}{note}"));
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
        let [subject, author] = [&commit.subject, &commit.author].map(|text| plain(text));
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
    for detail in image_details(image, plain) {
        lines.add(2, &detail);
    }
    for row in rows(image) {
        lines.add(2, &plain(&row.platforms.join(", ")));
        lines.add(4, &format!("size {}", row.sizes));
        lines.add(4, &format!("layers {}", layers(row.content)));
        for detail in details(row.content, plain) {
            lines.add(4, &detail);
        }
        if let Some(difference) = &row.content.contents {
            lines.add(4, &contents(difference, MAX_PACKAGES, plain, plain));
        }
    }
}
