//! Pins of any repository, for `init` before there is a configuration.
//!
//! The rules are those of the search for pins, but the repositories are unknown. [`groups`] guesses
//! them, [`environments`] separates them by directory, [`names`] invents names for the images, and
//! [`narrow`] finds globs for the files.

pub(crate) mod environments;
pub(crate) mod groups;
pub(crate) mod names;
pub(crate) mod narrow;
pub(crate) mod tag_forms;

use std::{cell::RefCell, collections::HashMap, io::Read, path::Path, sync::Arc};

use super::{
    find::Located,
    places::StandardPlaces,
    scan::{self, Malformed, Pin, Refused},
};
use crate::{
    base::files::{Files as _, ReadError, RelPath, Survey, WorkTree},
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
        let mut scan = scan::scan_with(&content, None, &mut |repository, before| {
            // The text after the variable in `$REGISTRY/app` or `{{ host }}app` is not a name.
            (!matches!(before, Some(b'$' | b'}'))).then(|| index(repository))
        });
        let exists = |chart: &Path| tree.has_chart(chart);
        places.add(&mut scan, &path, &content, &exists, &|repository| {
            Some(index(repository))
        });
        self.files += 1;
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
fn text(tree: &WorkTree, path: &RelPath) -> Result<Option<Vec<u8>>, ReadError> {
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

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

    use super::*;
    use crate::base::files::survey;

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
}
