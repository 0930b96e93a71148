//! Plans: the new contents of files, in memory, counted again before anyone may apply them.
//!
//! A [`Plan`] can only be made of an approved set, and only if its counts are right. It changes
//! nothing.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    checks::{Approved, ApprovedImage, Check, Code, Status},
    config::{Config, RelPath, number},
    files::{Files, ReadError, Snapshot},
    oci::Digest,
    pins::{FilePlaces, FileScanner, Found, Pin, Replacement, Scan, outline, reads_alike, replace},
};

/// New contents for an approved set.
#[derive(Debug)]
pub struct Plan {
    changes: Vec<FileChange>,
    checks: Vec<Check>,
}

/// One file that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The file under the root.
    pub path: RelPath,
    /// How many of its pins change.
    pub pins: usize,
    /// The content that the plan was made from.
    pub old: Vec<u8>,
    /// The content that it gets.
    pub new: Vec<u8>,
    /// The SHA-256 of `old`.
    pub old_sha256: Digest,
    /// The SHA-256 of `new`.
    pub new_sha256: Digest,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file could not be read again.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new contents don't hold what they must.
    #[error("the new contents were counted again and are wrong")]
    Counts(Vec<Check>),
}

/// What was counted in the new contents, for each image.
#[derive(Default, Clone)]
struct Tally {
    right: usize,
    wrong: Vec<String>,
}

impl Plan {
    /// Reads the files that hold pins again, makes their new contents, and counts the pins in
    /// those.
    pub fn new(
        approved: &Approved,
        config: &Config,
        files: &dyn Files,
        found: &Found,
    ) -> Result<Self, PlanError> {
        Self::of(approved.images(), config, files, found)
    }

    /// The contents that files would have with these images, by their paths; nothing approves them, so
    /// they are only good for comparison.
    pub fn preview(
        images: &[ApprovedImage],
        config: &Config,
        files: &dyn Files,
        found: &Found,
    ) -> Result<BTreeMap<RelPath, Vec<u8>>, PlanError> {
        let plan = Self::of(images, config, files, found)?;
        let contents = plan.changes.into_iter();
        Ok(contents.map(|change| (change.path, change.new)).collect())
    }

    /// The content that one file gets, however many pins it contains.
    pub fn content(
        approved: &Approved,
        config: &Config,
        files: &dyn Files,
        path: &RelPath,
    ) -> Result<Vec<u8>, ReadError> {
        let scanner = FileScanner::new(config);
        let eyes = Eyes::new(&scanner, files, path);
        let replacements = replacements(approved.images());
        Ok(rewrite(&eyes, files.read(path)?, path, &replacements)
            .change
            .new)
    }

    fn of(
        images: &[ApprovedImage],
        config: &Config,
        files: &dyn Files,
        found: &Found,
    ) -> Result<Self, PlanError> {
        let scanner = FileScanner::new(config);
        let replacements = replacements(images);
        let mut paths: Vec<_> = found
            .pins()
            .iter()
            .map(|pin| Arc::clone(&pin.file))
            .collect();
        paths.dedup();
        let mut tallies = vec![Tally::default(); config.images.len()];
        let mut changes = Vec::new();
        for path in paths {
            let old = files.read(&path)?;
            let eyes = Eyes::new(&scanner, files, &path);
            let rewritten = rewrite(&eyes, old, &path, &replacements);
            let change = rewritten.change;
            tally(&mut tallies, &rewritten.is.pins, &replacements, &path);
            if change.old != change.new {
                if !differ_in_pins(&change.old, &change.new, &rewritten.was, &rewritten.is) {
                    let wrong = |tally: &mut Tally| {
                        tally
                            .wrong
                            .push(format!("{path}: more than pins would change"));
                    };
                    tallies.iter_mut().for_each(wrong);
                }
                changes.push(change);
            }
        }
        let mut checks = verdict(config, &tallies);
        if crate::checks::any_failed(&checks) {
            return Err(PlanError::Counts(checks));
        }
        let stays = |pin: &Pin| {
            let to = replacements[pin.image].as_ref()?;
            let stays = pin.comment.as_ref().is_some_and(|comment| !comment.moves);
            stays.then(|| to.tag.clone())
        };
        checks.extend(crate::checks::version_comments(config, found, &stays));
        Ok(Self { changes, checks })
    }

    /// The files that change, in the order of their paths' bytes.
    pub fn changes(&self) -> &[FileChange] {
        &self.changes
    }

    /// The count of each image in the new contents.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

/// How a file is looked at: before and after alike.
struct Eyes<'s> {
    scanner: &'s FileScanner,
    places: FilePlaces,
}

impl<'s> Eyes<'s> {
    fn new(scanner: &'s FileScanner, files: &dyn Files, path: &RelPath) -> Self {
        Self {
            scanner,
            places: scanner.places_of(path, &|chart| files.has_chart(chart)),
        }
    }
}

/// The replacement of each image's pins; `None` for an image without a new digest.
fn replacements(images: &[ApprovedImage]) -> Vec<Option<Replacement>> {
    let replacement = |image: &ApprovedImage| {
        Some(Replacement {
            digest: image.facts.as_ref()?.digest,
            tag: image.tag.clone(),
        })
    };
    images.iter().map(replacement).collect()
}

/// A file's change with what both contents hold.
struct Rewritten {
    change: FileChange,
    was: Scan,
    is: Scan,
}

/// Whether two contents are equal once the digests of their pins, and the tags beside them, are taken
/// out, also for a reader of YAML.
fn differ_in_pins(old: &[u8], new: &[u8], was: &Scan, is: &Scan) -> bool {
    is.refused == was.refused
        && outline(old, &was.pins) == outline(new, &is.pins)
        && reads_alike(old, new, &was.pins)
}

fn rewrite(
    eyes: &Eyes<'_>,
    old: Vec<u8>,
    path: &RelPath,
    replacements: &[Option<Replacement>],
) -> Rewritten {
    let was = eyes.scanner.scan(&old, &eyes.places);
    let new = replace(&old, &was.pins, replacements);
    let changed = was
        .pins
        .iter()
        .filter(|pin| !is_right(pin, replacements[pin.image].as_ref()))
        .count();
    let is = eyes.scanner.scan(&new, &eyes.places);
    let (old_sha256, new_sha256) = (Digest::of(&old), Digest::of(&new));
    let change = FileChange {
        path: path.clone(),
        pins: changed,
        old,
        new,
        old_sha256,
        new_sha256,
    };
    Rewritten { change, was, is }
}

/// Whether a pin is what it should become; a pin of an image that has no new digest is never right.
fn is_right(pin: &Pin, to: Option<&Replacement>) -> bool {
    to.is_some_and(|to| to.is_done(pin))
}

fn tally(
    tallies: &mut [Tally],
    pins: &[Pin],
    replacements: &[Option<Replacement>],
    path: &RelPath,
) {
    for pin in pins {
        if is_right(pin, replacements[pin.image].as_ref()) {
            tallies[pin.image].right += 1;
        } else {
            tallies[pin.image].wrong.push(format!(
                "{path}:{}:{} would have {}",
                pin.line, pin.column, pin.digest
            ));
        }
    }
}

/// Decides whether two contents of a file differ only in pins of the configuration's set. The path
/// starts at the top of the repository; `prefix` is the root's path there, empty or with a `/` at its
/// end. A file that `files` does not match contains no pins; a fleet's configuration without `files`
/// is searched everywhere.
pub fn only_pins(config: &Config, prefix: &str) -> impl Fn(&str, &[u8], &[u8]) -> bool {
    let scanner = FileScanner::new(config);
    let everywhere = config.scanned.included().is_empty();
    move |path, old, new| {
        let path = path
            .strip_prefix(prefix)
            .and_then(|path| RelPath::parse(path).ok());
        let is_counted = path.is_some_and(|path| Snapshot::lists(&config.scanned, &path));
        (everywhere || is_counted) && only_pins_differ(&scanner, old, new)
    }
}

/// Whether both contents of a file are equal without the digests of their pins and the tags next to
/// them. Every kind of place is searched, whatever the file's name.
fn only_pins_differ(scanner: &FileScanner, old: &[u8], new: &[u8]) -> bool {
    let places = scanner.all_places();
    let (was, is) = (scanner.scan(old, &places), scanner.scan(new, &places));
    differ_in_pins(old, new, &was, &is)
}

fn verdict(config: &Config, tallies: &[Tally]) -> Vec<Check> {
    let verdict = |(image, tally): (&crate::config::Image, &Tally)| {
        let right = tally.right == image.pins && tally.wrong.is_empty();
        let (status, detail) = if right {
            (
                Status::Pass,
                format!(
                    "the new contents pin it {}, and only to the new digest",
                    number(image.pins, "time")
                ),
            )
        } else {
            let wrong = tally
                .wrong
                .iter()
                .take(5)
                .cloned()
                .collect::<Vec<_>>()
                .join("; ");
            let detail = format!(
                "the new contents would pin it {}, but `pins: {}` is declared {wrong}",
                number(tally.right, "time"),
                image.pins
            );
            (Status::Fail, detail.trim_end().to_owned())
        };
        Check::new(Code::PLAN_COUNT, status, detail).image(&image.name)
    };
    config.images.iter().zip(tallies).map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::SourceText;

    fn config(pins: usize) -> Config {
        let source = SourceText {
            name: "repin.yaml".into(),
            text: format!(
                "version: 1\nfiles: [x]\nimages:\n  app: {{ repository: r.example/app, pins: {pins} }}\n"
            )
            .into(),
        };
        crate::config::parse(&source, Path::new("/")).unwrap()
    }

    fn pin(tag: &str, digest: &str) -> String {
        format!("r.example/app{tag}@{}\n", Digest::of(digest.as_bytes()))
    }

    /// What the planner says about contents whose pins should be `:new` and the digest of "new".
    fn counted(declared: usize, contents: &str) -> Check {
        let config = config(declared);
        let scanner = FileScanner::new(&config);
        let pins = scanner
            .scan(contents.as_bytes(), &FilePlaces::default())
            .pins;
        let to = Some(Replacement {
            digest: Digest::of(b"new"),
            tag: crate::oci::Tag::parse("new").unwrap(),
        });
        let mut tallies = [Tally::default()];
        let path = RelPath::parse("x").unwrap();
        tally(&mut tallies, &pins, &[to], &path);
        verdict(&config, &tallies).remove(0)
    }

    #[test]
    fn a_pin_that_did_not_become_what_it_should_refuses_the_plan() {
        let right = pin("", "new") + &pin(":new", "new");
        assert_eq!(counted(2, &right).status, Status::Pass);
        for wrong in [pin("", "old"), pin(":new", "old"), pin(":old", "new")] {
            // Whether it is one too many or one of those declared.
            for declared in [2, 3] {
                let check = counted(declared, &(right.clone() + &wrong));
                assert_eq!(check.status, Status::Fail, "{wrong}");
                assert!(
                    check.detail.contains("x:3:1 would have"),
                    "{}",
                    check.detail
                );
            }
        }
    }

    #[test]
    fn only_digests_of_pins_and_their_tags_may_differ() {
        let scanner = FileScanner::new(&config(1));
        let old = format!("a: 1\nb: {}c: 2\n", pin(":old", "old"));
        let differ = |new: &str| only_pins_differ(&scanner, old.as_bytes(), new.as_bytes());
        assert!(differ(&old));
        assert!(differ(
            &old.replace(&pin(":old", "old"), &pin(":new", "new"))
        ));
        for new in [
            old.replace("a: 1", "a: 2"),
            old.replace("b: ", "d: "),
            old.replace("c: 2", "c: 3"),
            old.replace(":old@", "@"),
            old.replace("r.example/app", "r.example/apq"),
            old.clone() + "d: 3\n",
            old.replace("a: 1\n", ""),
        ] {
            assert!(!differ(&new), "{new}");
        }
    }
}
