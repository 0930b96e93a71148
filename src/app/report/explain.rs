//! Explanations of codes, as a document and as text.

use std::fmt::Write as _;

use serde::Serialize;

use super::layout::{Align, aligned, wrapped};
use crate::base::code::{self, Code};

/// The maximum width of a line, in columns.
const WIDTH: usize = 80;

/// `repin.explain/1`: the explanation of one code, or the list of all codes. `docs/json.md` describes its
/// fields.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ExplainDocument {
    pub schema: &'static str,
    pub code: Option<Code>,
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

/// Every code with its summary, grouped by subject.
pub(crate) fn list() -> String {
    let mut out = String::new();
    for (subject, section) in code::sections() {
        let rows: Vec<_> = section
            .iter()
            .map(|found| vec![format!("  {}", found.code), found.summary.to_owned()])
            .collect();
        let table = aligned(&[Align::Left; 2], &rows);
        let _ = write!(out, "{subject}:\n{table}\n");
    }
    out + "For one of them: repin explain CODE\n"
}

/// Wraps text at [`WIDTH`] columns; `first` starts the first line, and `others` start the following lines.
fn paragraph(out: &mut String, first: &str, others: &str, text: &str) {
    let mut indent = first;
    for line in wrapped(text, WIDTH - first.len()) {
        let _ = writeln!(out, "{indent}{line}");
        indent = others;
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
}
