//! Problems as people meet them: what, where with the line and a caret, why, what to do.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::{
    checks::{Check, Code, Status},
    config::Config,
    error::{Class, Error},
    untrusted::plain,
};

/// Renders a problem.
pub(super) fn problem(problem: &Error, colour: bool) -> String {
    let code = plain(problem.code);
    let title = Level::ERROR.primary_title(plain(&problem.text())).id(code);
    let mut group = match &problem.place {
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
    if let Some(help) = problem.remedy() {
        group = group.element(Level::HELP.message(plain(&help)));
    }
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[group]) + "\n"
}

/// A failed check as a problem: counts point at the number in the configuration.
pub(super) fn failed(check: &Check, config: &Config) -> Error {
    let mut problem = Error::new(
        Class::Failed,
        check.code.as_str(),
        subject(check) + &check.told(),
    );
    let image = check.image.as_deref().and_then(|name| config.image(name));
    if let (Code::PIN_COUNT, Some(image)) = (check.code, image) {
        // What follows the colon lists the places, which stand in the notes.
        check
            .detail
            .split(": ")
            .next()
            .unwrap_or_default()
            .clone_into(&mut problem.message);
        problem.place = Some(Box::new(config.place(image.pins_at, "declared here")));
        problem.notes = check
            .places
            .iter()
            .map(|place| format!("found: {place}"))
            .collect();
        problem.help = Some(if check.places.len() < image.pins {
            format!(
                "a file that pins `{}` was removed or is not matched by `files:`; correct one of the two",
                image.name
            )
        } else {
            format!(
                "a pin of `{}` was added; if it belongs there, count it in `pins:`",
                image.name
            )
        });
    } else if check.status == Status::Fail {
        problem.help = hint(check.code).map(str::to_owned);
    }
    problem
}

/// The image and platform that a check is about.
pub(super) fn subject(check: &Check) -> String {
    match (&check.image, &check.platform) {
        (Some(image), Some(platform)) => format!("{image} {platform}: "),
        (Some(image), None) => format!("{image}: "),
        _ => String::new(),
    }
}

/// What to do about a failed check, where its evidence does not say it.
fn hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::TAG_MISSING => {
            "build and push every image of the set at this revision, then promote again"
        }
        Code::DIGEST_MISMATCH => {
            "the tag was moved after the build, or the digest is another build's: find out which before going on"
        }
        Code::REVISION_LABEL => {
            "the image was built from another commit than its tag says; build it again"
        }
        Code::MANIFEST_AMBIGUOUS => "push the image again; don't use it as it is",
        Code::FILE_UNSAFE => "replace the link by a file of its own, or take it out of `files:`",
        Code::PIN_UNSUPPORTED => {
            "write the digest in full, or make it a placeholder such as `<digest>`"
        }
        Code::PIN_OUTSIDE => {
            "let `files` match the file and count the pin, or name the file in `outside_ignore`"
        }
        Code::DIGEST_OUTSIDE => {
            "write it as a whole reference that `files` matches, or name the file in `outside_ignore`"
        }
        Code::PIN_DISAGREE => "promote or roll back: that brings all pins together",
        Code::INVENTORY_MUST_CONTAIN_MISSING => {
            "build the image again with it, or take the name out of the contract"
        }
        Code::INVENTORY_MUST_NOT_CONTAIN_PRESENT => {
            "build the image again without it, or take the name out of the contract"
        }
        Code::FORBIDDEN_FILE_PRESENT => {
            "build the image without it; if it was a secret, replace the secret"
        }
        Code::ENV_SECRET => "hand the secret over when the image runs, and replace it",
        Code::MODE_UNEXPECTED | Code::UNREADABLE => {
            "correct owner and mode where the image is built"
        }
        Code::EXPECTED_YAML_IN_IMAGE_MISMATCH => "build the image with today's contract",
        Code::SMOKE_FAILED => "look at what it printed; build the image again",
        Code::SMOKE_UNAVAILABLE => {
            "see `smoke.engine` and `smoke.engine_args`, or set `smoke.when_unavailable: skip` where none is to be had"
        }
        Code::LABEL_MISSING => {
            "build the image with the label, or take it out of `inventory.required_labels`"
        }
        _ => return None,
    })
}

/// A diff for people: no hidden character of a file's content gets through, coloured or not.
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
