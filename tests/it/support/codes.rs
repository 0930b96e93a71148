//! The codes of `src/base/codes.yaml` with their explanations, parsed without the program.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

/// A code with its explanation.
#[derive(Debug, Deserialize)]
pub struct Explanation {
    #[serde(skip)]
    pub code: String,
    #[serde(skip)]
    pub section: String,
    /// `check`, `error` or `doctor`.
    pub kind: String,
    /// Only a check has one.
    pub verifies: Option<String>,
    pub advice: Option<String>,
    pub exits: Vec<u8>,
    pub summary: String,
    pub meaning: String,
    pub causes: Vec<String>,
    pub remedy: String,
    pub example: String,
}

static CODES: LazyLock<Vec<Explanation>> = LazyLock::new(|| {
    let list: Mapping =
        serde_yaml_ng::from_str(include_str!("../../../src/base/codes.yaml")).unwrap();
    let mut codes = Vec::new();
    for (section, entries) in list {
        for (code, entry) in entries.as_mapping().unwrap() {
            let mut explanation: Explanation = serde_yaml_ng::from_value(entry.clone()).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (explanation.code, explanation.section) = (text(code), text(&section));
            codes.push(explanation);
        }
    }
    codes
});

/// Every code in the order of the file.
pub fn all() -> &'static [Explanation] {
    &CODES
}

/// The explanation of a code.
pub fn explanation(code: &str) -> &'static Explanation {
    let found = all().iter().find(|found| found.code == code);
    found.unwrap_or_else(|| panic!("src/base/codes.yaml has no {code}"))
}
