//! Environments that the names of files divide, such as `values-staging.yaml` and `values-prod.yaml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{PinnedRepository, of_file_name};
use crate::base::files::RelPath;

/// The files of each environment; `None` is the environment of the files without a name next to named ones.
pub(crate) type FilesByName<'p> = BTreeMap<Option<&'p str>, BTreeSet<&'p RelPath>>;

/// Files in one directory whose names differ only in the environment.
type Siblings<'p> = (Option<&'p Path>, String);

/// The environments if the pins of an image agree in the files of each of them and differ between two of them;
/// otherwise none.
pub(crate) fn differing<'p>(repositories: &[&'p PinnedRepository]) -> FilesByName<'p> {
    let mut names = BTreeSet::new();
    let mut separated = BTreeSet::new();
    for pinned in repositories {
        let mut groups: BTreeMap<Siblings<'_>, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
        for pin in &pinned.pins {
            let file = pin.file.as_path();
            let environments = groups.entry(siblings(file)).or_default();
            let digests = environments.entry(of_file_name(file)).or_default();
            digests.insert(pin.item.digest);
        }
        for (group, environments) in groups {
            let agree = environments.values().all(|digests| digests.len() == 1);
            let digests: BTreeSet<_> = environments.values().flatten().collect();
            if agree && digests.len() > 1 {
                names.extend(environments.into_keys());
                separated.insert(group);
            }
        }
    }
    of_names(repositories, |file, name| match name {
        Some(_) => names.contains(&name),
        None => separated.contains(&siblings(file)),
    })
}

/// The environments of the files that have the name of one, if an image is pinned in two of them; otherwise none.
pub(crate) fn named<'p>(repositories: &[&'p PinnedRepository]) -> FilesByName<'p> {
    let is_shared = repositories.iter().any(|pinned| {
        let files = pinned.pins.iter().map(|pin| pin.file.as_path());
        let names: BTreeSet<_> = files.filter_map(of_file_name).collect();
        names.len() > 1
    });
    of_names(repositories, |_, name| is_shared && name.is_some())
}

fn of_names<'p>(
    repositories: &[&'p PinnedRepository],
    belongs: impl Fn(&Path, Option<&str>) -> bool,
) -> FilesByName<'p> {
    let mut files = FilesByName::new();
    for pin in repositories.iter().flat_map(|pinned| &pinned.pins) {
        let name = of_file_name(pin.file.as_path());
        if belongs(pin.file.as_path(), name) {
            files.entry(name).or_default().insert(&*pin.file);
        }
    }
    files
}

/// The directory of a file, and the parts of its name without the environment.
fn siblings(file: &Path) -> Siblings<'_> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let environment = of_file_name(file);
    let mut parts: Vec<_> = name.split(['-', '_', '.']).collect();
    parts.retain(|part| Some(*part) != environment);
    // Two extensions of one format.
    if parts.last() == Some(&"yml") {
        parts.pop();
        parts.push("yaml");
    }
    (file.parent(), parts.join("-"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        base::files::{WorkTree, survey},
        core::pins::discover::discover,
    };

    /// The files of each environment in a tree with files `PATH`, each with `IMAGE DIGIT` for every pin.
    fn environments(
        files: &[(&str, &str)],
        find: for<'p> fn(&[&'p PinnedRepository]) -> FilesByName<'p>,
    ) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (file, pins) in files {
            let mut text = String::new();
            for pin in pins.split(',') {
                let (image, digit) = pin.split_once(' ').unwrap();
                text = format!("{text}a.b/{image}@sha256:{}\n", digit.repeat(64));
            }
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let discovery = discover(&WorkTree::new(dir.path()), survey(dir.path()), None);
        let repositories: Vec<_> = discovery.repositories.iter().collect();
        let mut lines = Vec::new();
        for (name, files) in find(&repositories) {
            let files: Vec<_> = files.iter().map(ToString::to_string).collect();
            lines.push(format!("{}: {}", name.unwrap_or("-"), files.join(" ")));
        }
        lines
    }

    #[test]
    fn names_separate_different_digests() {
        for (files, expected) in [
            (
                &[
                    ("values-staging.yaml", "x 1"),
                    ("values-prod.yaml", "x 2"),
                    ("other.yaml", "x 1"),
                ][..],
                &["prod: values-prod.yaml", "staging: values-staging.yaml"][..],
            ),
            (
                &[
                    ("docker-compose.yml", "x 1,y 3"),
                    ("docker-compose.prod.yaml", "x 2"),
                    ("a/b.prod.yml", "x 2"),
                ],
                &[
                    "-: docker-compose.yml",
                    "prod: a/b.prod.yml docker-compose.prod.yaml",
                ],
            ),
            (
                &[
                    ("a/v-dev.yaml", "x 1"),
                    ("a/v-prod.yaml", "x 2"),
                    ("b/v-dev.yaml", "y 1"),
                    ("b/v-qa.yaml", "y 1"),
                ],
                &["dev: a/v-dev.yaml b/v-dev.yaml", "prod: a/v-prod.yaml"],
            ),
            // Equal digests, other directories, other names, and a half-finished promotion.
            (&[("v-dev.yaml", "x 1"), ("v-prod.yaml", "x 1")], &[]),
            (&[("a/v-dev.yaml", "x 1"), ("b/v-prod.yaml", "x 2")], &[]),
            (&[("v-dev.yaml", "x 1"), ("w-prod.yaml", "x 2")], &[]),
            (&[("v-dev.yaml", "x 1,x 2"), ("v-prod.yaml", "x 2")], &[]),
            (&[("v.yaml", "x 1"), ("w.yaml", "x 2")], &[]),
        ] {
            assert_eq!(environments(files, differing), expected, "{files:?}");
        }
    }

    #[test]
    fn names_with_equal_digests_are_a_hint() {
        let files = [
            ("v-dev.yaml", "x 1"),
            ("v-prod.yaml", "x 1"),
            ("v.yaml", "x 1"),
        ];
        assert_eq!(
            environments(&files, named),
            ["dev: v-dev.yaml", "prod: v-prod.yaml"]
        );
        let files = [("v-dev.yaml", "x 1"), ("v-prod.yaml", "y 1")];
        assert_eq!(environments(&files, named), [""; 0]);
    }
}
