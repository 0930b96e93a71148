//! Directories that pin the same images separately, such as staging and production.
//!
//! All paths are relative to the directory that was searched.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::PinnedRepository;
use crate::base::files::is_workflow_directory;

/// Common environments; a longer name may follow after `-` or `_`.
const NAMES: [&str; 14] = [
    "dev",
    "develop",
    "test",
    "qa",
    "int",
    "uat",
    "stage",
    "staging",
    "pre",
    "preprod",
    "canary",
    "prod",
    "production",
    "live",
];

/// The directories of the first level at which the pins of an image agree below each sibling directory
/// and differ between two of them; none if no level has such directories.
///
/// Another directory at this level belongs to them if it has the name of one of them: `us/staging`,
/// if only `eu/staging` and `eu/prod` differ.
pub(crate) fn differing<'p>(repositories: &[&'p PinnedRepository]) -> BTreeSet<&'p Path> {
    let files = || {
        let pins = repositories.iter().flat_map(|pinned| &pinned.pins);
        pins.map(|pin| pin.file.as_path())
    };
    let deepest = files().map(|file| file.components().count()).max();
    for level in 1..deepest.unwrap_or_default() {
        let mut parents = BTreeSet::new();
        for pinned in repositories {
            parents.extend(separating_parents(pinned, level));
        }
        if parents.is_empty() {
            continue;
        }
        let mut directories: BTreeSet<_> = files()
            .filter_map(|file| directory_at(file, level))
            .collect();
        let mut names = BTreeSet::new();
        for directory in &directories {
            if parents.contains(&directory.parent()) {
                names.insert(directory.file_name());
            }
        }
        directories.retain(|directory| names.contains(&directory.file_name()));
        return directories;
    }
    BTreeSet::new()
}

/// The parents of the directories at a level that an image separates: its pins agree below each of
/// them, and differ between two of them.
fn separating_parents(pinned: &PinnedRepository, level: usize) -> Vec<Option<&Path>> {
    let mut siblings: BTreeMap<_, BTreeMap<&Path, BTreeSet<_>>> = BTreeMap::new();
    for pin in &pinned.pins {
        if let Some(directory) = directory_at(pin.file.as_path(), level) {
            let directories = siblings.entry(directory.parent()).or_default();
            let digests = directories.entry(directory).or_default();
            digests.insert(pin.item.digest);
        }
    }
    siblings.retain(|_, directories| {
        let agree = directories.values().all(|digests| digests.len() == 1);
        let digests: BTreeSet<_> = directories.values().flatten().collect();
        // A forge would read a configuration among workflows as a workflow.
        let has_workflows = directories.keys().any(|path| is_workflow_directory(path));
        agree && digests.len() > 1 && !has_workflows
    });
    siblings.into_keys().collect()
}

/// The directories that are called like environments, if one image is pinned below two of them;
/// otherwise none.
pub(crate) fn named<'p>(repositories: &[&'p PinnedRepository]) -> BTreeSet<&'p Path> {
    // Every path may begin with a name of an environment, as in `live/prod` and `live/staging`.
    for number in 0.. {
        let mut directories = BTreeSet::new();
        let mut is_shared = false;
        for pinned in repositories {
            let files = pinned.pins.iter().map(|pin| pin.file.as_path());
            let own: BTreeSet<_> = files.filter_map(|file| environment(file, number)).collect();
            is_shared |= own.len() > 1;
            directories.extend(own);
        }
        if is_shared || directories.is_empty() {
            return directories;
        }
    }
    BTreeSet::new()
}

/// The directory of a file with the name of an environment; `number` counts them from the top.
pub(crate) fn environment(file: &Path, number: usize) -> Option<&Path> {
    let mut directories: Vec<_> = file.ancestors().skip(1).collect();
    directories.reverse();
    let mut named = directories.into_iter().filter(|directory| {
        let name = directory.file_name().and_then(|name| name.to_str());
        name.is_some_and(is_environment)
    });
    named.nth(number)
}

/// The environment in the name of a file, such as `values-staging.yaml` or `compose.prod.yaml`.
pub(crate) fn of_file_name(file: &Path) -> Option<&str> {
    let name = file.file_name()?.to_str()?;
    let mut parts = name.split(['-', '_', '.']);
    parts.find(|part| NAMES.contains(&part.to_ascii_lowercase().as_str()))
}

fn is_environment(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|known| {
        let rest = name.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    })
}

/// The directory of a file with `level` components; `None` if the file is above that level.
fn directory_at(file: &Path, level: usize) -> Option<&Path> {
    let depth = file.components().count();
    (level < depth).then(|| file.ancestors().nth(depth - level))?
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use std::fs;

    use super::*;
    use crate::{
        base::files::{WorkTree, survey},
        core::pins::discover::{Discovery, discover},
    };

    /// The pins of a tree with files `PATH`, each with `IMAGE DIGIT` for every pin.
    fn discovery(files: &[(&str, &str)]) -> Discovery {
        let dir = tempfile::tempdir().unwrap();
        for (file, pins) in files {
            let mut text = String::new();
            for pin in pins.split(',') {
                let (image, digit) = pin.split_once(' ').unwrap();
                let digest = digit.repeat(64);
                writeln!(text, "a.b/{image}@sha256:{digest}").unwrap();
            }
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        discover(&WorkTree::new(dir.path()), survey(dir.path()), None)
    }

    fn directories(
        files: &[(&str, &str)],
        find: for<'p> fn(&[&'p PinnedRepository]) -> BTreeSet<&'p Path>,
    ) -> Vec<String> {
        let discovery = discovery(files);
        let repositories: Vec<_> = discovery.repositories.iter().collect();
        let found = find(&repositories).into_iter();
        found.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn first_level_that_separates_the_digests_counts() {
        for (files, expected) in [
            (
                &[("staging/a", "x 1"), ("prod/a", "x 2"), ("prod/b/a", "x 2")][..],
                &["prod", "staging"][..],
            ),
            (
                &[("e/staging/a", "x 1"), ("e/prod/b/a", "x 2")],
                &["e/prod", "e/staging"],
            ),
            (
                &[
                    ("e/eu/staging/a", "x 1"),
                    ("e/eu/prod/a", "x 2"),
                    ("e/us/staging/a", "x 1"),
                    ("e/us/prod/a", "x 3"),
                ],
                &["e/eu/prod", "e/eu/staging", "e/us/prod", "e/us/staging"],
            ),
            // The pins of an image disagree below a directory, those of another image do not.
            (
                &[("staging/a", "x 1,y 1,y 2"), ("prod/a", "x 2,y 2")],
                &["prod", "staging"],
            ),
            // An image that is pinned below one directory only.
            (
                &[("p/a", "x 1"), ("s/a", "x 2"), ("t/a", "y 1")],
                &["p", "s", "t"],
            ),
        ] {
            assert_eq!(directories(files, differing), expected, "{files:?}");
        }
    }

    #[test]
    fn directory_with_the_level_name_belongs_to_it() {
        let files = [
            ("eu/staging/a", "x 1"),
            ("eu/prod/a", "x 2"),
            ("us/staging/a", "x 1"),
            ("us/prod/a", "x 1"),
            ("us/lib/a", "x 1"),
            (".github/workflows/a", "x 1"),
        ];
        let expected = ["eu/prod", "eu/staging", "us/prod", "us/staging"];
        assert_eq!(directories(&files, differing), expected);
    }

    #[test]
    fn other_digests_do_not_separate_directories() {
        for files in [
            &[("p/a", "x 1"), ("s/a", "x 1")][..],
            &[("p/a", "x 1,x 2"), ("s/a", "x 2")],
            &[("p/a", "x 1"), ("p/b", "x 2")],
            &[("a", "x 1"), ("p/a", "x 2")],
            &[(".github/workflows/a", "x 1"), (".github/b/a", "x 2")],
            &[("p/a", "x 1"), ("s/a", "y 2")],
            &[],
        ] {
            assert_eq!(directories(files, differing), [""; 0], "{files:?}");
        }
    }

    #[test]
    fn names_of_environments_are_recognized() {
        for name in ["dev", "prod-eu", "Staging", "qa_2", "live", "preprod"] {
            assert!(is_environment(name), "{name}");
        }
        for name in [
            "device",
            "production2",
            "pr",
            "my-prod",
            "",
            "preproduction",
        ] {
            assert!(!is_environment(name), "{name}");
        }
    }

    #[test]
    fn file_names_contain_environments() {
        for (file, expected) in [
            ("values-staging.yaml", Some("staging")),
            ("a/compose.prod.yaml", Some("prod")),
            ("prod_values.yaml", Some("prod")),
            ("values.yaml", None),
            ("prod/values.yaml", None),
            ("product.yaml", None),
        ] {
            assert_eq!(of_file_name(Path::new(file)), expected, "{file}");
        }
    }

    #[test]
    fn environments_share_an_image() {
        for (files, expected) in [
            (
                &[
                    ("e/staging/a", "x 1"),
                    ("e/prod/a", "x 1"),
                    ("e/c/a", "x 1"),
                ][..],
                &["e/prod", "e/staging"][..],
            ),
            (
                &[("live/prod/a", "x 1"), ("live/test/a", "x 1")],
                &["live/prod", "live/test"],
            ),
            (
                &[("prod/test/a", "x 1"), ("dev/a", "x 1")],
                &["dev", "prod"],
            ),
            (&[("staging/a", "x 1"), ("prod/a", "y 1")], &[]),
            (&[("staging/a", "x 1"), ("other/a", "x 1")], &[]),
            (&[("staging", "x 1"), ("prod", "x 1")], &[]),
        ] {
            assert_eq!(directories(files, named), expected, "{files:?}");
        }
    }
}
