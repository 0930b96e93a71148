//! Mutants that are accepted, each with its reason: `equivalent.toml`.

use std::{fs, path::Path};

use serde::Deserialize;

use crate::{Fail, sites::Site};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    mutant: Vec<Entry>,
}

/// An entry: every mutant of a function with this text and mutation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub file: String,
    pub function: String,
    pub text: String,
    pub mutation: String,
    pub reason: String,
}

impl Entry {
    pub fn is_of(&self, site: &Site) -> bool {
        self.file == site.file
            && self.function == site.function
            && self.text == site.text
            && self.mutation == site.mutation
    }
}

/// Reads the list; an entry without a mutant or a reason is an error.
pub fn read(path: &Path, sites: &[Site]) -> Result<Vec<Entry>, Fail> {
    let file: File = toml::from_str(&fs::read_to_string(path)?)?;
    let wrong: Vec<String> = file
        .mutant
        .iter()
        .filter_map(|entry| {
            let what = if entry.reason.trim().is_empty() {
                "no reason"
            } else if !sites.iter().any(|site| entry.is_of(site)) {
                "no such mutant"
            } else {
                return None;
            };
            Some(format!("{}: {what}: {entry:?}", path.display()))
        })
        .collect();
    if !wrong.is_empty() {
        return Err(wrong.join("\n").into());
    }
    Ok(file.mutant)
}
