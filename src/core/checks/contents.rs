//! Verdicts on the contents of one platform of an image, by its inventory and its contract.
//!
//! Combines the findings of `hygiene` and `contract`, and adds a pass for each code without a
//! finding.
//!
//! Verdicts on the platforms of an image: those of its index, and those that a promotion must keep.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeSet, HashSet};

use super::{Check, Code, StageResult, Status, contract, hygiene};
use crate::{
    base::{
        error::{Class, Error},
        text::counted,
    },
    config::{Config, Image},
    contents::inventory::{Contents, Enumeration, Inventory, Listing},
    oci::{
        Digest, Platform,
        registry::resolve::{ImageFacts, PlatformFacts},
    },
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

/// The platforms of a replaced digest.
pub(super) type OldPlatforms = Result<Vec<Platform>, Error>;

/// The reaction to a platform that the new image lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LostPlatforms {
    Refuse,
    /// The user overrides the refusal.
    Allow,
    Warn,
}

impl LostPlatforms {
    /// The check of a lost platform.
    fn check(self, image: &str, platform: &Platform, detail: String) -> Check {
        let (status, detail) = match self {
            Self::Refuse => (Status::Fail, detail),
            Self::Allow => (Status::Warn, detail + "; allowed by --allow-lost-platform"),
            Self::Warn => (Status::Warn, detail),
        };
        Check::new(Code::PLATFORM_LOST, status, detail)
            .image(image)
            .platform(platform)
            .cause(format!("the new image lacks {platform}"))
    }
}

/// The failures if the platforms of an index differ from those of its images, or are duplicate:
/// container engines select an image by the index only.
pub(super) fn check_platforms(image: &str, facts: &ImageFacts) -> Vec<Check> {
    let fail = |code, platform: &Platform, detail: String| {
        let check = Check::new(code, Status::Fail, detail).image(image);
        check.platform(platform)
    };
    let mut checks = Vec::new();
    for (index, found) in facts.platforms.iter().enumerate() {
        let (listed, config) = (&found.platform, &found.config.platform);
        if !listed.matches_config(config) {
            let detail = format!(
                "the index lists {} for {listed}, but its configuration is for {config}",
                found.digest
            );
            checks.push(fail(Code::PLATFORM_MISMATCH, listed, detail));
        }
        let mut earlier = facts.platforms[..index].iter();
        let duplicate = earlier.find(|other| other.platform.normalized() == listed.normalized());
        if let Some(duplicate) = duplicate {
            let detail = format!(
                "the index lists {} for {} and {} for {listed}",
                duplicate.digest, duplicate.platform, found.digest
            );
            checks.push(fail(Code::PLATFORM_DUPLICATE, listed, detail));
        }
    }
    checks
}

/// Checks that an image has every required platform: those of `platforms`, or else those of each digest that
/// it replaces (`old`).
pub(super) fn check_lost_platforms(
    config: &Config,
    image: &Image,
    facts: &ImageFacts,
    old: &[(Digest, OldPlatforms)],
    reaction: LostPlatforms,
) -> StageResult {
    if config.required_platforms(image).is_some() {
        return check_required_platforms(config, image, facts, reaction).into();
    }
    let check =
        |status, detail: String| Check::new(Code::PLATFORM_LOST, status, detail).image(&image.name);
    let mut result = StageResult::default();
    for (digest, old) in old {
        match old {
            Ok(old) => {
                let lost = missing(old, facts);
                if lost.is_empty() {
                    let detail = format!("no platform of {} is lost", digest.short());
                    result.checks.push(check(Status::Pass, detail));
                }
                for platform in lost {
                    let detail = format!("{digest} has {platform}, but {} does not", facts.digest);
                    let lost = reaction.check(&image.name, platform, detail);
                    result.checks.push(lost);
                }
            }
            Err(error) if error.class == Class::WrongBytes => result.errors.push(error.clone()),
            Err(error) => {
                let detail = format!("cannot read {digest}: {error}");
                result.checks.push(check(Status::Skip, detail));
            }
        }
    }
    result
}

/// Checks that an image has the platforms that the configuration declares; without them, there is no check.
pub(super) fn check_required_platforms(
    config: &Config,
    image: &Image,
    facts: &ImageFacts,
    reaction: LostPlatforms,
) -> Vec<Check> {
    let Some(required) = config.required_platforms(image) else {
        return Vec::new();
    };
    let lost = missing(required, facts);
    if lost.is_empty() {
        let detail = format!("{} has every platform of `platforms`", facts.digest);
        return vec![Check::new(Code::PLATFORM_LOST, Status::Pass, detail).image(&image.name)];
    }
    let mut checks = Vec::new();
    for platform in lost {
        let detail = format!(
            "`platforms` requires {platform}, but {} does not have it",
            facts.digest
        );
        checks.push(reaction.check(&image.name, platform, detail));
    }
    checks
}

/// The platforms that an image lacks.
fn missing<'p>(platforms: &'p [Platform], facts: &ImageFacts) -> Vec<&'p Platform> {
    let existing: BTreeSet<_> = facts
        .platforms
        .iter()
        .map(|found| found.platform.normalized())
        .collect();
    let mut missing = Vec::new();
    for platform in platforms {
        if !existing.contains(&platform.normalized()) {
            missing.push(platform);
        }
    }
    missing
}
