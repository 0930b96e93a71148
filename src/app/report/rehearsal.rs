//! The result of a rehearsal: the table, the heartbeat, the errors, and the text of the issue.

use std::{collections::BTreeSet, fmt::Write as _};

use jiff::tz::TimeZone;

use super::{
    explain::by_cause,
    json::{RehearseDocument, RehearsedSet},
    layout::{Align, abbreviated, aligned, local, with_short_digests},
};
use crate::{
    base::{
        error::{Class, Code, Error},
        text::counted,
        untrusted::{markdown, plain, to_minute},
    },
    core::checks::Status,
};

/// The number of consecutive runs with an unknown set from which the issue mentions them.
const MENTIONED_RUNS: u32 = 3;
/// The beginning of the hidden line that counts these runs.
const COUNTER: &str = "<!-- unknown runs: ";
const COUNTER_END: &str = " -->";

/// The table of the sets.
pub(crate) fn table(document: &RehearseDocument, zone: &TimeZone) -> String {
    let heading = ["SET", "ROLLBACK", "SINCE", "DETAIL"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for set in &document.sets {
        rows.push(vec![
            plain(&short(set, document)),
            set.verdict.as_str().to_owned(),
            since(set, |date| local(date, zone)),
            plain(&with_short_digests(&detail(set))),
        ]);
    }
    aligned(&[Align::Left; 4], &rows)
}

/// The result of each set, on one line.
pub(crate) fn lines(document: &RehearseDocument) -> Vec<String> {
    let sets = document.sets.iter();
    sets.map(|set| {
        format!(
            "{}: {} ({})",
            set.revision,
            set.verdict.as_str(),
            detail(set)
        )
    })
    .collect()
}

/// The numbers of sets by verdict.
pub(crate) fn totals(document: &RehearseDocument) -> String {
    if document.sets.is_empty() {
        return "nothing to rehearse".to_owned();
    }
    let verdicts = [
        (document.ready, "ready"),
        (document.failed, "failed"),
        (document.unknown, "unknown"),
    ];
    let mut totals = Vec::new();
    for (count, verdict) in verdicts {
        if count > 0 {
            totals.push(format!("{count} {verdict}"));
        }
    }
    totals.join(", ")
}

/// The first failed check, the error, or the number of images and checks.
fn detail(set: &RehearsedSet) -> String {
    let causes = by_cause(&set.checks);
    let mut failures = causes.iter().filter(|cause| cause.status() == Status::Fail);
    if let Some(first) = failures.next() {
        let subject = match first.subject() {
            subject if subject.is_empty() => subject,
            subject => format!("{subject}: "),
        };
        let more = match failures.count() {
            0 => String::new(),
            more => format!(" (and {})", counted(more, "other failure")),
        };
        return format!("{}: {subject}{}{more}", first.code(), first.message());
    }
    match &set.error {
        Some(error) => format!("{}: {}", error.code, error.message),
        None => format!(
            "{}, {}",
            counted(set.images, "image"),
            counted(set.checks.len(), "check")
        ),
    }
}

fn short(set: &RehearsedSet, document: &RehearseDocument) -> String {
    let sets = document.sets.iter();
    let revisions: BTreeSet<&str> = sets.map(|set| set.revision.as_str()).collect();
    abbreviated(&set.revision, &revisions)
}

fn since(set: &RehearsedSet, shown: impl Fn(&str) -> String) -> String {
    set.date.as_deref().map_or_else(|| "-".to_owned(), shown)
}

/// The error of a rehearsal; `None` if no set fails, and one is ready or none was rehearsed.
pub(crate) fn error(document: &RehearseDocument) -> Option<Error> {
    let latest = match document.latest_not_ready() {
        Some(set) => format!(
            "the most recent available set, {}, is not ready: ",
            short(set, document)
        ),
        None => String::new(),
    };
    let total = document.sets.len();
    if document.failed > 0 {
        let message = format!(
            "{latest}{} of {} cannot be rolled back to",
            document.failed,
            counted(total, "set")
        );
        return Some(Error::failed(Code::REHEARSAL_FAILED, message));
    }
    if document.unknown == 0 || document.ready > 0 {
        return None;
    }
    let classes = document.sets.iter().filter_map(|set| set.class);
    let class = match classes.reduce(Class::worse) {
        Some(Class::Denied) => Class::Denied,
        _ => Class::Unavailable,
    };
    let code = match class {
        Class::Denied => Code::DENIED,
        _ => Code::UNAVAILABLE,
    };
    let verb = if document.unknown == 1 { "is" } else { "are" };
    let message = format!(
        "{latest}{} of {} {verb} unknown",
        document.unknown,
        counted(total, "set")
    );
    Some(Error::new(class, code, message))
}

/// The warning that the most recent available set is unknown although another one is ready.
pub(crate) fn warning(document: &RehearseDocument) -> Option<String> {
    let set = document.latest_not_ready()?;
    let is_success = error(document).is_none();
    is_success.then(|| {
        format!(
            "the most recent available set, {}, is {}: {}",
            plain(&short(set, document)),
            set.verdict.as_str(),
            plain(&with_short_digests(&detail(set)))
        )
    })
}

/// The section of the issue that repin writes. `before`: the section of the previous run.
pub(crate) fn issue_text(document: &RehearseDocument, before: &str, now: &str) -> String {
    let runs = match document.unknown {
        0 => 0,
        _ => unknown_runs(before).saturating_add(1),
    };
    let mut text = format!(
        "Set {}: {} of {} cannot be rolled back to.\n\n| set | rollback | since | detail |\n| --- | --- | --- | --- |\n",
        markdown::code(&document.set_path.to_string()),
        document.failed,
        counted(document.sets.len(), "set"),
    );
    for set in &document.sets {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            markdown::code(&set.revision),
            set.verdict.as_str(),
            since(set, to_minute),
            markdown::inline(&detail(set)),
        );
    }
    if runs >= MENTIONED_RUNS {
        let _ = writeln!(text, "\nunknown in {runs} consecutive runs");
    }
    let _ = write!(
        text,
        "\nlast checked: {now}\n{COUNTER}{runs}{COUNTER_END}\n"
    );
    text
}

/// The number of consecutive runs with an unknown set that a section states.
fn unknown_runs(section: &str) -> u32 {
    let counter = section.lines().find_map(|line| {
        line.trim_end()
            .strip_prefix(COUNTER)?
            .strip_suffix(COUNTER_END)?
            .parse()
            .ok()
    });
    counter.unwrap_or_default()
}

/// The comment with which the issue is closed.
pub(crate) fn closing_comment(document: &RehearseDocument, now: &str) -> String {
    format!(
        "Every rehearsed set is ready for rollback: {}; checked {now}.",
        counted(document.ready, "set")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::report::json::ErrorRow,
        config::SetPath,
        core::checks::{Check, RehearsalVerdict},
    };

    fn set(revision: &str, verdict: RehearsalVerdict) -> RehearsedSet {
        let error = Error::unavailable("registry", "no response | yet");
        let is_unknown = verdict == RehearsalVerdict::Unknown;
        RehearsedSet {
            revision: revision.repeat(40),
            commit: None,
            date: None,
            verdict,
            checks: match verdict {
                RehearsalVerdict::Fails => {
                    vec![Check::new(Code::TAG_MISSING, Status::Fail, "gone").image("app")]
                }
                _ => Vec::new(),
            },
            error: is_unknown.then(|| ErrorRow::of(&error)),
            class: is_unknown.then_some(Class::Unavailable),
            images: 1,
            is_latest: revision == "a",
        }
    }

    fn document(sets: Vec<RehearsedSet>) -> RehearseDocument {
        RehearseDocument::new(SetPath::top(), sets)
    }

    #[test]
    fn latest_set_leads_the_error() {
        use RehearsalVerdict::{Fails, Ready, Unknown};
        let error_of = |one, other| {
            let document = document(vec![set("a", one), set("b", other)]);
            (error(&document), warning(&document))
        };
        assert_eq!(error_of(Ready, Ready), (None, None));
        assert_eq!(error_of(Ready, Unknown), (None, None));
        let (none, warning) = error_of(Unknown, Ready);
        assert!(none.is_none() && warning.unwrap().contains("aaaaaaaaaaaa, is unknown"));
        let (failed, warning) = error_of(Ready, Fails);
        let failed = failed.unwrap();
        assert_eq!(failed.message, "1 of 2 sets cannot be rolled back to");
        assert!(failed.class == Class::Failed && warning.is_none());
        for other in [Ready, Unknown, Fails] {
            let failed = error_of(Fails, other).0.unwrap();
            let latest = "the most recent available set, aaaaaaaaaaaa, is not ready: ";
            assert!(failed.message.starts_with(latest), "{failed}");
        }
        let failed = error_of(Unknown, Fails).0.unwrap();
        assert_eq!(failed.code, Code::REHEARSAL_FAILED);
        let unknown = error_of(Unknown, Unknown).0.unwrap();
        assert_eq!(unknown.class, Class::Unavailable);
        let mut denied = document(vec![set("a", Unknown), set("b", Unknown)]);
        denied.sets[1].class = Some(Class::Denied);
        let denied = error(&denied).unwrap();
        assert_eq!((denied.class, denied.code), (Class::Denied, Code::DENIED));
    }

    #[test]
    fn consecutive_unknown_runs_are_counted() {
        use RehearsalVerdict::{Ready, Unknown};
        let unknown = document(vec![set("a", Unknown), set("b", Ready)]);
        let mut text = String::new();
        for run in 1..=4 {
            text = issue_text(&unknown, &text, "now");
            let mention = format!("unknown in {run} consecutive runs");
            assert_eq!(text.contains(&mention), run >= 3, "{text}");
        }
        let known = document(vec![set("a", Ready)]);
        text = issue_text(&known, &text, "now");
        text = issue_text(&unknown, &text, "now");
        assert!(text.contains("<!-- unknown runs: 1 -->"), "{text}");
        for malformed in ["<!-- unknown runs: -1 -->", "<!-- unknown runs: x -->", ""] {
            assert_eq!(unknown_runs(malformed), 0);
        }
    }

    #[test]
    fn foreign_text_cannot_end_a_table_row() {
        let text = issue_text(
            &document(vec![set("a", RehearsalVerdict::Unknown)]),
            "",
            "now",
        );
        assert!(text.contains(r"no response \| yet"), "{text}");
    }
}
