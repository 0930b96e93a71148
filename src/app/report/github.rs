//! Checks for GitHub Actions: annotations, and the step summary of `repin check`.

use std::fmt::Write as _;

use super::explain::{Cause, by_cause};
use crate::{
    base::{
        error::{Code, Error, Errors},
        text::counted,
        untrusted::{
            markdown,
            workflow::{AnnotationPlace, Commands, Level},
        },
    },
    config::Config,
    core::{
        checks::{Check, Status},
        pins::FoundPins,
    },
};

/// The number of annotations of each level that a step shows (GitHub Actions, "Workflow commands": 10
/// errors, 10 warnings and 10 notices per step).
const MAX_ANNOTATIONS: usize = 10;

/// The number of locations that the annotation of a cause lists.
const MAX_LOCATIONS: usize = 20;

/// The checks of a set. `directory` is the path from the top of the repository to the root; empty
/// or with a final `/`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SetChecks<'c> {
    pub(crate) checks: &'c [Check],
    pub(crate) config: &'c Config,
    pub(crate) directory: &'c str,
}

/// The failed checks, the warnings, and the skipped checks of the repository as annotations: one for each
/// cause, and at most as many as a step shows.
pub(crate) fn annotations(sets: &[SetChecks<'_>]) -> Commands {
    let mut out = Commands::default();
    let mut causes = Vec::new();
    for set in sets {
        causes.extend(by_cause(set.checks).into_iter().map(|cause| (set, cause)));
    }
    for level in [Level::Error, Level::Warning, Level::Notice] {
        let of_level: Vec<_> = causes
            .iter()
            .filter(|(_, cause)| level_of(cause) == Some(level))
            .collect();
        let count = if of_level.len() > MAX_ANNOTATIONS {
            MAX_ANNOTATIONS - 1
        } else {
            of_level.len()
        };
        let (annotated, others) = of_level.split_at(count);
        for (set, cause) in annotated {
            annotate(&mut out, level, cause, set.config, set.directory);
        }
        if !others.is_empty() {
            let titles: Vec<_> = others.iter().map(|(_, cause)| title(cause)).collect();
            let more = format!("{} more, listed in the log of this step", others.len());
            out.annotate(level, &more, &titles.join("\n"), None);
        }
    }
    out
}

fn level_of(cause: &Cause<'_>) -> Option<Level> {
    match cause.status() {
        Status::Fail => Some(Level::Error),
        Status::Warn => Some(Level::Warning),
        // The row of an image counts its skipped checks.
        Status::Skip if cause.first().image.is_none() => Some(Level::Notice),
        Status::Pass | Status::Skip => None,
    }
}

fn title(cause: &Cause<'_>) -> String {
    let subject = cause.subject();
    if subject.is_empty() {
        cause.code().to_string()
    } else {
        format!("{} ({subject})", cause.code())
    }
}

/// Annotates a cause at its first location, or a wrong count at its declaration.
fn annotate(out: &mut Commands, level: Level, cause: &Cause<'_>, config: &Config, directory: &str) {
    let first = cause.first();
    let image = first.image.as_deref();
    let declared = image
        .filter(|_| first.code == Code::PIN_COUNT)
        .and_then(|name| config.count_at(name));
    let mut message = match (&first.cause, &declared) {
        // The evidence lists the locations, which are appended below.
        (Some(cause), Some(_)) => cause.clone(),
        _ => cause.message(),
    };
    let locations = cause.locations();
    // The annotation is at the first location.
    let skipped = usize::from(declared.is_none());
    if declared.is_none() {
        for evidence in cause.evidence() {
            message = message + "\n" + &evidence;
        }
    }
    for location in locations.iter().skip(skipped).take(MAX_LOCATIONS) {
        message = format!("{message}\nfound: {location}");
    }
    if locations.len() > MAX_LOCATIONS + skipped {
        let more = locations.len() - MAX_LOCATIONS - skipped;
        message = format!("{message}\nfound: {more} more (repin scan)");
    }
    let message = with_help(&message, cause.help());
    let file = |name: &str| format!("{directory}{name}");
    let (file, line, column) = match (declared, locations.first()) {
        (Some((line, column)), _) => (file(config.file_name()), line, column),
        (None, Some(location)) => (file(&location.file), location.line, location.column),
        (None, None) => return out.annotate(level, &title(cause), &message, None),
    };
    let place = AnnotationPlace {
        file: &file,
        line,
        column,
    };
    out.annotate(level, &title(cause), &message, Some(place));
}

/// Appends the help as the last line of a message.
pub(crate) fn with_help(message: &str, help: Option<&str>) -> String {
    match help {
        Some(help) => format!("{message}\nhelp: {help}"),
        None => message.to_owned(),
    }
}

/// The step summary of `repin check`: the totals, and every cause that did not pass. `title` identifies
/// the set.
pub(crate) fn summary(
    title: &str,
    config: &Config,
    found: &FoundPins,
    checks: &[Check],
    errors: &[Error],
) -> String {
    let mut text = format!("## check: {}\n\n", markdown::inline(title));
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let _ = writeln!(
        text,
        "{} of {} in {}: {} passed, {} failed, {} warned, {} skipped\n",
        counted(found.pins().len(), "pin"),
        counted(config.images.len(), "image"),
        counted(found.files_with_pins(), "file"),
        count(Status::Pass),
        count(Status::Fail),
        count(Status::Warn),
        count(Status::Skip),
    );
    for cause in by_cause(checks) {
        if cause.status() == Status::Pass {
            continue;
        }
        let subject = markdown::inline(&cause.subject());
        let _ = writeln!(
            text,
            "- {} {} {subject}: {}",
            cause.status().as_str(),
            markdown::code(cause.code().as_str()),
            markdown::code(&cause.message())
        );
        for evidence in cause.evidence() {
            let _ = writeln!(text, "  - {}", markdown::code(&evidence));
        }
        if let Some(help) = cause.help() {
            let _ = writeln!(text, "  - help: {}", markdown::inline(help));
        }
    }
    text + &error_items(errors)
}

fn error_items(errors: &[Error]) -> String {
    let mut text = String::new();
    for error in errors {
        let _ = writeln!(
            text,
            "- error {}: {}",
            markdown::code(error.code.as_str()),
            markdown::code(&error.text())
        );
    }
    text
}

/// Errors as a list for a step summary, each with its notes and its help.
pub(crate) fn error_lines(errors: &Errors) -> String {
    let mut text = String::new();
    for error in errors.by_cause() {
        text += &error_items(std::slice::from_ref(&error));
        for note in &error.notes {
            let _ = writeln!(text, "  - {}", markdown::code(note));
        }
        let _ = writeln!(text, "  - help: {}", markdown::inline(&error.remedy()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::checks::FileLocation;

    /// A configuration that declares the `pins` of `fix` on line 5.
    fn config() -> Config {
        let text = "version: 1\nfiles: [a.yml]\nimages:\n  review: { repository: r.example/review, pins: 1 }\n  fix: { repository: r.example/fix, pins: 2 }\n";
        crate::config::example(text)
    }

    fn annotated(checks: &[Check], directory: &str) -> String {
        let config = config();
        let set = SetChecks {
            checks,
            config: &config,
            directory,
        };
        annotations(&[set]).to_string()
    }

    fn location(file: &str, line: usize) -> FileLocation {
        FileLocation {
            file: file.into(),
            line,
            column: 7,
        }
    }

    #[test]
    fn wrong_count_is_annotated_at_its_declaration() {
        let failed = Check::new(
            Code::PIN_COUNT,
            Status::Fail,
            "100%\n::set-output name=x::y",
        )
        .image("fix")
        .locations(vec![location("a,b.yml", 3), location("c.yml", 1)]);
        let passed = Check::new(Code::PIN_COUNT, Status::Pass, "fine");
        let warned = Check::new(Code::PLATFORM_LOST, Status::Warn, "lost");
        insta::assert_snapshot!(annotated(&[failed, passed, warned], "sub/"), @r"
        ::error file=sub/repin.yaml,line=5,col=43,title=pin_count (fix)::100%25%0A::set-output name=x::y%0Afound: a,b.yml:3:7%0Afound: c.yml:1:7%0Ahelp: compare the pins found with the ones you expect; then correct `pins:` or `files:`
        ::warning title=platform_lost::lost
        ");
    }

    #[test]
    fn other_causes_are_annotated_at_their_first_place() {
        let locations = vec![location("a,b.yml", 3), location("c.yml", 1)];
        let failed = Check::new(Code::PIN_OUTSIDE, Status::Fail, "pinned outside")
            .image("fix")
            .locations(locations);
        let text = annotated(&[failed], "");
        let expected = "::error file=a%2Cb.yml,line=3,col=7,title=pin_outside (fix)::pinned outside\
                        %0Afound: c.yml:1:7%0Ahelp: ";
        assert!(
            text.starts_with(expected) && text.lines().count() == 1,
            "{text}"
        );
    }

    #[test]
    fn at_most_ten_annotations_of_a_level() {
        let check = |status| {
            move |n: usize| {
                Check::new(Code::REVISION_LABEL, status, format!("cause {n}")).image("fix")
            }
        };
        let ten: Vec<_> = (0..10).map(check(Status::Fail)).collect();
        let text = annotated(&ten, "");
        assert_eq!(text.matches("::error ").count(), 10);
        assert!(text.contains("cause 9"), "{text}");
        let both = (0..12)
            .map(check(Status::Fail))
            .chain((0..3).map(check(Status::Warn)));
        let text = annotated(&both.collect::<Vec<_>>(), "");
        assert_eq!(text.matches("::error ").count(), 10);
        assert_eq!(text.matches("::warning ").count(), 3);
        assert!(text.contains("title=3 more%2C listed in the log of this step::revision_label (fix)%0Arevision_label (fix)"), "{text}");
    }
}
