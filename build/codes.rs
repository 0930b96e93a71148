//! Turns the list of codes into the constants and the table of `src/base/error.rs`.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_yaml_ng::Mapping;

/// The list of codes.
pub(crate) const CODES: &str = "src/base/codes.yaml";

/// An entry of the list; the head of the file describes the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: Kind,
    passed: Option<String>,
    verifies: Option<String>,
    advice: Option<String>,
    exits: Vec<u8>,
    summary: String,
    meaning: String,
    causes: Vec<String>,
    remedy: String,
    example: String,
    formerly: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Check,
    Error,
    Doctor,
}

/// The list as Rust: a constant for each code, and the table that the constants are indices of.
pub(crate) fn codes(text: &str) -> Result<String, String> {
    let sections: Mapping =
        serde_yaml_ng::from_str(text).map_err(|error| format!("{CODES}: {error}"))?;
    let mut constants = String::new();
    let mut table = String::new();
    let mut count = 0;
    for (section, entries) in &sections {
        let (Some(section), Some(entries)) = (section.as_str(), entries.as_mapping()) else {
            return Err(format!("{CODES}: expected codes in section {section:?}"));
        };
        for (code, entry) in entries {
            let code = code.as_str().unwrap_or_default();
            let entry: Entry = serde_yaml_ng::from_value(entry.clone())
                .map_err(|error| format!("{CODES}: {code}: {error}"))?;
            let is_check = entry.kind == Kind::Check;
            let fields = [entry.passed.is_some(), entry.verifies.is_some()];
            if fields != [is_check; 2] || entry.advice.is_some() && !is_check {
                return Err(format!(
                    "{CODES}: {code}: `passed`, `verifies` and `advice` belong to checks"
                ));
            }
            let Entry {
                kind,
                passed,
                exits,
                summary,
                meaning,
                causes,
                remedy,
                example,
                formerly,
                ..
            } = entry;
            let constant = code.to_uppercase();
            let _ = writeln!(
                constants,
                "pub(crate) const {constant}: Self = Self({count});"
            );
            let _ = writeln!(
                table,
                "Explanation {{ code: {code:?}, section: {section:?}, kind: Kind::{kind:?}, \
                 passed: {passed:?}, exits: &{exits:?}, summary: {summary:?}, \
                 meaning: {meaning:?}, causes: &{causes:?}, remedy: {remedy:?}, \
                 example: {example:?}, formerly: {formerly:?} }},"
            );
            count += 1;
        }
    }
    Ok(format!(
        "impl Code {{\n{constants}}}\n\
         static EXPLANATIONS: [Explanation; {count}] = [\n{table}];\n"
    ))
}
