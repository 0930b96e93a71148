//! GitHub's workflow commands and files (GitHub Actions, "Workflow commands").

use std::fmt::Write as _;

use super::table::plain;
use crate::checks::{Check, Status};

/// Checks that did not pass, as annotations; `folder` leads from the repository's top to the root
/// and ends with `/` or is empty.
pub fn checks(checks: &[Check], folder: &str) -> String {
    let mut out = String::new();
    for check in checks {
        let level = match check.status {
            Status::Fail => "error",
            Status::Warn => "warning",
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
            let at = format!(
                "file={},line={},col={},",
                property(&file),
                place.line,
                place.column
            );
            let _ = writeln!(
                out,
                "::{level} {at}title={}::{}",
                property(&title),
                data(&check.told())
            );
        }
        if check.places.is_empty() {
            let _ = writeln!(
                out,
                "::{level} title={}::{}",
                property(&title),
                data(&check.told())
            );
        }
    }
    out
}

/// An error without a check, as an annotation.
pub fn error(title: &str, message: &str, place: Option<(&str, usize, usize)>) -> String {
    let at = place.map_or_else(String::new, |(file, line, column)| {
        format!("file={},line={line},col={column},", property(file))
    });
    format!("::error {at}title={}::{}\n", property(title), data(message))
}

/// A warning without a check, as an annotation.
pub fn warning(title: &str, message: &str) -> String {
    format!("::warning title={}::{}\n", property(title), data(message))
}

/// A name with a value of any text, for `GITHUB_OUTPUT`; `delimiter` must not occur in the value.
pub fn output(name: &str, value: &str, delimiter: &str) -> String {
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// Text that runs unread by the runner's command parser: a body or a diff on standard output.
pub fn unparsed(text: &str, token: &str) -> String {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("::stop-commands::{token}\n{text}{end}::{token}::\n")
}

/// The runner's log is shown on a terminal's terms: line breaks come through as its own escapes,
/// nothing else that hides.
fn data(text: &str) -> String {
    let lines = text
        .split('\n')
        .map(|line| line.split('\r').map(plain).collect::<Vec<_>>().join("\r"));
    lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
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

    #[test]
    fn outputs_and_unparsed_text_keep_their_bounds() {
        assert_eq!(output("title", "a\nb=c", "D"), "title<<D\na\nb=c\nD\n");
        assert_eq!(
            unparsed("::error::x", "T"),
            "::stop-commands::T\n::error::x\n::T::\n"
        );
        assert_eq!(
            error("t", "a\u{1b}[2J\r\nb", None),
            "::error title=t::a\\u{1b}[2J%0D%0Ab\n"
        );
        assert_eq!(
            error("a:b", "c", Some(("f", 1, 2))),
            "::error file=f,line=1,col=2,title=a%3Ab::c\n"
        );
    }
}
