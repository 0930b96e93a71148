//! Verdicts on the contents of one platform of an image, by its inventory and its contract.
//!
//! Combines the findings of `hygiene` and `contract`, and adds a pass for each code without a
//! finding.

use std::collections::HashSet;

use super::{Check, Code, Status, contract, hygiene};
use crate::{
    base::{error::Error, text::counted},
    contents::inventory::{Contents, Enumeration, Inventory, Listing},
    oci::registry::resolve::PlatformFacts,
};

/// A contract with the bytes of its file.
#[derive(Debug)]
pub(crate) struct ContractFile {
    pub bytes: Vec<u8>,
    /// The contract, or the problems that make it unusable.
    pub contract: Result<contract::Contract, Vec<Error>>,
    pub warnings: Vec<Check>,
}

/// The status of a contract or a policy that is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enforcement {
    Fail,
    /// Only a warning, because the rule was not in force when the set was promoted.
    Warn,
}

/// The inventory and the contract that an image must satisfy.
#[derive(Debug)]
pub(crate) struct Standard<'s> {
    pub inventory: &'s Inventory,
    /// Whether hygiene is checked in addition to the contract.
    pub hygiene: bool,
    pub contract: Option<(&'s ContractFile, Enforcement)>,
    /// The bytes that the copy of the contract in the image must equal.
    pub copy: Option<&'s [u8]>,
}

impl ContractFile {
    /// Parses the contract in the file `name` for the kinds of `inventory`.
    pub(crate) fn parse(name: &str, bytes: Vec<u8>, inventory: Option<&Inventory>) -> Self {
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
    pub(crate) fn not_found(name: &str, reason: &str) -> Self {
        Self {
            bytes: Vec::new(),
            contract: Err(vec![contract::not_found(name, reason)]),
            warnings: Vec::new(),
        }
    }

    /// The problems of the file, without those of a contract that asserts nothing.
    pub(crate) fn malformed(&self) -> impl Iterator<Item = &Error> {
        self.problems()
            .iter()
            .filter(|problem| !asserts_nothing(problem.code))
    }

    /// A failed check for each problem that makes the contract unusable.
    pub(crate) fn failures(&self) -> Vec<Check> {
        self.problems()
            .iter()
            .map(|problem| Check::new(problem.code, Status::Fail, problem.to_string()))
            .collect()
    }

    fn problems(&self) -> &[Error] {
        self.contract.as_ref().err().map_or(&[], Vec::as_slice)
    }
}

fn asserts_nothing(code: Code) -> bool {
    [Code::EXPECTED_YAML_EMPTY, Code::EXPECTED_YAML_NO_ASSERTIONS].contains(&code)
}

/// Checks the contents of one platform of the image called `image`.
pub(crate) fn check_contents(
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
    if let Some((file, enforcement)) = standard.contract {
        let mut of_contract = file.warnings.clone();
        of_contract.extend(file.failures());
        if let (Ok(contract), Ok(found)) = (&file.contract, &found) {
            of_contract.extend(contract::check(contract, found));
        }
        if enforcement == Enforcement::Warn {
            of_contract = of_contract.into_iter().map(downgraded).collect();
        }
        checks.extend(of_contract);
    }
    if standard.hygiene
        && standard.copy.is_none()
        && let Some(path) = &standard.inventory.embedded_contract
    {
        let detail = "no contract is configured to compare the copy in the image with";
        checks.push(
            Check::new(Code::EMBEDDED_CONTRACT_MISMATCH, Status::Skip, detail).item(path.as_str()),
        );
    }
    let reported: HashSet<Code> = checks.iter().map(|check| check.code).collect();
    for (code, detail) in passes(standard, facts, contents, found.as_ref().ok()) {
        if !reported.contains(&code) {
            checks.push(Check::new(code, Status::Pass, detail));
        }
    }
    checks
        .into_iter()
        .map(|check| check.image(image).platform(&facts.platform))
        .collect()
}

/// A failed check of the current contract as a warning.
fn downgraded(check: Check) -> Check {
    if check.status != Status::Fail {
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

/// The codes of the completed checks, with the detail of a passed one.
fn passes(
    standard: &Standard<'_>,
    facts: &PlatformFacts,
    contents: &Contents,
    found: Option<&Enumeration>,
) -> Vec<(Code, String)> {
    let inventory = standard.inventory;
    let mut codes = Vec::new();
    if standard.hygiene {
        if let Ok(listing) = &contents.listing {
            codes.extend(file_passes(inventory, listing));
        }
        if let Some(found) = found {
            codes.extend(kind_passes(inventory, found));
        }
    }
    if let Some((file, Enforcement::Fail)) = standard.contract
        && let (Ok(contract), Some(_)) = (&file.contract, found)
    {
        let must = count(&contract.must_contain);
        let must_not = count(&contract.must_not_contain);
        if must > 0 {
            codes.push((
                Code::INVENTORY_MUST_CONTAIN_MISSING,
                format!("{} present", counted(must, "name")),
            ));
        }
        if must_not > 0 {
            codes.push((
                Code::INVENTORY_MUST_NOT_CONTAIN_PRESENT,
                format!("none of {} is present", counted(must_not, "name")),
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
        let variables = counted(facts.config.env.len(), "variable");
        codes.push((
            Code::ENV_SECRET,
            format!("none of {variables} looks like a secret"),
        ));
    }
    codes
}

fn count(names: &contract::Names) -> usize {
    names.iter().map(|(_, names)| names.len()).sum()
}

fn file_passes(inventory: &Inventory, listing: &Listing) -> Vec<(Code, String)> {
    let mut codes = Vec::new();
    let files = counted(listing.files.len(), "file");
    let directories = counted(listing.directories.len(), "directory");
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
        let patterns = counted(inventory.required_files.len(), "pattern");
        codes.push((
            Code::REQUIRED_FILE_MISSING,
            format!("each of {patterns} matches a file"),
        ));
    }
    if inventory
        .modes
        .directories
        .or(inventory.modes.files)
        .is_some()
    {
        codes.push((
            Code::MODE_UNEXPECTED,
            format!("{files} and {directories} have the expected modes"),
        ));
    }
    codes
}

fn kind_passes(inventory: &Inventory, found: &Enumeration) -> Vec<(Code, String)> {
    let mut codes = Vec::new();
    if !inventory.kinds.is_empty() {
        let kinds = found.kinds.iter();
        let counts: Vec<_> = kinds
            .map(|(kind, names)| format!("{kind} {}", names.len()))
            .collect();
        codes.push((Code::KINDS_ALL_EMPTY, counts.join(", ")));
    }
    let required = inventory.kinds.iter().filter(|kind| kind.non_empty).count();
    if required > 0 {
        let kinds = counted(required, "kind");
        codes.push((
            Code::KIND_EMPTY,
            format!("{kinds} with `non_empty`, each with names"),
        ));
    }
    codes
}

#[cfg(test)]
pub(super) mod tests;
