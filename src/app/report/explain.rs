//! Explanations of codes, as a document and as text.
//!
//! Checks grouped by cause: a cause that images share is reported once and lists all of them.
//!
//! Causes are for text and annotations; JSON documents list every check.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    layout::{Align, aligned, wrapped},
    words::{WORDS, Word},
};
use crate::{
    base::error::{self, Code},
    core::checks::{Check, FileLocation, Status},
};

/// The maximum width of a line, in columns.
const WIDTH: usize = 80;

/// `repin.explain/1`: the explanation of one code, or the list of all codes. `docs/json.md` describes its
/// fields.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ExplainDocument {
    pub schema: &'static str,
    pub code: Option<Code>,
    /// A word of tables and messages instead of a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<&'static str>,
    pub kind: Option<&'static str>,
    pub summary: Option<&'static str>,
    pub meaning: Option<&'static str>,
    pub causes: &'static [&'static str],
    pub remedy: Option<&'static str>,
    pub example: Option<&'static str>,
    /// The exit codes of runs that report the code.
    pub exits: &'static [u8],
    /// Every code, if no code was requested.
    pub codes: Vec<ExplainRow>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ExplainRow {
    pub code: Code,
    pub kind: &'static str,
    pub summary: &'static str,
}

const SCHEMA: &str = "repin.explain/1";

impl ExplainDocument {
    pub(crate) fn one(code: Code) -> Self {
        let found = code.explanation();
        Self {
            schema: SCHEMA,
            code: Some(code),
            word: None,
            kind: Some(found.kind.as_str()),
            summary: Some(found.summary),
            meaning: Some(found.meaning),
            causes: found.causes,
            remedy: Some(found.remedy),
            example: Some(found.example),
            exits: found.exits,
            codes: Vec::new(),
        }
    }

    pub(crate) fn from_word(word: &Word) -> Self {
        Self {
            schema: SCHEMA,
            word: Some(word.name),
            kind: Some("word"),
            summary: Some(word.summary),
            meaning: Some(word.meaning),
            example: Some(word.example),
            ..Self::default()
        }
    }

    pub(crate) fn list() -> Self {
        Self {
            schema: SCHEMA,
            codes: Code::all()
                .map(|code| ExplainRow {
                    code,
                    kind: code.explanation().kind.as_str(),
                    summary: code.explanation().summary,
                })
                .collect(),
            ..Self::default()
        }
    }
}

/// The explanation of one code.
pub(crate) fn text(code: Code) -> String {
    let found = code.explanation();
    let exits: Vec<_> = found.exits.iter().map(u8::to_string).collect();
    let mut out = format!(
        "{code} ({}, exit {})\n\n",
        found.kind.as_str(),
        exits.join(" or ")
    );
    let about = format!("{} {}", found.summary, found.meaning);
    paragraph(&mut out, "", "", &about);
    out.push_str("\nCommon causes:\n");
    for cause in found.causes {
        paragraph(&mut out, "  - ", "    ", cause);
    }
    out.push_str("\nWhat to do:\n");
    paragraph(&mut out, "  ", "  ", found.remedy);
    let _ = write!(out, "\nExample:\n  {}\n", found.example);
    out
}

/// The explanation of a word.
pub(crate) fn text_of_word(word: &Word) -> String {
    let mut out = format!("{} (word)\n\n", word.name);
    paragraph(
        &mut out,
        "",
        "",
        &format!("{} {}", word.summary, word.meaning),
    );
    let _ = write!(out, "\nExample:\n  {}\n", word.example);
    out
}

/// Every code with its summary, grouped by subject, and the words.
pub(crate) fn list() -> String {
    let mut out = String::new();
    for (subject, section) in error::sections() {
        let rows: Vec<_> = section
            .iter()
            .map(|found| vec![format!("  {}", found.code), found.summary.to_owned()])
            .collect();
        let table = aligned(&[Align::Left; 2], &rows);
        let _ = write!(out, "{subject}:\n{table}\n");
    }
    let words: Vec<_> = WORDS.iter().map(|word| word.name).collect();
    let words = words.join(", ");
    out += "Words of tables and messages:\n";
    paragraph(&mut out, "  ", "  ", &words);
    out + "\nFor one of them: repin explain CODE\n"
}

/// Wraps text at [`WIDTH`] columns; `first` starts the first line, and `others` start the following lines.
fn paragraph(out: &mut String, first: &str, others: &str, text: &str) {
    let mut indent = first;
    for line in wrapped(text, WIDTH - first.len()) {
        let _ = writeln!(out, "{indent}{line}");
        indent = others;
    }
}

/// One or more checks with the same code, status and cause.
#[derive(Debug)]
pub(crate) struct Cause<'c> {
    first: &'c Check,
    others: Vec<&'c Check>,
}

/// Groups checks by cause, in the order of the first checks.
pub(crate) fn by_cause(checks: &[Check]) -> Vec<Cause<'_>> {
    let mut causes: Vec<Cause<'_>> = Vec::new();
    for check in checks {
        match causes
            .iter_mut()
            .find(|cause| have_same_cause(cause.first, check))
        {
            Some(cause) => cause.others.push(check),
            None => causes.push(Cause {
                first: check,
                others: Vec::new(),
            }),
        }
    }
    causes
}

/// Whether two checks have the same cause. Checks with locations share only a declared cause.
fn have_same_cause(one: &Check, other: &Check) -> bool {
    let same = match (&one.cause, &other.cause) {
        (Some(one), Some(other)) => one == other,
        (None, None) => {
            one.locations.is_empty()
                && other.locations.is_empty()
                && (&one.detail, &one.item) == (&other.detail, &other.item)
        }
        _ => false,
    };
    same && (one.code, one.status, &one.help) == (other.code, other.status, &other.help)
}

/// The image and the platform of a check; empty if it concerns the repository.
pub(crate) fn subject(check: &Check) -> String {
    match (&check.image, &check.platform) {
        (Some(image), Some(platform)) => format!("{image} {platform}"),
        (Some(subject), None) | (None, Some(subject)) => subject.clone(),
        (None, None) => String::new(),
    }
}

impl<'c> Cause<'c> {
    pub(crate) fn first(&self) -> &'c Check {
        self.first
    }

    pub(crate) fn code(&self) -> Code {
        self.first.code
    }

    pub(crate) fn status(&self) -> Status {
        self.first.status
    }

    /// The images and platforms; empty if the cause concerns the repository.
    pub(crate) fn subject(&self) -> String {
        let mut subjects: Vec<String> = Vec::new();
        for check in self.checks() {
            let subject = subject(check);
            if !subject.is_empty() && !subjects.contains(&subject) {
                subjects.push(subject);
            }
        }
        subjects.join(", ")
    }

    pub(crate) fn message(&self) -> String {
        match &self.first.cause {
            Some(cause) if !self.others.is_empty() => cause.clone(),
            _ => self.first.describe(),
        }
    }

    /// The evidence of each image, if the images differ.
    pub(crate) fn evidence(&self) -> Vec<String> {
        let mut evidence: Vec<String> = Vec::new();
        for check in self.checks() {
            let text = check.describe();
            if !evidence.contains(&text) {
                evidence.push(text);
            }
        }
        if evidence.len() == 1 {
            evidence.clear();
        }
        evidence
    }

    pub(crate) fn help(&self) -> Option<&'c str> {
        self.first.help.as_deref()
    }

    /// The locations of a single check, or the first location of a group.
    pub(crate) fn locations(&self) -> &'c [FileLocation] {
        let locations = &self.first.locations;
        if self.others.is_empty() {
            locations
        } else {
            &locations[..locations.len().min(1)]
        }
    }

    fn checks(&self) -> impl Iterator<Item = &'c Check> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanation_is_a_page() {
        insta::assert_snapshot!(text(Code::REVISION_ORDER));
    }

    #[test]
    fn pages_fit_into_80_columns() {
        for code in Code::all() {
            let example = code.explanation().example;
            let page = text(code);
            let long = page
                .lines()
                .find(|line| line.len() > WIDTH && line.trim() != example);
            assert_eq!(long, None);
        }
    }

    #[test]
    fn list_has_a_line_for_each_code() {
        let list = list();
        for code in Code::all() {
            let line = list
                .lines()
                .find(|line| line.split_whitespace().next() == Some(code.as_str()));
            assert!(line.is_some_and(|line| line.ends_with(code.explanation().summary)));
        }
    }

    fn missing(image: &str) -> Check {
        let detail = format!("ghcr.io/acme/{image}:r1 does not exist");
        Check::new(Code::TAG_MISSING, Status::Fail, detail)
            .cause("tag `r1` does not exist")
            .image(image)
    }

    #[test]
    fn shared_cause_is_reported_once_with_every_image() {
        let other = Check::new(Code::REVISION_LABEL, Status::Fail, "label is absent").image("fix");
        let checks = [missing("review"), other, missing("fix"), missing("lint")];
        let causes = by_cause(&checks);
        assert_eq!(causes.len(), 2);
        assert_eq!(causes[0].subject(), "review, fix, lint");
        assert_eq!(causes[0].message(), "tag `r1` does not exist");
        assert_eq!(
            causes[0].evidence(),
            ["review", "fix", "lint"].map(|name| format!("ghcr.io/acme/{name}:r1 does not exist"))
        );
        assert_eq!(causes[1].message(), "label is absent");
    }

    #[test]
    fn single_check_keeps_its_evidence() {
        let checks = [missing("review")];
        let cause = &by_cause(&checks)[0];
        assert_eq!(cause.message(), "ghcr.io/acme/review:r1 does not exist");
        assert_eq!(cause.evidence(), Vec::<String>::new());
    }

    #[test]
    fn equal_evidence_is_reported_once() {
        let label = |platform: &str| {
            Check::new(Code::REVISION_LABEL, Status::Fail, "label is absent")
                .image("review")
                .platform(&platform)
        };
        let checks = [label("linux/amd64"), label("linux/arm64")];
        let cause = &by_cause(&checks)[0];
        assert_eq!(cause.subject(), "review linux/amd64, review linux/arm64");
        assert!(cause.evidence().is_empty());
    }

    #[test]
    fn different_status_help_or_place_is_another_cause() {
        let warned = Check {
            status: Status::Warn,
            ..missing("fix")
        };
        let helped = missing("fix").help("wait");
        let location = FileLocation {
            file: "a".to_owned(),
            line: 1,
            column: 1,
        };
        let placed = |image: &str| {
            Check::new(Code::PIN_OUTSIDE, Status::Fail, "pinned")
                .image(image)
                .locations(vec![location.clone()])
        };
        for pair in [
            [missing("a"), warned],
            [missing("a"), helped],
            [placed("a"), placed("b")],
        ] {
            assert_eq!(by_cause(&pair).len(), 2, "{pair:?}");
        }
    }
}
