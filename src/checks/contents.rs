//! Verdicts on the contents of one platform of an image, by its inventory and its contract.
//!
//! Combines the findings of `hygiene` and `contract`, and adds a pass for everything without one.

use std::collections::HashSet;

use super::{Check, Code, Status, any_failed, contract, hygiene};
use crate::{
    config::{Inventory, number},
    error::Error,
    inventory::{Contents, Enumeration, Listing},
    registry::resolve::PlatformFacts,
};

/// A contract with the bytes of its file.
#[derive(Debug)]
pub struct Held {
    /// The file's bytes, which the copy in the image must equal.
    pub bytes: Vec<u8>,
    /// The contract, or the problems that make it unusable.
    pub contract: Result<contract::Contract, Vec<Error>>,
    /// Warnings about the file.
    pub warnings: Vec<Check>,
}

/// Whether a contract that is not met stops a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// An unmet contract fails.
    Decides,
    /// An unmet contract warns, because it was not in force when the set was promoted.
    Warns,
}

/// The inventory and the contract that an image is compared with.
#[derive(Debug)]
pub struct Standard<'s> {
    /// The inventory in force.
    pub inventory: &'s Inventory,
    /// Whether hygiene is judged; otherwise only the contract counts.
    pub hygiene: bool,
    /// The contract, if there is one.
    pub contract: Option<(&'s Held, Force)>,
    /// The bytes that the copy of the contract in the image must equal.
    pub copy: Option<&'s [u8]>,
}

impl Held {
    /// Reads the contract in the file `name` for the kinds of `inventory`.
    pub fn parse(name: &str, bytes: Vec<u8>, inventory: Option<&Inventory>) -> Self {
        let kinds = inventory.map_or(&[][..], |inventory| &inventory.kinds);
        match contract::parse(name, &bytes, kinds) {
            Ok((contract, warnings)) => Self {
                bytes,
                contract: Ok(contract),
                warnings,
            },
            Err(problems) => Self {
                bytes,
                contract: Err(problems),
                warnings: Vec::new(),
            },
        }
    }

    /// A contract that cannot be read.
    pub fn not_found(name: &str, reason: &str) -> Self {
        Self {
            bytes: Vec::new(),
            contract: Err(vec![contract::not_found(name, reason)]),
            warnings: Vec::new(),
        }
    }

    /// The problems of the file, without those of a contract that asserts nothing.
    pub fn malformed(&self) -> impl Iterator<Item = &Error> {
        self.problems()
            .iter()
            .filter(|problem| !asserts_nothing(problem.code))
    }

    /// The checks that fail because the contract is unusable.
    pub fn failures(&self) -> Vec<Check> {
        let check = |problem: &Error| Check::new(problem.code, Status::Fail, problem.to_string());
        self.problems().iter().map(check).collect()
    }

    fn problems(&self) -> &[Error] {
        self.contract.as_ref().err().map_or(&[], Vec::as_slice)
    }
}

/// Whether a problem's code is that of a readable contract that asserts nothing.
fn asserts_nothing(code: Code) -> bool {
    [Code::EXPECTED_YAML_EMPTY, Code::EXPECTED_YAML_NO_ASSERTIONS].contains(&code)
}

/// Every check of the contents of one platform of the image called `image`.
pub fn contents(
    standard: &Standard<'_>,
    image: &str,
    facts: &PlatformFacts,
    contents: &Contents,
) -> Vec<Check> {
    let found = hygiene::enumerate(standard.inventory, contents);
    let mut checks = Vec::new();
    if standard.hygiene {
        checks.extend(hygiene::check(standard.inventory, contents, standard.copy));
        checks.extend(hygiene::env_secrets(&facts.config.env));
        checks.extend(hygiene::warnings(contents, found.as_ref().ok()));
    } else if let Err(unknown) = &found {
        checks.extend(unknown.iter().cloned());
    }
    if let Some((held, force)) = standard.contract {
        let mut against = held.warnings.clone();
        against.extend(held.failures());
        if let (Ok(contract), Ok(found)) = (&held.contract, &found) {
            against.extend(contract::check(contract, found));
        }
        checks.extend(against.into_iter().map(|check| forced(check, force)));
    }
    if let (true, Some(path), None) = (
        standard.hygiene,
        &standard.inventory.embedded_contract,
        standard.copy,
    ) {
        let detail = "no contract is configured to compare the copy in the image with";
        checks.push(
            Check::new(Code::EMBEDDED_CONTRACT_MISMATCH, Status::Skip, detail).item(path.as_str()),
        );
    }
    let passed = looked_at(standard, facts, contents, found.as_ref().ok());
    let told: HashSet<Code> = checks.iter().map(|check| check.code).collect();
    let passed = passed.into_iter().filter(|(code, _)| !told.contains(code));
    checks.extend(passed.map(|(code, detail)| Check::new(code, Status::Pass, detail)));
    checks
        .into_iter()
        .map(|check| check.image(image).platform(&facts.platform))
        .collect()
}

fn forced(check: Check, force: Force) -> Check {
    if force == Force::Decides || !any_failed(std::slice::from_ref(&check)) {
        return check;
    }
    let detail = format!(
        "{}; this is the current contract, which was not in force when the set was promoted",
        check.describe()
    );
    Check {
        status: Status::Warn,
        detail,
        ..check
    }
}

/// Each code that was judged, with the evidence if nothing is wrong.
fn looked_at(
    standard: &Standard<'_>,
    facts: &PlatformFacts,
    contents: &Contents,
    found: Option<&Enumeration>,
) -> Vec<(Code, String)> {
    let inventory = standard.inventory;
    let mut codes = Vec::new();
    if let (true, Ok(listing)) = (standard.hygiene, &contents.listing) {
        codes.extend(files(inventory, listing));
    }
    if let (true, Some(found)) = (standard.hygiene, found) {
        codes.extend(names(inventory, found));
    }
    if let (
        Some((
            Held {
                contract: Ok(contract),
                ..
            },
            Force::Decides,
        )),
        Some(_),
    ) = (standard.contract, found)
    {
        let count =
            |names: &contract::Names| names.iter().map(|(_, names)| names.len()).sum::<usize>();
        let (must, must_not) = (
            count(&contract.must_contain),
            count(&contract.must_not_contain),
        );
        if must > 0 {
            codes.push((
                Code::INVENTORY_MUST_CONTAIN_MISSING,
                format!("{} present", number(must, "name")),
            ));
        }
        if must_not > 0 {
            codes.push((
                Code::INVENTORY_MUST_NOT_CONTAIN_PRESENT,
                format!("none of {} is present", number(must_not, "name")),
            ));
        }
    }
    if standard.hygiene {
        if !inventory.forbidden_files.is_empty() {
            codes.push((
                Code::FORBIDDEN_FILE_PRESENT,
                "no layer contains a forbidden file".to_owned(),
            ));
        }
        if let (Some(path), Some(_)) = (&inventory.embedded_contract, standard.copy) {
            codes.push((
                Code::EMBEDDED_CONTRACT_MISMATCH,
                format!("{path} equals the contract"),
            ));
        }
        let entries = format!(
            "none of {} looks like a secret",
            number(facts.config.env.len(), "variable")
        );
        codes.push((Code::ENV_SECRET, entries));
    }
    codes
}

fn files(inventory: &Inventory, listing: &Listing) -> Vec<(Code, String)> {
    let mut codes = Vec::new();
    let (files, directories) = (
        number(listing.files.len(), "file"),
        number(listing.directories.len(), "directory"),
    );
    if listing.inaccessible.is_empty() {
        codes.push((
            Code::ENUMERATION_EMPTY,
            format!("{files} under `{}`", inventory.root),
        ));
    }
    if let Some(user) = &inventory.user {
        codes.push((
            Code::UNREADABLE,
            format!("user {user} can read {files} in {directories}"),
        ));
    }
    if !inventory.required_files.is_empty() {
        let patterns = number(inventory.required_files.len(), "pattern");
        codes.push((
            Code::REQUIRED_FILE_MISSING,
            format!("each of {patterns} matches a file"),
        ));
    }
    if inventory.directory_mode.or(inventory.file_mode).is_some() {
        codes.push((
            Code::MODE_UNEXPECTED,
            format!("{files} and {directories} have the expected modes"),
        ));
    }
    codes
}

fn names(inventory: &Inventory, found: &Enumeration) -> Vec<(Code, String)> {
    let mut codes = Vec::new();
    if !inventory.kinds.is_empty() {
        let count = |(kind, names): &(String, std::collections::BTreeSet<String>)| {
            format!("{kind} {}", names.len())
        };
        let counts: Vec<_> = found.kinds.iter().map(count).collect();
        codes.push((Code::KINDS_ALL_EMPTY, counts.join(", ")));
    }
    let wanted = inventory.kinds.iter().filter(|kind| kind.non_empty).count();
    if wanted > 0 {
        codes.push((
            Code::KIND_EMPTY,
            format!(
                "{} with `non_empty`, each with names",
                number(wanted, "kind")
            ),
        ));
    }
    codes
}

#[cfg(test)]
pub(super) mod tests;
