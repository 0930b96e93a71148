//! The contents of one platform of an image that a reviewer compares: packages, privileged files and
//! the names of inventory kinds.
//!
//! [`ImageContents::read`] collects them from the merged tree, whose layers were read with a filter
//! that selects package databases. [`sbom_packages`] reads the packages of an SBOM.
//! [`difference()`] compares two images. Nothing here is a verdict: a part that cannot
//! be read is listed with the reason, and the caller continues.

use std::collections::{BTreeMap, BTreeSet};

mod apk;
mod difference;
mod dpkg;
mod files;
pub(crate) mod inventory;
pub(crate) mod layers;
mod privileges;
mod rpm;
mod sbom;
mod sqlite;

pub(crate) use difference::{ContentsDifference, PackageDifference, UnreadPart, difference};
pub(crate) use sbom::{is_sbom, sbom_packages};

use crate::{
    contents::{
        inventory::Enumeration,
        layers::{IMAGE_DATABASES, Tree},
    },
    oci::Digest,
};

/// The maximum number of packages in a list.
const MAX_PACKAGES: usize = 100_000;
/// The maximum length of a name, a version and an architecture, in bytes.
const MAX_FIELD: usize = 1024;

/// The package types that have a database in the image, as in package URLs.
const DATABASE_TYPES: [&str; 3] = ["deb", "apk", "rpm"];

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    pub name: String,
    pub version: String,
    pub architecture: Option<String>,
}

/// The packages by type (`deb`, `apk`, `rpm`, `npm`, …).
pub(crate) type PackagesByType = BTreeMap<String, BTreeSet<Package>>;

/// The contents of one platform of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageContents {
    /// The names of the inventory's kinds, if they were listed.
    pub kinds: Option<Enumeration>,
    /// The packages of each database in the image, or the reason that they are unknown.
    pub databases: BTreeMap<&'static str, Result<BTreeSet<Package>, String>>,
    /// The packages of a verified SBOM.
    pub sbom: Option<PackagesByType>,
    /// The properties of each privileged file: `setuid`, `setgid` and capabilities.
    pub privileged_files: BTreeMap<String, BTreeSet<String>>,
}

impl ImageContents {
    /// Collects the contents from a merged tree. `database_bytes` is the size of the package databases
    /// in all layers.
    pub(crate) fn read(tree: &Tree, database_bytes: u64, kinds: Option<Enumeration>) -> Self {
        let mut databases = BTreeMap::new();
        for package_type in DATABASE_TYPES {
            let packages = match package_type {
                "deb" => dpkg::read(tree),
                "apk" => apk::read(tree),
                _ => rpm::read(tree),
            };
            let is_complete = database_bytes <= IMAGE_DATABASES;
            let packages = match packages {
                Some(_) if !is_complete => Err(format!(
                    "the package databases in its layers have more than {} MiB",
                    IMAGE_DATABASES >> 20
                )),
                Some(packages) => packages,
                None => continue,
            };
            databases.insert(package_type, packages);
        }
        Self {
            kinds,
            databases,
            sbom: None,
            privileged_files: privileges::privileged_files(tree),
        }
    }
}

/// The contents of the platforms of an image by their digests, or the reasons that they were not read.
pub(crate) type ContentsByDigest = BTreeMap<Digest, Result<ImageContents, String>>;

/// A list of packages under construction.
#[derive(Debug, Default)]
struct PackageList(BTreeSet<Package>);

impl PackageList {
    fn push(&mut self, package: Package) -> Result<(), String> {
        self.0.insert(package);
        if self.0.len() > MAX_PACKAGES {
            return Err(format!("it lists more than {MAX_PACKAGES} packages"));
        }
        Ok(())
    }
}

/// Parses a name, a version or an architecture.
fn field(value: &[u8]) -> Result<String, String> {
    if value.is_empty() {
        return Err("an empty field".to_owned());
    }
    if value.len() > MAX_FIELD {
        return Err(format!("a field of more than {MAX_FIELD} bytes"));
    }
    match std::str::from_utf8(value) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("a field with invalid UTF-8".to_owned()),
    }
}

/// Sets a field that may occur once.
fn set_once(slot: &mut Option<String>, name: &str, value: &[u8]) -> Result<(), String> {
    if slot.is_some() {
        return Err(format!("`{name}` occurs twice"));
    }
    *slot = Some(field(value).map_err(|reason| format!("`{name}` is {reason}"))?);
    Ok(())
}

#[cfg(any(test, fuzzing))]
pub(crate) mod parsers {
    //! The parsers of bytes, for the fuzz targets.
    pub(crate) use super::{
        apk::packages as apk, dpkg::packages as dpkg, rpm::packages as rpm,
        sbom::sbom_packages as sbom,
    };
}

#[cfg(test)]
mod tests;
