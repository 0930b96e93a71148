//! The differences between the contents of two images.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{DATABASE_TYPES, ImageContents, Package};

/// The maximum number of packages, and of files, in a document.
const MAX_LISTED: usize = 50;

/// The architectures of packages for every platform.
const ANY_ARCHITECTURE: [&str; 2] = ["all", "noarch"];

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentsComparison {
    pub difference: ContentsDifference,
    pub not_read: Vec<UnreadContents>,
}

/// A part of the contents that was not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnreadContents {
    pub part: UnreadPart,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnreadPart {
    Contents,
    Packages,
    Sbom,
}

/// The differences, as in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ContentsDifference {
    pub kinds: Vec<KindDifference>,
    pub packages: PackageDifferences,
    pub files: Vec<FileDifference>,
    /// The parts that were compared; others may differ.
    #[serde(skip)]
    pub compared: ComparedParts,
}

/// The parts that both images have and that were read. Files are always compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ComparedParts {
    /// Every database of packages, or SBOMs.
    pub packages: bool,
    /// The names of inventory kinds.
    pub kinds: bool,
}

/// The names of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KindDifference {
    pub kind: String,
    pub added: Vec<String>,
    pub removed: Vec<String>,
}

/// The numbers of different packages, and the first of them: changed, added, removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PackageDifferences {
    pub added: usize,
    pub removed: usize,
    pub changed: usize,
    pub list: Vec<PackageDifference>,
}

/// A package: `from` is null if it was added, `to` if it was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PackageDifference {
    pub r#type: String,
    pub name: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// A file whose privileges differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FileDifference {
    pub path: String,
    pub from: BTreeSet<String>,
    pub to: BTreeSet<String>,
}

impl ContentsDifference {
    /// Whether the compared parts are equal.
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
            && self.files.is_empty()
            && self.packages == PackageDifferences::default()
    }
}

/// Compares the contents of two images.
pub(crate) fn difference(from: &ImageContents, to: &ImageContents) -> ContentsComparison {
    let mut not_read = Vec::new();
    let packages = compare_packages(from, to, &mut not_read);
    let mut files = compare_files(from, to);
    if files.len() > MAX_LISTED {
        let omitted = files.len() - MAX_LISTED;
        files.truncate(MAX_LISTED);
        let reason = format!("{omitted} more files with different setuid, setgid or capabilities");
        not_read.push(UnreadContents {
            part: UnreadPart::Contents,
            reason,
        });
    }
    ContentsComparison {
        difference: ContentsDifference {
            kinds: compare_kinds(from, to),
            packages,
            files,
            compared: ComparedParts {
                packages: has_packages(from, to),
                kinds: from.kinds.is_some() && to.kinds.is_some(),
            },
        },
        not_read,
    }
}

/// Whether all packages were compared: each database was read, and at least one image has one, or both have an
/// SBOM.
fn has_packages(from: &ImageContents, to: &ImageContents) -> bool {
    let mut databases = from.databases.values().chain(to.databases.values());
    let has_sboms = from.sbom.is_some() && to.sbom.is_some();
    let has_database = !from.databases.is_empty() || !to.databases.is_empty();
    databases.all(Result::is_ok) && (has_database || has_sboms)
}

fn compare_kinds(from: &ImageContents, to: &ImageContents) -> Vec<KindDifference> {
    let (Some(from), Some(to)) = (&from.kinds, &to.kinds) else {
        return Vec::new();
    };
    let mut kinds = Vec::new();
    let none = BTreeSet::new();
    for (kind, new) in &to.kinds {
        let old = from.names(kind).unwrap_or(&none);
        let added: Vec<_> = new.difference(old).cloned().collect();
        let removed: Vec<_> = old.difference(new).cloned().collect();
        if !added.is_empty() || !removed.is_empty() {
            kinds.push(KindDifference {
                kind: kind.clone(),
                added,
                removed,
            });
        }
    }
    kinds
}

fn compare_files(from: &ImageContents, to: &ImageContents) -> Vec<FileDifference> {
    let (old, new) = (&from.privileged_files, &to.privileged_files);
    let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut files = Vec::new();
    for path in paths {
        let (old, new) = (old.get(path), new.get(path));
        if old != new {
            files.push(FileDifference {
                path: path.clone(),
                from: old.cloned().unwrap_or_default(),
                to: new.cloned().unwrap_or_default(),
            });
        }
    }
    files
}

/// Compares the packages of each type: those of the databases, or those of the SBOMs if no database of
/// the type could be compared.
fn compare_packages(
    from: &ImageContents,
    to: &ImageContents,
    not_read: &mut Vec<UnreadContents>,
) -> PackageDifferences {
    let mut found = FoundPackages::default();
    let none = BTreeSet::new();
    let mut compared = BTreeSet::new();
    for package_type in DATABASE_TYPES {
        let mut lists = Vec::new();
        for contents in [from, to] {
            match contents.databases.get(package_type) {
                None => lists.push(&none),
                Some(Ok(packages)) => lists.push(packages),
                Some(Err(reason)) => {
                    let name = database_name(package_type);
                    let reason = format!("{name} database not readable: {reason}");
                    // Both images may have the same problem.
                    let unread = UnreadContents {
                        part: UnreadPart::Packages,
                        reason,
                    };
                    if !not_read.contains(&unread) {
                        not_read.push(unread);
                    }
                }
            }
        }
        if let [old, new] = lists[..]
            && !(old.is_empty() && new.is_empty())
        {
            compared.insert(package_type);
            found.compare(package_type, old, new);
        }
    }
    if from.sbom.is_some() != to.sbom.is_some() {
        let owner = if to.sbom.is_some() { "new" } else { "old" };
        not_read.push(UnreadContents {
            part: UnreadPart::Sbom,
            reason: format!("only the {owner} image has an SBOM"),
        });
    }
    if let (Some(old), Some(new)) = (&from.sbom, &to.sbom) {
        let types: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for package_type in types {
            if !compared.contains(package_type.as_str()) {
                let [old, new] = [old, new].map(|sbom| sbom.get(package_type).unwrap_or(&none));
                found.compare(package_type, old, new);
            }
        }
    }
    found.finish()
}

fn database_name(package_type: &str) -> &str {
    match package_type {
        "deb" => "dpkg",
        name => name,
    }
}

/// The versions of a package in both images.
#[derive(Default)]
struct Versions<'p> {
    old: BTreeSet<&'p str>,
    new: BTreeSet<&'p str>,
}

#[derive(Default)]
struct FoundPackages {
    changed: Vec<PackageDifference>,
    added: Vec<PackageDifference>,
    removed: Vec<PackageDifference>,
}

impl FoundPackages {
    fn compare(&mut self, package_type: &str, old: &BTreeSet<Package>, new: &BTreeSet<Package>) {
        let mut architectures: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in old.iter().chain(new) {
            let known = architectures.entry(&package.name).or_default();
            if let Some(architecture) = &package.architecture
                && !ANY_ARCHITECTURE.contains(&architecture.as_str())
            {
                known.insert(architecture);
            }
        }
        let name = |package: &Package| match &package.architecture {
            Some(architecture) if architectures[package.name.as_str()].len() > 1 => {
                format!("{}:{architecture}", package.name)
            }
            _ => package.name.clone(),
        };
        let mut versions: BTreeMap<String, Versions<'_>> = BTreeMap::new();
        for package in old {
            let known = versions.entry(name(package)).or_default();
            known.old.insert(&package.version);
        }
        for package in new {
            let known = versions.entry(name(package)).or_default();
            known.new.insert(&package.version);
        }
        for (name, versions) in versions {
            self.compare_versions(package_type, &name, &versions);
        }
    }

    /// Several versions of a package may be installed. Those in only one of the images are compared
    /// in pairs.
    fn compare_versions(&mut self, package_type: &str, name: &str, versions: &Versions<'_>) {
        let mut removed = versions.old.difference(&versions.new);
        let mut added = versions.new.difference(&versions.old);
        loop {
            let (from, to) = (removed.next(), added.next());
            let list = match (from, to) {
                (None, None) => return,
                (Some(_), Some(_)) => &mut self.changed,
                (None, Some(_)) => &mut self.added,
                (Some(_), None) => &mut self.removed,
            };
            list.push(PackageDifference {
                r#type: package_type.to_owned(),
                name: name.to_owned(),
                from: from.map(|version| (*version).to_owned()),
                to: to.map(|version| (*version).to_owned()),
            });
        }
    }

    fn finish(self) -> PackageDifferences {
        let [added, removed, changed] = [&self.added, &self.removed, &self.changed].map(Vec::len);
        let mut list = Vec::new();
        for mut packages in [self.changed, self.added, self.removed] {
            packages.sort_by(|a, b| (&a.name, &a.r#type).cmp(&(&b.name, &b.r#type)));
            list.extend(packages);
        }
        list.truncate(MAX_LISTED);
        PackageDifferences {
            added,
            removed,
            changed,
            list,
        }
    }
}
