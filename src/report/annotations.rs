//! Checks as annotations of GitHub Actions.

use crate::{
    checks::{Check, Status},
    untrusted::workflow::{Commands, Level, Place},
};

/// Checks that fail or warn, and those of the repository that were skipped, as annotations; `folder` leads from the repository's top to the root
/// and ends with `/` or is empty.
pub fn checks(checks: &[Check], folder: &str) -> Commands {
    let mut out = Commands::default();
    for check in checks {
        let level = match check.status {
            Status::Fail => Level::Error,
            Status::Warn => Level::Warning,
            // What was not checked for an image is in its row.
            Status::Skip if check.image.is_none() => Level::Notice,
            Status::Pass | Status::Skip => continue,
        };
        let subject = [&check.image, &check.platform]
            .into_iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ");
        let title = if subject.is_empty() {
            check.code.to_string()
        } else {
            format!("{} ({subject})", check.code)
        };
        // One annotation a place; a check about no place gets one without.
        for place in &check.places {
            let file = format!("{folder}{}", place.file);
            let at = Place {
                file: &file,
                line: place.line,
                column: place.column,
            };
            out.annotate(level, &title, &check.told(), Some(at));
        }
        if check.places.is_empty() {
            out.annotate(level, &title, &check.told(), None);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{Code, FilePlace};

    #[test]
    fn a_check_points_at_each_of_its_places() {
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
        ::error file=sub/a%2Cb.yml,line=3,col=7,title=pin_count (fix)::100%25%0A::set-output name=x::y
        ::error file=sub/c.yml,line=1,col=1,title=pin_count (fix)::100%25%0A::set-output name=x::y
        ::warning title=platform_lost::lost
        ");
    }
}
