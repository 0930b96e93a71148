//! Errors, warnings and diffs as text for standard error and standard output.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::{
    app::report::{
        causes::Cause,
        color::{Color, Palette},
    },
    base::{
        code::Code,
        error::Error,
        untrusted::{masked_credentials, plain},
    },
    config::Config,
    core::checks::FileLocation,
};

/// The number of locations of a wrong count that are listed; the others are counted.
const MAX_PLACES: usize = 20;

/// Renders an error with its place in the source.
pub(super) fn error(error: &Error, help: Option<&str>, color: bool) -> String {
    let code = error.code.as_str();
    let title = Level::ERROR.primary_title(plain(&error.text())).id(code);
    let mut group = match &error.place {
        Some(place) if !place.quoted => {
            let (line, column) = place.line_column();
            let origin = Origin::path(plain(&place.source.name));
            title.element(origin.line(line).char_column(column))
        }
        Some(place) => {
            let annotation = AnnotationKind::Primary
                .span(place.span.start..place.span.end.max(place.span.start));
            let annotation = if place.label.is_empty() {
                annotation
            } else {
                annotation.label(plain(&place.label))
            };
            let text = masked_credentials(&place.source.text);
            let snippet = Snippet::source(text).path(plain(&place.source.name));
            title.element(snippet.annotation(annotation))
        }
        None => {
            let title = renderer(color).render(&[Group::with_title(title)]);
            return format!("{title}\n{}", details(&error.notes, help));
        }
    };
    for note in &error.notes {
        group = group.element(Level::NOTE.message(plain(note)));
    }
    if let Some(help) = help {
        group = group.element(Level::HELP.message(plain(help)));
    }
    renderer(color).render(&[group]) + "\n"
}

fn renderer(color: bool) -> Renderer {
    if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
}

/// The notes and the help below a title without a place.
fn details(notes: &[String], help: Option<&str>) -> String {
    let mut text = String::new();
    for note in notes {
        let _ = writeln!(text, "  = note: {}", plain(note));
    }
    if let Some(help) = help {
        let _ = writeln!(text, "  = help: {}", plain(help));
    }
    text
}

/// Converts a failed cause to an error. The place of a wrong count is its declaration.
pub(super) fn failed(cause: &Cause<'_>, config: &Config) -> Error {
    let check = cause.first();
    let image = check.image.as_deref().and_then(|name| config.image(name));
    if let (Code::PIN_COUNT, Some(image)) = (check.code, image) {
        // The evidence would repeat the locations, which are in the notes.
        let message = check.cause.as_ref().unwrap_or(&check.detail);
        return Error {
            place: Some(Box::new(config.place(image.pins_at, "declared here"))),
            notes: location_notes(&check.locations),
            ..Error::failed(check.code, message)
        };
    }
    Error {
        notes: cause.evidence(),
        ..Error::failed(check.code, message(cause))
    }
}

/// Renders a warning; the last line is the help.
pub(super) fn warning(cause: &Cause<'_>) -> String {
    let title = format!("warning[{}]: {}\n", cause.code(), plain(&message(cause)));
    title + &details(&cause.evidence(), cause.help())
}

/// The message, preceded by the images.
fn message(cause: &Cause<'_>) -> String {
    let subject = cause.subject();
    if subject.is_empty() {
        cause.message()
    } else {
        format!("{subject}: {}", cause.message())
    }
}

fn location_notes(locations: &[FileLocation]) -> Vec<String> {
    let mut notes: Vec<_> = locations
        .iter()
        .take(MAX_PLACES)
        .map(|location| format!("found: {location}"))
        .collect();
    if locations.len() > MAX_PLACES {
        notes.push(format!(
            "found: … {} more (repin scan)",
            locations.len() - MAX_PLACES
        ));
    }
    notes
}

/// Renders a diff for a terminal, with hidden characters escaped.
pub(super) fn diff(diff: &[u8], palette: Palette) -> String {
    let text = String::from_utf8_lossy(diff);
    let mut out = String::with_capacity(text.len());
    // The lines that are left of a hunk: the header of the next file begins like changed lines.
    let [mut old, mut new] = [0_usize; 2];
    for line in text.lines() {
        let color = match line.as_bytes().first() {
            Some(b'@') if old + new == 0 => {
                [old, new] = hunk_lengths(line);
                Some(Color::Cyan)
            }
            Some(b'+') if new > 0 => {
                new -= 1;
                Some(Color::Green)
            }
            Some(b'-') if old > 0 => {
                old -= 1;
                Some(Color::Red)
            }
            Some(b' ') => {
                [old, new] = [old, new].map(|left| left.saturating_sub(1));
                None
            }
            _ => None,
        };
        let line = plain(&line.replace('\t', "    "));
        out += &palette.paint(color, &line);
        out.push('\n');
    }
    out
}

/// The numbers of old and new lines in the header of a hunk, `@@ -L,N +L,N @@`; a number that is absent is 1.
fn hunk_lengths(header: &str) -> [usize; 2] {
    let mut ranges = header.split(' ').skip(1);
    [(); 2].map(|()| {
        let range = ranges.next().unwrap_or_default();
        let length = range.split_once(',').map_or("1", |(_, length)| length);
        length.parse().unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_hunks_are_colored_and_headers_are_not() {
        let text = "--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n a\n--- b\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+++ b\n";
        let expected = "--- a/x\n+++ b/x\nC@@ -1,2 +1 @@R\n a\nD--- bR\n--- a/y\n+++ b/y\nC@@ -1 +1 @@R\nD-aR\nA+++ bR\n";
        let shown = diff(text.as_bytes(), Palette::Colored)
            .replace("\u{1b}[36m", "C")
            .replace("\u{1b}[31m", "D")
            .replace("\u{1b}[32m", "A")
            .replace("\u{1b}[0m", "R");
        assert_eq!(shown, expected);
        assert_eq!(diff(text.as_bytes(), Palette::Plain), text);
    }
}
