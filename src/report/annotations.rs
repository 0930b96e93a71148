//! Checks as annotations of GitHub Actions.

use super::causes::{Cause, by_cause};
use crate::{
    checks::{Check, Status},
    code::Code,
    config::Config,
    untrusted::workflow::{Commands, Level, Place},
};

/// The most annotations of a level that a step shows (GitHub Actions, "Workflow commands": 10 errors,
/// 10 warnings and 10 notices a step).
const SHOWN: usize = 10;

/// How many places of a cause its annotation lists.
const PLACES: usize = 20;

/// Checks that fail or warn, and those of the repository that were skipped, as annotations: one for
/// each cause, and never more than a step shows. `directory` leads from the repository's top to the
/// root and ends with `/` or is empty.
pub fn checks(checks: &[Check], config: &Config, directory: &str) -> Commands {
    let mut out = Commands::default();
    let causes = by_cause(checks);
    for level in [Level::Error, Level::Warning, Level::Notice] {
        let of_level = causes.iter().filter(|cause| level_of(cause) == Some(level));
        let of_level: Vec<_> = of_level.collect();
        let shown = if of_level.len() > SHOWN {
            SHOWN - 1
        } else {
            of_level.len()
        };
        for cause in &of_level[..shown] {
            annotate(&mut out, level, cause, config, directory);
        }
        let rest = &of_level[shown..];
        if !rest.is_empty() {
            let titles: Vec<_> = rest.iter().map(|cause| title(cause)).collect();
            let more = format!("{} more, listed in the log of this step", rest.len());
            out.annotate(level, &more, &titles.join("\n"), None);
        }
    }
    out
}

fn level_of(cause: &Cause<'_>) -> Option<Level> {
    match cause.status() {
        Status::Fail => Some(Level::Error),
        Status::Warn => Some(Level::Warning),
        // A check that was skipped for an image is counted in the image's row.
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

/// The annotation of a cause: a wrong count is where it is declared, everything else at its first
/// place.
fn annotate(out: &mut Commands, level: Level, cause: &Cause<'_>, config: &Config, directory: &str) {
    let first = cause.first();
    let image = first.image.as_deref();
    let declared = image
        .filter(|_| first.code == Code::PIN_COUNT)
        .and_then(|name| config.count_at(name));
    let mut message = match (&first.cause, &declared) {
        // The evidence also lists the places, which follow.
        (Some(cause), Some(_)) => cause.clone(),
        _ => cause.message(),
    };
    let places = cause.places();
    // The annotation itself is at the first place.
    let listed = usize::from(declared.is_none());
    if declared.is_none() {
        for evidence in cause.evidence() {
            message = message + "\n" + &evidence;
        }
    }
    for place in places.iter().skip(listed).take(PLACES) {
        message = format!("{message}\nfound: {place}");
    }
    if places.len() > PLACES + listed {
        let more = places.len() - PLACES - listed;
        message = format!("{message}\nfound: {more} more (repin scan)");
    }
    let message = with_help(&message, cause.help());
    let file = |name: &str| format!("{directory}{name}");
    let (file, line, column) = match (declared, places.first()) {
        (Some((line, column)), _) => (file(config.file_name()), line, column),
        (None, Some(place)) => (file(&place.file), place.line, place.column),
        (None, None) => return out.annotate(level, &title(cause), &message, None),
    };
    let at = Place {
        file: &file,
        line,
        column,
    };
    out.annotate(level, &title(cause), &message, Some(at));
}

/// The message of an annotation, with what to do on the last line.
pub fn with_help(message: &str, help: Option<&str>) -> String {
    match help {
        Some(help) => format!("{message}\nhelp: {help}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks::FilePlace, config::parse, error::SourceText};

    /// A configuration whose `pins` of `fix` stand on line 5.
    fn config() -> Config {
        let text = "version: 1\nfiles: [a.yml]\nimages:\n  review: { repository: r.example/review, pins: 1 }\n  fix: { repository: r.example/fix, pins: 2 }\n";
        let source = SourceText {
            name: "repin.yaml".to_owned(),
            text: text.into(),
        };
        parse(&source, std::path::Path::new("/root")).unwrap()
    }

    fn place(file: &str, line: usize) -> FilePlace {
        FilePlace {
            file: file.into(),
            line,
            column: 7,
        }
    }

    #[test]
    fn a_wrong_count_has_one_annotation_where_it_is_declared() {
        let failed = Check::new(
            Code::PIN_COUNT,
            Status::Fail,
            "100%\n::set-output name=x::y",
        )
        .image("fix")
        .places(vec![place("a,b.yml", 3), place("c.yml", 1)]);
        let passed = Check::new(Code::PIN_COUNT, Status::Pass, "fine");
        let warned = Check::new(Code::PLATFORM_LOST, Status::Warn, "lost");
        insta::assert_snapshot!(checks(&[failed, passed, warned], &config(), "sub/"), @r"
        ::error file=sub/repin.yaml,line=5,col=43,title=pin_count (fix)::100%25%0A::set-output name=x::y%0Afound: a,b.yml:3:7%0Afound: c.yml:1:7%0Ahelp: compare the pins found with the ones you expect; then correct `pins:` or `files:`
        ::warning title=platform_lost::lost
        ");
    }

    #[test]
    fn other_causes_point_at_their_first_place_and_list_the_rest() {
        let places = vec![place("a,b.yml", 3), place("c.yml", 1)];
        let failed = Check::new(Code::PIN_OUTSIDE, Status::Fail, "pinned outside")
            .image("fix")
            .places(places);
        let text = checks(&[failed], &config(), "").to_string();
        let expected = "::error file=a%2Cb.yml,line=3,col=7,title=pin_outside (fix)::pinned outside\
                        %0Afound: c.yml:1:7%0Ahelp: ";
        assert!(
            text.starts_with(expected) && text.lines().count() == 1,
            "{text}"
        );
    }

    #[test]
    fn a_step_shows_ten_annotations_of_a_level() {
        let of = |status| {
            move |n: usize| {
                Check::new(Code::REVISION_LABEL, status, format!("cause {n}")).image("fix")
            }
        };
        let ten: Vec<_> = (0..10).map(of(Status::Fail)).collect();
        let text = checks(&ten, &config(), "").to_string();
        assert_eq!(text.matches("::error ").count(), 10);
        assert!(text.contains("cause 9"), "{text}");
        let both = (0..12)
            .map(of(Status::Fail))
            .chain((0..3).map(of(Status::Warn)));
        let text = checks(&both.collect::<Vec<_>>(), &config(), "").to_string();
        assert_eq!(text.matches("::error ").count(), 10);
        assert_eq!(text.matches("::warning ").count(), 3);
        assert!(text.contains("title=3 more%2C listed in the log of this step::revision_label (fix)%0Arevision_label (fix)"), "{text}");
    }
}
