//! Properties of package databases and SBOMs: any bytes are an error or a list of packages, and equal
//! lists have no differences.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::contents::{ImageContents, Package, PackagesByType, difference, parsers};

/// The content of a database; the first byte determines its manager.
pub fn packages(input: &[u8]) {
    let Some((manager, content)) = input.split_first() else {
        return;
    };
    let packages = match manager {
        0 => parsers::dpkg(content),
        1 => parsers::apk(content),
        _ => parsers::rpm(content),
    };
    let Ok(packages) = packages else { return };
    assert!(packages.len() <= content.len());
    if *manager < 2 {
        let written = written(*manager, &packages);
        let read = match manager {
            0 => parsers::dpkg(&written),
            _ => parsers::apk(&written),
        };
        assert_eq!(read.unwrap(), packages);
    }
    let contents = ImageContents {
        databases: BTreeMap::from([("deb", Ok(packages.clone()))]),
        ..empty()
    };
    check_difference(&contents, packages.len());
}

/// A database that lists only the packages.
fn written(manager: u8, packages: &BTreeSet<Package>) -> Vec<u8> {
    let names = match manager {
        0 => ["Package", "Version", "Architecture"],
        _ => ["P", "V", "A"],
    };
    let mut content = String::new();
    for package in packages {
        let values = [&package.name, &package.version];
        for (name, value) in names
            .iter()
            .zip(values.into_iter().chain(&package.architecture))
        {
            writeln!(content, "{name}:{value}").unwrap();
        }
        content.push('\n');
    }
    content.into_bytes()
}

/// The predicate of an SBOM, in both formats.
pub fn sboms(input: &[u8]) {
    let Ok(predicate) = serde_json::from_slice(input) else {
        return;
    };
    for predicate_type in ["https://spdx.dev/Document", "https://cyclonedx.org/bom"] {
        let Ok(packages) = parsers::sbom(predicate_type, &predicate) else {
            continue;
        };
        let count = packages.values().map(BTreeSet::len).sum();
        let contents = ImageContents {
            sbom: Some(packages),
            ..empty()
        };
        check_difference(&contents, count);
    }
}

fn empty() -> ImageContents {
    ImageContents {
        kinds: None,
        databases: BTreeMap::new(),
        sbom: Some(PackagesByType::new()),
        privileged_files: BTreeMap::new(),
    }
}

/// Checks that contents equal themselves, and that all packages are added to an image without any.
fn check_difference(contents: &ImageContents, count: usize) {
    let equal = difference(contents, contents);
    assert!(equal.difference.is_empty() && equal.not_read.is_empty());
    let [added, removed] = [
        difference(&empty(), contents).difference.packages,
        difference(contents, &empty()).difference.packages,
    ];
    assert!(added.added <= count && added.list.len() == added.added.min(50));
    assert_eq!((added.removed, added.changed), (0, 0));
    assert_eq!((removed.removed, removed.added), (added.added, 0));
    assert_eq!(count == 0, added.added == 0);
}
