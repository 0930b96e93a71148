//! The functions whose missed mutants are accepted, each with the reason: `equivalent.toml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Deserialize;

use crate::{Fail, report::Measured, sites::Site};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    equivalent: Vec<Entry>,
}

/// A function, and the number of its mutants that no test can detect.
///
/// The mutants of the function are measured like all others. If more of them are missed than the entry
/// accepts, none is accepted, because one of them is a gap in the tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub file: String,
    /// As in the list: `Type::function`.
    pub function: String,
    pub mutants: usize,
    pub reason: String,
}

impl Entry {
    pub fn contains(&self, site: &Site) -> bool {
        self.file == site.file && self.function == site.function
    }
}

/// Reads the list. An entry without a reason, a second entry for a function, and an entry that accepts
/// more mutants than the function has are errors.
pub fn read(path: &Path, sites: &[Site]) -> Result<Vec<Entry>, Fail> {
    let entries = parse(&fs::read_to_string(path)?, sites)?;
    Ok(entries)
}

fn parse(text: &str, sites: &[Site]) -> Result<Vec<Entry>, Fail> {
    let file: File = toml::from_str(text)?;
    let mut functions = BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in &file.equivalent {
        let count = sites.iter().filter(|site| entry.contains(site)).count();
        let problem = if entry.reason.trim().is_empty() {
            "the reason is missing".to_owned()
        } else if !functions.insert((&entry.file, &entry.function)) {
            "the function has two entries".to_owned()
        } else if entry.mutants == 0 || entry.mutants > count {
            format!("the function has {count} mutants")
        } else {
            continue;
        };
        wrong.push(format!("{problem}: {entry:?}"));
    }
    if wrong.is_empty() {
        Ok(file.equivalent)
    } else {
        Err(wrong.join("\n").into())
    }
}

/// The keys of the missed mutants that the entries accept.
pub fn accepted_keys(entries: &[Entry], measured: &BTreeMap<String, Measured>) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for entry in entries {
        let missed = missed_keys(entry, measured);
        if missed.len() <= entry.mutants {
            keys.extend(missed);
        }
    }
    keys
}

/// The entries of completely measured functions that accept more mutants than are missed.
pub fn outdated<'e>(
    entries: &'e [Entry],
    sites: &[Site],
    measured: &BTreeMap<String, Measured>,
) -> Vec<&'e Entry> {
    let mut outdated = Vec::new();
    for entry in entries {
        let mut mutants = sites.iter().filter(|site| entry.contains(site));
        let is_complete = mutants.all(|site| measured.contains_key(&site.key()));
        if is_complete && missed_keys(entry, measured).len() < entry.mutants {
            outdated.push(entry);
        }
    }
    outdated
}

fn missed_keys(entry: &Entry, measured: &BTreeMap<String, Measured>) -> Vec<String> {
    let mut missed = Vec::new();
    for (key, one) in measured {
        if entry.contains(&one.site) && one.outcome.is_open() {
            missed.push(key.clone());
        }
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;

    fn site(text: &str) -> Site {
        Site {
            file: "src/a.rs".to_owned(),
            function: "A::f".to_owned(),
            text: text.to_owned(),
            mutation: "true".to_owned(),
            ..Site::nothing()
        }
    }

    fn list(mutants: usize, reason: &str) -> String {
        format!(
            "[[equivalent]]\nfile = 'src/a.rs'\nfunction = 'A::f'\nmutants = {mutants}\nreason = '{reason}'\n"
        )
    }

    fn measured(sites: &[Site], missed: usize) -> BTreeMap<String, Measured> {
        let mut measured = BTreeMap::new();
        for (index, site) in sites.iter().enumerate() {
            let outcome = if index < missed {
                Outcome::Missed
            } else {
                Outcome::Caught { by: "test".into() }
            };
            let site = site.clone();
            measured.insert(site.key(), Measured { site, outcome });
        }
        measured
    }

    #[test]
    fn entry_must_match_mutants_and_give_a_reason() {
        let sites = [site("a"), site("b")];
        assert!(parse(&list(2, "faster"), &sites).is_ok());
        for (text, problem) in [
            (list(1, " "), "reason"),
            (list(0, "faster"), "2 mutants"),
            (list(3, "faster"), "2 mutants"),
            (list(1, "faster").replace("A::f", "A::g"), "0 mutants"),
            (list(1, "faster").repeat(2), "two entries"),
        ] {
            let error = parse(&text, &sites).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn missed_mutants_are_accepted_up_to_the_number() {
        let sites = [site("a"), site("b"), site("c")];
        let entries = parse(&list(2, "faster"), &sites).unwrap();
        for (missed, accepted, outdated_entries) in [(1, 1, 1), (2, 2, 0), (3, 0, 0)] {
            let measured = measured(&sites, missed);
            assert_eq!(accepted_keys(&entries, &measured).len(), accepted);
            assert_eq!(
                outdated(&entries, &sites, &measured).len(),
                outdated_entries
            );
        }
        // An incomplete measurement proves nothing about the entry.
        assert!(outdated(&entries, &sites, &measured(&sites[..2], 1)).is_empty());
    }
}
