//! Checks as annotations of GitHub Actions.

use super::causes::by_cause;
use crate::{
    checks::{Check, Status},
    untrusted::workflow::{Commands, Level, Place},
};

/// Checks that fail or warn, and those of the repository that were skipped, as annotations, one for
/// each cause; `directory` leads from the repository's top to the root and ends with `/` or is
/// empty.
pub fn checks(checks: &[Check], directory: &str) -> Commands {
    let mut out = Commands::default();
    for cause in by_cause(checks) {
        let level = match cause.status() {
            Status::Fail => Level::Error,
            Status::Warn => Level::Warning,
            // A check that was skipped for an image is counted in the image's row.
            Status::Skip if cause.first().image.is_none() => Level::Notice,
            Status::Pass | Status::Skip => continue,
        };
        let subject = cause.subject();
        let title = if subject.is_empty() {
            cause.code().to_string()
        } else {
            format!("{} ({subject})", cause.code())
        };
        let mut message = cause.message();
        for evidence in cause.evidence() {
            message = message + "\n" + &evidence;
        }
        let message = with_help(&message, cause.help());
        for place in cause.places() {
            let file = format!("{directory}{}", place.file);
            let at = Place {
                file: &file,
                line: place.line,
                column: place.column,
            };
            out.annotate(level, &title, &message, Some(at));
        }
        if cause.places().is_empty() {
            out.annotate(level, &title, &message, None);
        }
    }
    out
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
    use crate::checks::{Code, FilePlace};

    #[test]
    fn each_place_of_a_check_gets_an_annotation() {
        let places = vec![
            FilePlace {
                file: "a,b.yml".into(),
                line: 3,
                column: 7,
            },
            FilePlace {
                file: "c.yml".into(),
                line: 1,
                column: 1,
            },
        ];
        let failed = Check::new(
            Code::PIN_COUNT,
            Status::Fail,
            "100%\n::set-output name=x::y",
        )
        .image("fix")
        .places(places);
        let passed = Check::new(Code::PIN_COUNT, Status::Pass, "fine");
        let warned = Check::new(Code::PLATFORM_LOST, Status::Warn, "lost");
        insta::assert_snapshot!(checks(&[failed, passed, warned], "sub/"), @r"
        ::error file=sub/a%2Cb.yml,line=3,col=7,title=pin_count (fix)::100%25%0A::set-output name=x::y%0Ahelp: compare the pins found with the ones you expect; then correct `pins:` or `files:`
        ::error file=sub/c.yml,line=1,col=1,title=pin_count (fix)::100%25%0A::set-output name=x::y%0Ahelp: compare the pins found with the ones you expect; then correct `pins:` or `files:`
        ::warning title=platform_lost::lost
        ");
    }
}
