//! Pins of any repository, for `init` before there is a configuration.
//!
//! The rules are those of the search for pins, but the repositories are unknown. [`groups`] guesses
//! them, [`tag_forms`] invents names for the images, and [`narrow`] finds globs for the files. Directories that pin the same
//! images separately, such as staging and production, are environments.
//!
//! All paths are relative to the directory that was searched.

pub(crate) mod file_names;
pub(crate) mod groups;
pub(crate) mod narrow;
pub(crate) mod tag_forms;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Read,
    path::Path,
    sync::Arc,
};

use super::{
    find::Located,
    places::StandardPlaces,
    scan::{self, Malformed, Pin, Refused},
};
use crate::{
    base::files::{Files as _, ReadError, RelPath, Survey, WorkTree, is_workflow_directory},
    oci::Repository,
};

/// A repository and its pins.
#[derive(Debug)]
pub(crate) struct PinnedRepository {
    /// In the spelling of the first pin.
    pub(crate) repository: Repository,
    /// A pin's `image` is the index in [`Discovery::repositories`].
    pub(crate) pins: Vec<Located<Pin>>,
    /// Malformed pins.
    pub(crate) malformed: Vec<Located<Malformed>>,
    /// Entries of places that are refused.
    pub(crate) refused: Vec<Located<Refused>>,
}

/// The pins of any repository in a work tree.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// The repositories, in the order of their first pins.
    pub(crate) repositories: Vec<PinnedRepository>,
    /// The number of files that were searched.
    pub(crate) files: usize,
    /// Files that cannot be read.
    pub(crate) unread: Vec<ReadError>,
    /// Files with pins and a path that a configuration cannot contain.
    pub(crate) unnameable: Vec<RelPath>,
}

/// The maximum size of a handwritten file, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// A NUL byte among this many first bytes marks a binary file, as for git.
const HEAD: u64 = 8000;

/// Searches the files of a survey, except `except`.
pub(crate) fn discover(tree: &WorkTree, survey: Survey, except: Option<&RelPath>) -> Discovery {
    let mut discovery = Discovery {
        unread: survey.unread,
        ..Discovery::default()
    };
    let mut known = HashMap::new();
    let places = StandardPlaces::new();
    for path in survey.files {
        if Some(&path) != except {
            discovery.search(tree, path, &places, &mut known);
        }
    }
    for path in survey.unnameable {
        let mut found = Discovery::default();
        found.search(tree, path.clone(), &places, &mut HashMap::new());
        if found.repositories.iter().any(|one| !one.pins.is_empty()) {
            discovery.unnameable.push(path);
        }
    }
    discovery
}

/// The pins of a content of one file.
pub(crate) fn discover_content(tree: &WorkTree, path: &RelPath, content: &[u8]) -> Discovery {
    let mut discovery = Discovery::default();
    let places = StandardPlaces::new();
    discovery.search_content(tree, path.clone(), content, &places, &mut HashMap::new());
    discovery
}

impl Discovery {
    /// Keeps the pins that `keep` accepts, and returns the others.
    pub(crate) fn split_off(&mut self, keep: impl Fn(&Located<Pin>) -> bool) -> Vec<Located<Pin>> {
        let mut others = Vec::new();
        for pinned in &mut self.repositories {
            let (kept, removed) = std::mem::take(&mut pinned.pins)
                .into_iter()
                .partition(&keep);
            pinned.pins = kept;
            others.extend::<Vec<_>>(removed);
        }
        others
    }

    /// Searches one file; `known` are the indexes of the repositories found before.
    fn search(
        &mut self,
        tree: &WorkTree,
        path: RelPath,
        places: &StandardPlaces,
        known: &mut HashMap<Repository, usize>,
    ) {
        let content = match text(tree, &path) {
            Ok(Some(content)) => content,
            Ok(None) => return,
            Err(error) => {
                self.unread.push(error);
                return;
            }
        };
        self.files += 1;
        self.search_content(tree, path, &content, places, known);
    }

    fn search_content(
        &mut self,
        tree: &WorkTree,
        path: RelPath,
        content: &[u8],
        places: &StandardPlaces,
        known: &mut HashMap<Repository, usize>,
    ) {
        let repositories = RefCell::new((&mut self.repositories, known));
        let index = |repository: Repository| {
            let (repositories, known) = &mut *repositories.borrow_mut();
            let next = repositories.len();
            let index = *known.entry(repository.clone()).or_insert(next);
            if index == next {
                repositories.push(PinnedRepository {
                    repository,
                    pins: Vec::new(),
                    malformed: Vec::new(),
                    refused: Vec::new(),
                });
            }
            index
        };
        let mut scan = scan::scan_with(content, None, &mut |repository, before| {
            // The text after the variable in `$REGISTRY/app` or `{{ host }}app` is not a name.
            (!matches!(before, Some(b'$' | b'}'))).then(|| index(repository))
        });
        let exists = |chart: &Path| tree.has_chart(chart);
        let of_file = places.places_of(&path, &exists);
        places.add(&mut scan, content, &of_file, &|repository| {
            Some(index(repository))
        });
        self.add(&Arc::new(path), scan);
    }

    fn add(&mut self, file: &Arc<RelPath>, scan: scan::Scan) {
        for item in scan.pins {
            self.repositories[item.image].pins.push(Located {
                file: Arc::clone(file),
                item,
            });
        }
        for item in scan.refused {
            if let Some(image) = item.image {
                self.repositories[image].refused.push(Located {
                    file: Arc::clone(file),
                    item,
                });
            }
        }
        for item in scan.malformed.into_iter().filter(means_a_digest) {
            self.repositories[item.image].malformed.push(Located {
                file: Arc::clone(file),
                item,
            });
        }
    }
}

/// Whether a malformed digest was meant to be one: the text after the `@` of `git@example.org:acme`
/// was not.
fn means_a_digest(malformed: &Malformed) -> bool {
    let (_, digest) = malformed.text.split_once('@').unwrap_or_default();
    digest
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("sha"))
}

/// The content of a file, unless it is too large or binary.
pub(in crate::core::pins) fn text(
    tree: &WorkTree,
    path: &RelPath,
) -> Result<Option<Vec<u8>>, ReadError> {
    let fail = |error| ReadError {
        path: path.to_string(),
        error,
    };
    let mut file = tree.open(path)?;
    if file.metadata().map_err(fail)?.len() > MAX_FILE {
        return Ok(None);
    }
    let mut content = Vec::new();
    let mut head = file.by_ref().take(HEAD);
    head.read_to_end(&mut content).map_err(fail)?;
    if memchr::memchr(0, &content).is_some() {
        return Ok(None);
    }
    file.take(MAX_FILE)
        .read_to_end(&mut content)
        .map_err(fail)?;
    Ok(Some(content))
}

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
    use std::{ffi::OsStr, fmt::Write as _, fs, os::unix::ffi::OsStrExt as _};

    use super::*;
    use crate::base::files::{WorkTree, survey};

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn discovered_in(text: &str) -> Vec<(String, usize, usize)> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yml"), text.replace("HEX", HEX)).unwrap();
        let found = discover(&WorkTree::new(dir.path()), survey(dir.path()), None);
        found
            .repositories
            .iter()
            .map(|seen| {
                (
                    seen.repository.to_string(),
                    seen.pins.len(),
                    seen.malformed.len(),
                )
            })
            .filter(|(_, pins, malformed)| pins + malformed > 0)
            .collect()
    }

    #[test]
    fn any_repository_is_found_by_the_scanners_rules() {
        let text = "uses: docker://Registry.example:5000/a/b:v1@sha256:HEX\nnginx@sha256:HEX library/nginx:1@sha256:HEX";
        assert_eq!(
            discovered_in(text),
            [
                ("Registry.example:5000/a/b".into(), 1, 0),
                ("nginx".into(), 2, 0)
            ]
        );
    }

    #[test]
    fn text_around_a_reference_is_not_its_name() {
        for text in [
            r#"{"a": "x\nghcr.io/acme/app@sha256:HEX"}"#,
            r#"{"a": "ghcr.io\/acme\/app\u0040sha256:HEX"}"#,
            "${IMG:-ghcr.io/acme/app@sha256:HEX}",
            "${IMG-ghcr.io/acme/app:${TAG:-v1}@sha256:HEX}",
            "containers-storage:ghcr.io/acme/app@sha256:HEX",
            "https://ghcr.io/acme/app@sha256:HEX",
            "ghcr.io/acme/app@${D:-sha256:HEX}",
        ] {
            let expected = [("ghcr.io/acme/app".to_owned(), 1, 0)];
            assert_eq!(discovered_in(text), expected, "{text}");
        }
    }

    #[test]
    fn text_that_only_resembles_a_name_is_ignored() {
        for text in [
            "$REGISTRY/app@sha256:HEX",
            "${REGISTRY}/app@sha256:HEX",
            "{{ registry }}app@sha256:HEX",
            "git@github.com:acme/app",
            "me@example.org:22",
            "https://acme/app@sha256:HEX",
            "pkg:docker/acme/app@sha256:HEX",
            "git@example.org:acme/app@sha256:HEX",
            r"ghcr.io\u002facme\u002fapp@sha256:HEX",
            "ghcr.io/acme/app@sha256:<digest>",
            "ghcr.io/acme/app:v1",
            "actions/checkout@0123456789abcdef0123456789abcdef01234567",
        ] {
            assert_eq!(discovered_in(text), [], "{text}");
        }
    }

    #[test]
    fn malformed_digests_are_separate() {
        assert_eq!(
            discovered_in("a.b/c@sha256:abc a.b/c@SHA256:HEX a.b/c@sha256:HEX"),
            [("a.b/c".into(), 1, 2)]
        );
    }

    #[test]
    fn file_that_cannot_be_searched_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        for (name, digest) in [(b"\xff1", HEX), (b"\xff2", "abc")] {
            let path = dir.path().join(OsStr::from_bytes(name));
            fs::write(path, format!("a.b/c@sha256:{digest}")).unwrap();
        }
        let mut survey = survey(dir.path());
        survey.files.push(RelPath::parse("deleted").unwrap());
        let found = discover(&WorkTree::new(dir.path()), survey, None);
        let unnameable = found.unnameable.iter().map(RelPath::as_bytes);
        assert_eq!(unnameable.collect::<Vec<_>>(), [b"\xff1"]);
        let unread = found.unread.iter().map(|error| error.path.as_str());
        assert_eq!(unread.collect::<Vec<_>>(), ["deleted"]);
    }

    #[test]
    fn binary_and_huge_files_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("binary"), format!("\0 a.b/c@sha256:{HEX}")).unwrap();
        let size = usize::try_from(MAX_FILE).unwrap();
        fs::write(
            dir.path().join("huge"),
            format!("a.b/c@sha256:{HEX}{}", " ".repeat(size)),
        )
        .unwrap();
        fs::write(dir.path().join("large"), " ".repeat(size)).unwrap();
        let pins = format!("a.b/c@sha256:{HEX}\n").repeat(2);
        let late = format!("{}\0{pins}", " ".repeat(9000));
        fs::write(dir.path().join("late"), late).unwrap();
        let found = discover(&WorkTree::new(dir.path()), survey(dir.path()), None);
        assert_eq!((found.files, found.repositories.len()), (2, 1));
        let except = RelPath::parse("late").unwrap();
        assert!(
            discover(
                &WorkTree::new(dir.path()),
                survey(dir.path()),
                Some(&except)
            )
            .repositories
            .is_empty()
        );
    }

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
