//! What is in an image of one platform, held against the inventory and the contract that are in
//! force for it.
//!
//! Puts together what `hygiene` and `contract` find, and says what was looked at and found in
//! order.

use std::collections::HashSet;

use super::{Check, Code, Status, any_failed, contract, hygiene};
use crate::{
    config::{Inventory, number},
    error::Error,
    inventory::{Contents, Enumeration, Listing},
    registry::resolve::PlatformFacts,
};

/// A contract as its file has it.
#[derive(Debug)]
pub struct Held {
    /// The file's bytes, which the copy in the image has to equal.
    pub bytes: Vec<u8>,
    /// What they say; or why no image can be held against them.
    pub contract: Result<contract::Contract, Vec<Error>>,
    /// What is odd about them.
    pub warnings: Vec<Check>,
}

/// Whether a contract that is not met stops a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It does.
    Decides,
    /// A person should weigh it: the contract is not the one that the set was promoted under.
    Warns,
}

/// What an image is held against.
#[derive(Debug)]
pub struct Standard<'s> {
    /// What is looked at.
    pub inventory: &'s Inventory,
    /// Whether the image has to be in order as every image has to; otherwise only the contract
    /// counts.
    pub hygiene: bool,
    /// What it has to contain.
    pub contract: Option<(&'s Held, Force)>,
    /// What its copy of the contract has to equal.
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

    /// A contract that can't be read.
    pub fn not_found(name: &str, why: &str) -> Self {
        Self {
            bytes: Vec::new(),
            contract: Err(vec![contract::not_found(name, why)]),
            warnings: Vec::new(),
        }
    }

    /// What is wrong with the file itself; that it asserts nothing is not among that.
    pub fn malformed(&self) -> impl Iterator<Item = &Error> {
        self.problems()
            .iter()
            .filter(|problem| !asserts_nothing(problem.code))
    }

    /// The checks that fail since no image can be held against it.
    pub fn failures(&self) -> Vec<Check> {
        let check = |problem: &Error| {
            let code = Code::of(problem.code).unwrap_or(Code::EXPECTED_YAML_PARSE_FAILED);
            Check::new(code, Status::Fail, problem.to_string())
        };
        self.problems().iter().map(check).collect()
    }

    fn problems(&self) -> &[Error] {
        self.contract.as_ref().err().map_or(&[], Vec::as_slice)
    }
}

/// Whether a problem's code says that a contract could be read, and asserts nothing.
fn asserts_nothing(code: &str) -> bool {
    [Code::EXPECTED_YAML_EMPTY, Code::EXPECTED_YAML_NO_ASSERTIONS]
        .iter()
        .any(|known| known.as_str() == code)
}

/// Everything that there is to say about one platform of the image called `image`.
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
        let detail = "the image has no contract that its copy could be compared with";
        checks.push(
            Check::new(Code::EXPECTED_YAML_IN_IMAGE_MISMATCH, Status::Skip, detail)
                .item(path.as_str()),
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
        "{}; this is today's contract, not the one that the set was promoted under",
        check.told()
    );
    Check {
        status: Status::Warn,
        detail,
        ..check
    }
}

/// Each code that was looked at, and what there is to say if nothing is wrong.
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
                format!("all of {} are there", number(must, "name")),
            ));
        }
        if must_not > 0 {
            codes.push((
                Code::INVENTORY_MUST_NOT_CONTAIN_PRESENT,
                format!("none of {} is there", number(must_not, "name")),
            ));
        }
    }
    if standard.hygiene {
        if !inventory.forbidden_files.is_empty() {
            codes.push((
                Code::FORBIDDEN_FILE_PRESENT,
                "no layer has a file of a forbidden name".to_owned(),
            ));
        }
        if let (Some(path), Some(_)) = (&inventory.embedded_contract, standard.copy) {
            codes.push((
                Code::EXPECTED_YAML_IN_IMAGE_MISMATCH,
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
    let (files, folders) = (
        number(listing.files.len(), "file"),
        number(listing.folders.len(), "folder"),
    );
    if listing.closed.is_empty() {
        codes.push((
            Code::ENUMERATION_EMPTY,
            format!("{files} under `{}`", inventory.root),
        ));
    }
    if let Some(user) = &inventory.user {
        codes.push((
            Code::UNREADABLE,
            format!("the user {user} can read {files} in {folders}"),
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
            format!("{files} and {folders} have the modes that they have to have"),
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
        codes.push((Code::ENUMERATION_NO_PERSONA, counts.join(", ")));
    }
    let wanted = inventory.kinds.iter().filter(|kind| kind.non_empty).count();
    if wanted > 0 {
        codes.push((
            Code::KIND_EMPTY,
            format!(
                "{} that must not be empty have names",
                number(wanted, "kind")
            ),
        ));
    }
    codes
}

#[cfg(test)]
pub(super) mod tests;
