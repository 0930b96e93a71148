//! Pins of any repository at all, for a first look before there is a configuration.
//!
//! The rules are the scanner's; only which repositories are ours is not known yet. [`groups`]
//! guesses that, [`names`] calls the images something, [`narrow`] finds globs for the files.
//! Nothing here asks anyone or writes anything.

pub mod groups;
pub mod names;
pub mod narrow;

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{Cursor, Read},
    path::Path,
    sync::Arc,
};

use super::{
    find::Located,
    places::FirstLook,
    scan::{self, Malformed, Pin, Refused},
};
use crate::{
    config::RelPath,
    files::{Files as _, ReadError, Survey, WorkTree},
    oci::Repository,
};

/// One repository, and where it is pinned.
#[derive(Debug)]
pub struct Seen {
    /// The repository, spelled as it was found first.
    pub repository: Repository,
    /// Its pins; a pin's `image` is the place in [`Discovery::seen`].
    pub pins: Vec<Located<Pin>>,
    /// What would be its pins if their digests were right.
    pub malformed: Vec<Located<Malformed>>,
    /// Entries of places that are refused.
    pub refused: Vec<Located<Refused>>,
}

/// Everything that a first look found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The repositories, in the order found.
    pub seen: Vec<Seen>,
    /// How many files were searched.
    pub files: usize,
    /// Files that could not be read.
    pub unread: Vec<ReadError>,
    /// Files with pins that a configuration cannot name.
    pub unnameable: Vec<RelPath>,
}

/// Larger files are no text that someone wrote.
const LARGEST: u64 = 4 * 1024 * 1024;
/// A NUL byte among the first bytes tells a binary file, as it does for git.
const HEAD: u64 = 8000;

/// Searches the files of a survey, one at a time, but not into `except`.
pub fn discover(tree: &WorkTree, survey: Survey, except: Option<&RelPath>) -> Discovery {
    let mut known = HashMap::new();
    let mut discovery = Discovery {
        unread: survey.unread,
        ..Discovery::default()
    };
    let mut buffer = Vec::new();
    let places = FirstLook::new();
    for path in survey.files {
        if Some(&path) != except {
            discovery.look(tree, path, &places, (&mut known, &mut buffer));
        }
    }
    for path in survey.unnameable {
        let mut found = Discovery::default();
        found.look(
            tree,
            path.clone(),
            &places,
            (&mut HashMap::new(), &mut buffer),
        );
        if found.seen.iter().any(|seen| !seen.pins.is_empty()) {
            discovery.unnameable.push(path);
        }
    }
    discovery
}

/// Places of the repositories seen so far, and memory to read files into.
type Scratch<'s> = (&'s mut HashMap<Repository, usize>, &'s mut Vec<u8>);

impl Discovery {
    fn look(
        &mut self,
        tree: &WorkTree,
        path: RelPath,
        places: &FirstLook,
        (known, buffer): Scratch<'_>,
    ) {
        let seen = &mut self.seen;
        let mut number = |repository: Repository| {
            let next = seen.len();
            let at = *known.entry(repository.clone()).or_insert(next);
            if at == next {
                seen.push(Seen {
                    repository,
                    pins: Vec::new(),
                    malformed: Vec::new(),
                    refused: Vec::new(),
                });
            }
            at
        };
        let scanned = text(tree, &path).and_then(|reader| {
            let scan = reader.map(|mut reader| {
                let mut content = Vec::new();
                reader.read_to_end(&mut content)?;
                let mut lookup = |repository: Repository, before: Option<u8>| {
                    // The rest of `$REGISTRY/app` or `{{ host }}app` is not a name.
                    (!matches!(before, Some(b'$' | b'}'))).then(|| number(repository))
                };
                let mut scan = scan::scan_reader(content.as_slice(), buffer, &mut lookup)?;
                let number = RefCell::new(&mut number);
                let image = |repository| Some((number.borrow_mut())(repository));
                let exists = |chart: &Path| tree.has_chart(chart);
                places.add(&mut scan, &path, &content, &exists, &image);
                Ok(scan)
            });
            scan.transpose().map_err(|error| ReadError {
                path: path.to_string(),
                error,
            })
        });
        match scanned {
            Ok(Some(scan)) => {
                self.files += 1;
                self.add(&Arc::new(path), scan);
            }
            Ok(None) => {}
            Err(error) => self.unread.push(error),
        }
    }

    fn add(&mut self, file: &Arc<RelPath>, scan: scan::Scan) {
        for what in scan.pins {
            self.seen[what.image].pins.push(Located {
                file: Arc::clone(file),
                what,
            });
        }
        for what in scan.refused {
            if let Some(image) = what.image {
                self.seen[image].refused.push(Located {
                    file: Arc::clone(file),
                    what,
                });
            }
        }
        for what in scan.malformed.into_iter().filter(means_a_digest) {
            self.seen[what.image].malformed.push(Located {
                file: Arc::clone(file),
                what,
            });
        }
    }
}

/// Whether it was to be a digest: `git@example.org:acme` was not.
fn means_a_digest(malformed: &Malformed) -> bool {
    let (_, digest) = malformed.text.split_once('@').unwrap_or_default();
    digest
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("sha"))
}

/// The content of a file that may be text, from its beginning.
fn text(tree: &WorkTree, path: &RelPath) -> Result<Option<impl Read>, ReadError> {
    let fail = |error| ReadError {
        path: path.to_string(),
        error,
    };
    let mut file = tree.open(path)?;
    if file.metadata().map_err(fail)?.len() > LARGEST {
        return Ok(None);
    }
    let mut head = Vec::new();
    file.by_ref()
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(fail)?;
    let binary = memchr::memchr(0, &head).is_some();
    Ok((!binary).then(|| Cursor::new(head).chain(file.take(LARGEST))))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::survey;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn look(text: &str) -> Vec<(String, usize, usize)> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yml"), text.replace("HEX", HEX)).unwrap();
        let found = discover(&WorkTree::new(dir.path()), survey(dir.path()), None);
        let row = |seen: &Seen| {
            (
                seen.repository.to_string(),
                seen.pins.len(),
                seen.malformed.len(),
            )
        };
        found
            .seen
            .iter()
            .map(row)
            .filter(|(_, pins, malformed)| pins + malformed > 0)
            .collect()
    }

    #[test]
    fn any_repository_is_found_by_the_scanners_rules() {
        let text = "uses: docker://Registry.example:5000/a/b:v1@sha256:HEX\nnginx@sha256:HEX library/nginx:1@sha256:HEX";
        assert_eq!(
            look(text),
            [
                ("Registry.example:5000/a/b".into(), 1, 0),
                ("nginx".into(), 2, 0)
            ]
        );
    }

    #[test]
    fn text_that_only_resembles_a_name_is_ignored() {
        for text in [
            "$REGISTRY/app@sha256:HEX",
            "${REGISTRY}/app@sha256:HEX",
            "{{ registry }}app@sha256:HEX",
            "git@github.com:acme/app",
            "me@example.org:22",
            "https://ghcr.io/acme/app@sha256:HEX",
            "ghcr.io/acme/app@sha256:<digest>",
            "ghcr.io/acme/app:v1",
            "actions/checkout@0123456789abcdef0123456789abcdef01234567",
        ] {
            assert_eq!(look(text), [], "{text}");
        }
    }

    #[test]
    fn malformed_digests_are_kept_apart() {
        assert_eq!(
            look("a.b/c@sha256:abc a.b/c@SHA256:HEX a.b/c@sha256:HEX"),
            [("a.b/c".into(), 1, 2)]
        );
    }

    #[test]
    fn binary_and_huge_files_are_not_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("binary"), format!("\0 a.b/c@sha256:{HEX}")).unwrap();
        let size = usize::try_from(LARGEST).unwrap();
        fs::write(
            dir.path().join("huge"),
            format!("a.b/c@sha256:{HEX}{}", " ".repeat(size)),
        )
        .unwrap();
        fs::write(
            dir.path().join("late"),
            format!("{}\0a.b/c@sha256:{HEX}", " ".repeat(9000)),
        )
        .unwrap();
        let found = discover(&WorkTree::new(dir.path()), survey(dir.path()), None);
        assert_eq!((found.files, found.seen.len()), (1, 1));
        let except = RelPath::parse("late").unwrap();
        assert!(
            discover(
                &WorkTree::new(dir.path()),
                survey(dir.path()),
                Some(&except)
            )
            .seen
            .is_empty()
        );
    }
}
