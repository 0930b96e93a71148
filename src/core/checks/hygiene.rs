//! Hygiene: the rules for the contents and the config of every image, independent of its contract.
//!
//! Environment variables that look like secrets, by name or by value; values are never printed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Code, Status};
use crate::{
    base::untrusted::secret_reason,
    contents::{
        inventory::{
            Contents, EmbeddedContract, Enumeration, File, ForbiddenFile, Inventory, ListError,
            Listing,
        },
        layers::Duplicate,
    },
};

/// The maximum number of listed paths with the same defect; further ones are counted.
const MAX_LISTED: usize = 20;

/// The findings about the contents of an image. `contract`: the local one, if the image has one.
pub(crate) fn check(
    inventory: &Inventory,
    contents: &Contents,
    contract: Option<&[u8]>,
) -> Vec<Check> {
    let mut findings = match enumerate(inventory, contents) {
        Ok(found) => check_kinds(inventory, &found),
        Err(findings) => findings,
    };
    if let Ok(listing) = &contents.listing {
        findings.extend(check_required_paths(inventory, listing));
        findings.extend(check_modes(inventory, listing));
        let unreadable: Vec<_> = listing
            .files
            .iter()
            .filter(|file| file.is_unreadable)
            .collect();
        findings.extend(per_file(&unreadable, Code::UNREADABLE, |file| {
            let user = inventory.user.as_deref().unwrap_or_default();
            format!("user {user} cannot read this file (mode {:04o})", file.mode)
        }));
    }
    findings.extend(check_forbidden(&contents.forbidden));
    if let (Some(path), Some(embedded), Some(contract)) = (
        &inventory.embedded_contract,
        &contents.embedded_contract,
        contract,
    ) {
        findings.extend(check_embedded_copy(path, embedded, contract));
    }
    findings
}

/// The names of each kind, or the obstacles to listing them. Only files that the configured user
/// can list count, so a directory that is closed to that user makes the kind unknown.
pub(crate) fn enumerate(
    inventory: &Inventory,
    contents: &Contents,
) -> Result<Enumeration, Vec<Check>> {
    let listing = match &contents.listing {
        Ok(listing) => listing,
        Err(error @ (ListError::NoRoot(_) | ListError::NotADirectory(_) | ListError::User(_))) => {
            return Err(vec![fail(
                Code::ENUMERATION_FAILED,
                inventory.root.clone(),
                error.to_string(),
            )]);
        }
    };
    if !listing.inaccessible.is_empty() {
        let user = inventory.user.as_deref().unwrap_or_default();
        let detail =
            format!("user {user} cannot list or enter this directory, so its contents are unknown");
        let paths = listing.inaccessible.iter();
        return Err(paths
            .map(|path| fail(Code::UNREADABLE, lossy(path), detail.clone()))
            .collect());
    }
    if listing.files.is_empty() {
        let detail = format!("no file under `{}`", inventory.root);
        return Err(vec![fail(
            Code::ENUMERATION_EMPTY,
            inventory.root.clone(),
            detail,
        )]);
    }
    let found = Enumeration::from_listing(listing, &inventory.kinds);
    if found.is_empty() && !inventory.kinds.is_empty() {
        let kinds: Vec<_> = inventory
            .kinds
            .iter()
            .map(|kind| kind.name.as_str())
            .collect();
        let detail = format!(
            "none of {} files under `{}` matches a pattern of {}",
            listing.files.len(),
            inventory.root,
            kinds.join(", ")
        );
        return Err(vec![fail(
            Code::KINDS_ALL_EMPTY,
            inventory.root.clone(),
            detail,
        )]);
    }
    Ok(found)
}

/// Warnings about an enumeration and the layers that it comes from.
pub(crate) fn warnings(contents: &Contents, found: Option<&Enumeration>) -> Vec<Check> {
    let mut warnings = Vec::new();
    let mut warn = |item: String, detail: String| {
        warnings.push(Check::new(Code::ENUMERATION_FAILED, Status::Warn, detail).item(item));
    };
    for Duplicate { layer, path } in &contents.duplicates {
        let detail = format!("duplicate entry in layer {layer}; the last one counts");
        warn(lossy(path), detail);
    }
    for (path, name) in found.into_iter().flat_map(|found| &found.not_utf8) {
        let path = path.escape_ascii();
        let detail = format!("the path {path} is not UTF-8; malformed bytes are listed as U+FFFD");
        warn(name.clone(), detail);
    }
    warnings
}

fn check_kinds(inventory: &Inventory, found: &Enumeration) -> Vec<Check> {
    let mut findings = Vec::new();
    for kind in &inventory.kinds {
        if kind.non_empty && found.names(&kind.name).is_none_or(BTreeSet::is_empty) {
            let detail = format!("the image contains no `{}`", kind.name);
            findings.push(fail(Code::KIND_EMPTY, &kind.name, detail));
        }
    }
    findings
}

fn check_required_paths(inventory: &Inventory, listing: &Listing) -> Vec<Check> {
    let mut findings = Vec::new();
    for glob in &inventory.required_files {
        let mut files = listing.files.iter();
        if !files.any(|file| glob.matches(file.as_path())) {
            let detail = format!("no file under `{}` matches this pattern", inventory.root);
            findings.push(fail(Code::REQUIRED_FILE_MISSING, glob.as_str(), detail));
        }
    }
    findings
}

fn check_modes(inventory: &Inventory, listing: &Listing) -> Vec<Check> {
    let mut findings = Vec::new();
    for (files, expected, noun) in [
        (
            &listing.directories,
            inventory.modes.directories,
            "a directory",
        ),
        (&listing.files, inventory.modes.files, "a file"),
    ] {
        let Some(expected) = expected else { continue };
        let wrong: Vec<_> = files
            .iter()
            .filter(|file| u32::from(file.mode) != expected)
            .collect();
        findings.extend(per_file(&wrong, Code::MODE_UNEXPECTED, |file| {
            format!(
                "{noun} with mode {:04o}, expected {expected:04o}",
                file.mode
            )
        }));
    }
    findings
}

/// A finding for each file, up to [`MAX_LISTED`], and one with the number of further files.
fn per_file(files: &[&File], code: Code, detail: impl Fn(&File) -> String) -> Vec<Check> {
    let mut findings = Vec::new();
    for file in files.iter().take(MAX_LISTED) {
        let path = if file.path.is_empty() {
            ".".to_owned()
        } else {
            lossy(&file.path)
        };
        findings.push(fail(code, path, detail(file)));
    }
    let further = files.len().saturating_sub(MAX_LISTED);
    if further > 0 {
        findings.push(Check::new(
            code,
            Status::Fail,
            format!("and {further} more"),
        ));
    }
    findings
}

/// One finding for each path, with the layers that contain it.
fn check_forbidden(files: &[ForbiddenFile]) -> Vec<Check> {
    let mut by_path: BTreeMap<&[u8], Vec<&ForbiddenFile>> = BTreeMap::new();
    for file in files {
        by_path.entry(&file.path).or_default().push(file);
    }
    let mut findings = Vec::new();
    for (path, files) in by_path {
        let plural = if files.len() == 1 { "" } else { "s" };
        let numbers: Vec<_> = files.iter().map(|file| file.layer.to_string()).collect();
        let layers = format!("layer{plural} {}", numbers.join(", "));
        let detail = if files.iter().any(|file| file.is_visible) {
            format!("this file is forbidden; it is in {layers}")
        } else {
            format!(
                "this file is forbidden; it still ships in {layers}, although a later entry hides or replaces it"
            )
        };
        let path = format!("/{}", lossy(path));
        findings.push(fail(Code::FORBIDDEN_FILE_PRESENT, path, detail));
    }
    findings
}

/// The finding that the copy of the contract in the image differs from the local contract.
fn check_embedded_copy(path: &str, embedded: &EmbeddedContract, contract: &[u8]) -> Option<Check> {
    let detail = match embedded {
        EmbeddedContract::Content(content) if **content == *contract => return None,
        EmbeddedContract::Content(content) => {
            let is_newline = |byte: &u8| *byte == b'\n';
            let equal = contract
                .split(is_newline)
                .zip(content.split(is_newline))
                .take_while(|(local, embedded)| local == embedded)
                .count();
            format!(
                "the copy in the image differs from the contract from line {} on",
                equal + 1
            )
        }
        EmbeddedContract::Other => "the copy in the image differs from the contract".to_owned(),
        EmbeddedContract::Missing => {
            "the image has no copy of the contract at this path".to_owned()
        }
        EmbeddedContract::NotAFile => "the copy in the image is not a regular file".to_owned(),
    };
    Some(fail(Code::EMBEDDED_CONTRACT_MISMATCH, path, detail))
}

fn fail(code: Code, item: impl Into<String>, detail: impl Into<String>) -> Check {
    Check::new(code, Status::Fail, detail).item(item)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A finding for each entry `NAME=VALUE` of an image's config that looks like a secret.
pub(crate) fn env_secrets(env: &[String]) -> Vec<Check> {
    let mut findings = Vec::new();
    for entry in env {
        let Some(reason) = secret_reason(entry) else {
            continue;
        };
        let name = entry.split_once('=').map_or(&**entry, |(name, _)| name);
        let detail = format!("{reason}; anyone who can pull the image can read it");
        findings.push(fail(Code::ENV_SECRET, name, detail));
    }
    findings
}

#[cfg(test)]
mod tests;
