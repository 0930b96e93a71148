//! What codes mean, as a document and as text for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::table::{Align, aligned};
use crate::code::{self, Code, Explanation};

/// The widest line of a text, in columns.
const WIDTH: usize = 80;

/// `repin.explain/1`: what one code means, or the list of all codes. `docs/json.md` describes its
/// fields.
#[derive(Debug, Default, Serialize)]
pub struct ExplainDocument {
    /// The document's name.
    pub schema: &'static str,
    /// The requested code.
    pub code: Option<Code>,
    /// `check`, `error` or `doctor`.
    pub kind: Option<&'static str>,
    /// What is wrong, in one sentence.
    pub summary: Option<&'static str>,
    /// What that means, and why repin refuses.
    pub meaning: Option<&'static str>,
    /// What usually leads to it.
    pub causes: &'static [&'static str],
    /// What to do.
    pub remedy: Option<&'static str>,
    /// A command that helps.
    pub example: Option<&'static str>,
    /// The exit codes of runs that end with it.
    pub exits: &'static [u8],
    /// Every code, if none was requested.
    pub codes: Vec<ExplainRow>,
}

/// One code of the list.
#[derive(Debug, Serialize)]
pub struct ExplainRow {
    /// The code.
    pub code: Code,
    /// `check`, `error` or `doctor`.
    pub kind: &'static str,
    /// What is wrong, in one sentence.
    pub summary: &'static str,
}

const SCHEMA: &str = "repin.explain/1";

impl ExplainDocument {
    /// The document about one code.
    pub fn one(code: Code) -> Self {
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

    /// The document that lists every code.
    pub fn list() -> Self {
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

/// One code for people.
pub fn text(code: Code) -> String {
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

/// Every code with its summary, by subject.
pub fn list() -> String {
    let mut out = String::new();
    for (subject, section) in code::sections() {
        let row = |found: &Explanation| vec![format!("  {}", found.code), found.summary.to_owned()];
        let rows: Vec<_> = section.iter().map(row).collect();
        let table = aligned(&[Align::Left; 2], &rows);
        let _ = write!(out, "{subject}:\n{table}\n");
    }
    out + "For one of them: repin explain CODE\n"
}

/// Text in lines of at most [`WIDTH`] columns, broken between words.
fn paragraph(out: &mut String, first: &str, rest: &str, text: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        if !empty && line.len() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            rest.clone_into(&mut line);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_a_page_for_people() {
        insta::assert_snapshot!(text(Code::REVISION_ORDER));
    }

    #[test]
    fn lines_of_every_page_are_short() {
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
    fn the_list_has_a_line_for_each_code() {
        let list = list();
        for code in Code::all() {
            let line = list
                .lines()
                .find(|line| line.split_whitespace().next() == Some(code.as_str()));
            assert!(line.is_some_and(|line| line.ends_with(code.explanation().summary)));
        }
    }
}
