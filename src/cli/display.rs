//! Errors and warnings for people: what failed, the line with a caret, what to do.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::{
    checks::FilePlace, code::Code, config::Config, error::Error, report::causes::Cause,
    untrusted::plain,
};

/// How many places of a wrong count are listed; the rest is counted.
const PLACES: usize = 20;

/// Renders an error, with what to do about it.
pub(super) fn problem(problem: &Error, help: Option<&str>, colour: bool) -> String {
    let code = problem.code.as_str();
    let title = Level::ERROR.primary_title(plain(&problem.text())).id(code);
    let mut group = match &problem.place {
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
            let snippet =
                Snippet::source(place.source.text.to_string()).path(plain(&place.source.name));
            title.element(snippet.annotation(annotation))
        }
        None => Group::with_title(title),
    };
    for note in &problem.notes {
        group = group.element(Level::NOTE.message(plain(note)));
    }
    if let Some(help) = help {
        group = group.element(Level::HELP.message(plain(help)));
    }
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[group]) + "\n"
}

/// A failed cause as an error; a wrong count points at its number in the configuration.
pub(super) fn failed(cause: &Cause<'_>, config: &Config) -> Error {
    let check = cause.first();
    let image = check.image.as_deref().and_then(|name| config.image(name));
    if let (Code::PIN_COUNT, Some(image)) = (check.code, image) {
        // The evidence also lists the places, which are in the notes.
        let message = check.cause.as_ref().unwrap_or(&check.detail);
        return Error {
            place: Some(Box::new(config.place(image.pins_at, "declared here"))),
            notes: found(&check.places),
            ..Error::failed(check.code, message)
        };
    }
    Error {
        notes: cause.evidence(),
        ..Error::failed(check.code, headed(cause))
    }
}

/// A warning as lines; the last one is the help, if the check has any.
pub(super) fn warning(cause: &Cause<'_>) -> String {
    let mut text = format!("warning[{}]: {}\n", cause.code(), plain(&headed(cause)));
    for evidence in cause.evidence() {
        let _ = writeln!(text, "  = note: {}", plain(&evidence));
    }
    if let Some(help) = cause.help() {
        let _ = writeln!(text, "  = help: {}", plain(help));
    }
    text
}

/// The message, headed by the images that it is about.
fn headed(cause: &Cause<'_>) -> String {
    let subject = cause.subject();
    if subject.is_empty() {
        cause.message()
    } else {
        format!("{subject}: {}", cause.message())
    }
}

/// The places of pins as notes.
fn found(places: &[FilePlace]) -> Vec<String> {
    let mut notes: Vec<_> = places
        .iter()
        .take(PLACES)
        .map(|place| format!("found: {place}"))
        .collect();
    if places.len() > PLACES {
        notes.push(format!(
            "found: … {} more (repin scan)",
            places.len() - PLACES
        ));
    }
    notes
}

/// A diff for people, with every hidden character of a file's content escaped.
pub(super) fn diff(diff: &[u8], coloured: bool) -> String {
    let text = String::from_utf8_lossy(diff);
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let colour = match line.as_bytes().first() {
            Some(b'+') if coloured => "\u{1b}[32m",
            Some(b'-') if coloured => "\u{1b}[31m",
            Some(b'@') if coloured => "\u{1b}[36m",
            _ => "",
        };
        let reset = if colour.is_empty() { "" } else { "\u{1b}[0m" };
        let harmless = line.replace('\t', "    ");
        let _ = writeln!(out, "{colour}{}{reset}", plain(&harmless));
    }
    out
}
