//! Hygiene: the rules for every image, whatever its contract lists.
//!
//! Judges the contents of one platform of an image, and its config. Contracts are judged by
//! `contract`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Code, Status};
use crate::{
    config::Inventory,
    inventory::{Contents, EmbeddedContract, Enumeration, File, ForbiddenFile, ListError, Listing},
    layers::Duplicate,
};

mod secrets;

pub use secrets::env_secrets;

/// How many paths with the same defect are listed; the rest is counted.
const NAMED: usize = 20;

/// The findings about the contents of an image. `contract` is the local one, if the image has one.
pub fn check(inventory: &Inventory, contents: &Contents, contract: Option<&[u8]>) -> Vec<Check> {
    let mut findings = match enumerate(inventory, contents) {
        Ok(found) => kinds(inventory, &found),
        Err(findings) => findings,
    };
    if let Ok(listing) = &contents.listing {
        findings.extend(required(inventory, listing));
        findings.extend(modes(inventory, listing));
        let unreadable: Vec<_> = listing
            .files
            .iter()
            .filter(|file| file.is_unreadable)
            .collect();
        findings.extend(each(&unreadable, Code::UNREADABLE, |file| {
            let user = inventory.user.as_deref().unwrap_or_default();
            format!("user {user} cannot read this file (mode {:04o})", file.mode)
        }));
    }
    findings.extend(forbidden(&contents.forbidden));
    if let (Some(path), Some(embedded), Some(contract)) = (
        &inventory.embedded_contract,
        &contents.embedded_contract,
        contract,
    ) {
        findings.extend(copy(path, embedded, contract));
    }
    findings
}

/// The names of each kind, or the reasons why they are unknown. Only what the configured user can
/// see counts, so a directory that is closed to that user leaves them unknown.
pub fn enumerate(inventory: &Inventory, contents: &Contents) -> Result<Enumeration, Vec<Check>> {
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
        let paths = listing.inaccessible.iter().map(|path| lossy(path));
        return Err(paths
            .map(|path| fail(Code::UNREADABLE, path, detail.clone()))
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

/// Warnings about an enumeration or the layers that it was made from.
pub fn warnings(contents: &Contents, found: Option<&Enumeration>) -> Vec<Check> {
    let twice = |duplicate: &Duplicate| {
        let detail = format!(
            "duplicate entry in layer {}; the last one counts",
            duplicate.layer
        );
        Check::new(Code::ENUMERATION_FAILED, Status::Warn, detail).item(lossy(&duplicate.path))
    };
    let strange = found
        .into_iter()
        .flat_map(|found| &found.not_utf8)
        .map(|(path, name)| {
            let detail = format!(
                "the path {} is not UTF-8; malformed bytes are listed as U+FFFD",
                path.escape_ascii()
            );
            Check::new(Code::ENUMERATION_FAILED, Status::Warn, detail).item(name)
        });
    contents
        .duplicates
        .iter()
        .map(twice)
        .chain(strange)
        .collect()
}

fn kinds(inventory: &Inventory, found: &Enumeration) -> Vec<Check> {
    let wanted = inventory.kinds.iter().filter(|kind| kind.non_empty);
    let empty = wanted.filter(|kind| found.names(&kind.name).is_none_or(BTreeSet::is_empty));
    let finding = |name: &String| {
        fail(
            Code::KIND_EMPTY,
            name.clone(),
            format!("the image contains no `{name}`"),
        )
    };
    empty.map(|kind| finding(&kind.name)).collect()
}

fn required(inventory: &Inventory, listing: &Listing) -> Vec<Check> {
    let there = |glob: &&crate::config::Glob| {
        listing
            .files
            .iter()
            .any(|file| glob.matches(file.as_path()))
    };
    let missing = inventory.required_files.iter().filter(|glob| !there(glob));
    let detail = format!("no file under `{}` matches this pattern", inventory.root);
    missing
        .map(|glob| {
            fail(
                Code::REQUIRED_FILE_MISSING,
                glob.as_str().to_owned(),
                detail.clone(),
            )
        })
        .collect()
}

fn modes(inventory: &Inventory, listing: &Listing) -> Vec<Check> {
    let wrong = |items: &[File], wanted: Option<u32>, what: &str| {
        let Some(wanted) = wanted else {
            return Vec::new();
        };
        let wrong: Vec<_> = items
            .iter()
            .filter(|item| u32::from(item.mode) != wanted)
            .collect();
        each(&wrong, Code::MODE_UNEXPECTED, |item| {
            format!("{what} with mode {:04o}, expected {wanted:04o}", item.mode)
        })
    };
    let mut findings = wrong(
        &listing.directories,
        inventory.directory_mode,
        "a directory",
    );
    findings.extend(wrong(&listing.files, inventory.file_mode, "a file"));
    findings
}

fn each(items: &[&File], code: Code, detail: impl Fn(&File) -> String) -> Vec<Check> {
    let shown = |file: &File| {
        if file.path.is_empty() {
            ".".to_owned()
        } else {
            lossy(&file.path)
        }
    };
    let named = items
        .iter()
        .take(NAMED)
        .map(|file| fail(code, shown(file), detail(file)));
    let rest = items.len().saturating_sub(NAMED);
    let rest = (rest > 0).then(|| Check::new(code, Status::Fail, format!("and {rest} more")));
    named.chain(rest).collect()
}

/// One finding for each path, however many layers contain it.
fn forbidden(shipped: &[ForbiddenFile]) -> Vec<Check> {
    let mut by_path: BTreeMap<&[u8], Vec<&ForbiddenFile>> = BTreeMap::new();
    for file in shipped {
        by_path.entry(&file.path).or_default().push(file);
    }
    let finding = |(path, files): (&[u8], Vec<&ForbiddenFile>)| {
        let layers: Vec<_> = files.iter().map(|file| file.layer.to_string()).collect();
        let layers = format!(
            "layer{} {}",
            if layers.len() == 1 { "" } else { "s" },
            layers.join(", ")
        );
        let detail = if files.iter().any(|file| file.is_visible) {
            format!("this file is forbidden; it is in {layers}")
        } else {
            format!(
                "this file is forbidden; it still ships in {layers}, although a later entry hides or replaces it"
            )
        };
        fail(
            Code::FORBIDDEN_FILE_PRESENT,
            format!("/{}", lossy(path)),
            detail,
        )
    };
    by_path.into_iter().map(finding).collect()
}

fn copy(path: &str, embedded: &EmbeddedContract, contract: &[u8]) -> Option<Check> {
    let detail = match embedded {
        EmbeddedContract::Content(content) if **content == *contract => return None,
        EmbeddedContract::Content(content) => {
            let lines = |text: &[u8]| {
                text.split(|byte| *byte == b'\n')
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>()
            };
            let (local, shipped) = (lines(contract), lines(content));
            let same = local
                .iter()
                .zip(&shipped)
                .take_while(|(local, shipped)| local == shipped)
                .count();
            format!(
                "the copy in the image differs from the contract from line {} on",
                same + 1
            )
        }
        EmbeddedContract::Other => "the copy in the image differs from the contract".to_owned(),
        EmbeddedContract::Missing => {
            "the image has no copy of the contract at this path".to_owned()
        }
        EmbeddedContract::NotAFile => "the copy in the image is not a regular file".to_owned(),
    };
    Some(fail(
        Code::EMBEDDED_CONTRACT_MISMATCH,
        path.to_owned(),
        detail,
    ))
}

fn fail(code: Code, item: impl Into<String>, detail: impl Into<String>) -> Check {
    Check::new(code, Status::Fail, detail).item(item)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
