//! Plans: the new contents of files, in memory.
//!
//! A [`Plan`] requires an approved set, and its new contents must contain exactly the declared pins. It
//! changes no file; `apply` does.

pub(crate) mod pinning;

use std::collections::BTreeMap;

use crate::{
    base::{
        error::Code,
        files::{Files, ReadError, RelPath, Snapshot},
        text::{counted, few},
    },
    config::Config,
    core::{
        checks::{Approved, ApprovedImage, Check, Status},
        pins::{
            FilePlaces, FileScanner, FoundPins, Pin, Replacement, Scan, outline, reads_alike,
            replace,
        },
    },
    oci::Digest,
};

/// New contents for an approved set.
#[derive(Debug)]
pub(crate) struct Plan {
    changes: Vec<FileChange>,
    unchanged: Vec<FileChange>,
    checks: Vec<Check>,
}

/// A changed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileChange {
    /// The path below the root.
    pub path: RelPath,
    /// The number of changed pins.
    pub pins: usize,
    /// The content that the plan replaces.
    pub old: Vec<u8>,
    /// The new content.
    pub new: Vec<u8>,
    /// The SHA-256 of `old`.
    pub old_sha256: Digest,
    /// The SHA-256 of `new`.
    pub new_sha256: Digest,
}

/// The reason that there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new contents do not contain the declared pins.
    #[error("the new contents were counted again and are wrong")]
    Counts(Vec<Check>),
}

/// The pins of one image in the new contents.
#[derive(Default, Clone)]
struct PinCount {
    right: usize,
    /// A description of each pin that is not right.
    wrong: Vec<String>,
}

impl Plan {
    /// Loads the files that contain pins, replaces the pins, and counts them in the new contents.
    pub(crate) fn new(
        approved: &Approved,
        config: &Config,
        files: &dyn Files,
        found: &FoundPins,
    ) -> Result<Self, PlanError> {
        Self::for_images(approved.images(), config, files, found)
    }

    /// The contents that files would have with these images, by path. The images are not approved, so
    /// the contents only serve for comparison.
    pub(crate) fn preview(
        images: &[Option<ApprovedImage>],
        config: &Config,
        files: &dyn Files,
        found: &FoundPins,
    ) -> Result<BTreeMap<RelPath, Vec<u8>>, PlanError> {
        let plan = Self::for_images(images, config, files, found)?;
        let contents = plan
            .changes
            .into_iter()
            .map(|change| (change.path, change.new));
        Ok(contents.collect())
    }

    /// The change of a content of one file. The number of its pins is not checked.
    pub(crate) fn of_content(
        approved: &Approved,
        config: &Config,
        files: &dyn Files,
        path: &RelPath,
        content: Vec<u8>,
    ) -> FileChange {
        let scanner = FileScanner::new(config);
        let places = scanner.places_of(path, &|chart| files.has_chart(chart));
        let replacements = replacements(approved.images());
        rewrite(&scanner, &places, content, path, &replacements).change
    }

    fn for_images(
        images: &[Option<ApprovedImage>],
        config: &Config,
        files: &dyn Files,
        found: &FoundPins,
    ) -> Result<Self, PlanError> {
        let scanner = FileScanner::new(config);
        let replacements = replacements(images);
        let mut paths: Vec<_> = found.pins().iter().map(|pin| &pin.file).collect();
        paths.dedup();
        let mut counts = vec![PinCount::default(); config.images.len()];
        let (mut changes, mut unchanged) = (Vec::new(), Vec::new());
        for path in paths {
            let places = scanner.places_of(path, &|chart| files.has_chart(chart));
            let Rewritten {
                change,
                old_scan,
                new_scan,
            } = rewrite(&scanner, &places, files.read(path)?, path, &replacements);
            count_pins(&mut counts, &new_scan.pins, &replacements, path);
            if change.old == change.new {
                unchanged.push(change);
                continue;
            }
            if !differs_only_in_pins(&change.old, &change.new, &old_scan, &new_scan) {
                for count in &mut counts {
                    count
                        .wrong
                        .push(format!("{path}: more than pins would change"));
                }
            }
            changes.push(change);
        }
        let mut checks = check_counts(config, &counts);
        if crate::core::checks::any_failed(&checks) {
            return Err(PlanError::Counts(checks));
        }
        let unchanged_tag = |pin: &Pin| {
            let replacement = replacements[pin.image].as_ref()?;
            let comment = pin.comment.as_ref()?;
            (!comment.moves).then(|| replacement.tag.clone())
        };
        checks.extend(crate::core::checks::check_version_comments(
            config,
            found,
            &unchanged_tag,
        ));
        Ok(Self {
            changes,
            unchanged,
            checks,
        })
    }

    /// The changed files, ordered by the bytes of their paths.
    pub(crate) fn changes(&self) -> &[FileChange] {
        &self.changes
    }

    /// The files that already have exactly the pins of the set, in the same order.
    pub(crate) fn unchanged(&self) -> &[FileChange] {
        &self.unchanged
    }

    /// The result of counting each image in the new contents.
    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }
}

/// The replacement of each image's pins; `None` for an image without a new digest.
fn replacements(images: &[Option<ApprovedImage>]) -> Vec<Option<Replacement>> {
    let mut replacements = Vec::new();
    for image in images {
        replacements.push(image.as_ref().map(|image| Replacement {
            digest: image.facts.digest,
            tag: image.tag.clone(),
        }));
    }
    replacements
}

/// A file's change, with the scans of both contents.
struct Rewritten {
    change: FileChange,
    old_scan: Scan,
    new_scan: Scan,
}

fn rewrite(
    scanner: &FileScanner,
    places: &FilePlaces,
    old: Vec<u8>,
    path: &RelPath,
    replacements: &[Option<Replacement>],
) -> Rewritten {
    let old_scan = scanner.scan(&old, places);
    let new = replace(&old, &old_scan.pins, replacements);
    let new_scan = scanner.scan(&new, places);
    let changed_pins = old_scan
        .pins
        .iter()
        .filter(|pin| !is_right(pin, replacements[pin.image].as_ref()))
        .count();
    let change = FileChange {
        path: path.clone(),
        pins: changed_pins,
        old_sha256: Digest::of(&old),
        new_sha256: Digest::of(&new),
        old,
        new,
    };
    Rewritten {
        change,
        old_scan,
        new_scan,
    }
}

/// Whether a pin is equal to its replacement. A pin of an image without a new digest is never right.
fn is_right(pin: &Pin, replacement: Option<&Replacement>) -> bool {
    replacement.is_some_and(|replacement| replacement.is_done(pin))
}

fn count_pins(
    counts: &mut [PinCount],
    pins: &[Pin],
    replacements: &[Option<Replacement>],
    path: &RelPath,
) {
    for pin in pins {
        let count = &mut counts[pin.image];
        if is_right(pin, replacements[pin.image].as_ref()) {
            count.right += 1;
        } else {
            count.wrong.push(format!(
                "{path}:{}:{} would have {}",
                pin.line, pin.column, pin.digest
            ));
        }
    }
}

fn check_counts(config: &Config, counts: &[PinCount]) -> Vec<Check> {
    let mut checks = Vec::new();
    for (image, count) in config.images.iter().zip(counts) {
        let (status, detail) = if count.right == image.pins && count.wrong.is_empty() {
            let detail = match image.pins {
                0 => "the new contents do not pin it".to_owned(),
                pins => format!(
                    "the new contents pin it {}, and only to the new digest",
                    counted(pins, "time")
                ),
            };
            (Status::Pass, detail)
        } else {
            let wrong = match count.wrong.len() {
                0 => String::new(),
                _ => format!(": {}", few(count.wrong.iter(), 5)),
            };
            let detail = format!(
                "the new contents would pin it {}, but `pins: {}` is declared{wrong}",
                counted(count.right, "time"),
                image.pins
            );
            (Status::Fail, detail)
        };
        checks.push(Check::new(Code::PLAN_COUNT, status, detail).image(&image.name));
    }
    checks
}

/// Returns a predicate: whether two contents of a file differ only in pins of the configuration's set,
/// also below its former paths. The file's path is relative to the top of the repository; `prefix` is
/// the path of the root, empty or with a trailing `/`. A file that `files` does not match contains no
/// pins. A fleet's configuration without `files` matches every file.
pub(crate) fn pin_only_filter(
    config: &Config,
    prefix: &str,
) -> impl Fn(&str, &[u8], &[u8]) -> bool {
    let scanner = FileScanner::new(config);
    let matches_all = config.scanned.included().is_empty();
    let mut prefixes = vec![prefix.to_owned()];
    for former in &config.former {
        prefixes.push(former.set_path.prefix());
    }
    move |path, old, new| {
        let mut below = prefixes.iter().filter_map(|prefix| {
            let path = path.strip_prefix(prefix.as_str())?;
            RelPath::parse(path).ok()
        });
        let is_scanned = matches_all || below.any(|path| Snapshot::lists(&config.scanned, &path));
        is_scanned && differs_only_in_pins_at_any_path(&scanner, old, new)
    }
}

/// Compares the contents of a file without a known path: every kind of place is searched.
fn differs_only_in_pins_at_any_path(scanner: &FileScanner, old: &[u8], new: &[u8]) -> bool {
    let places = scanner.all_places();
    let (old_scan, new_scan) = (scanner.scan(old, &places), scanner.scan(new, &places));
    differs_only_in_pins(old, new, &old_scan, &new_scan)
}

/// Whether two contents differ only in the digests of their pins and the adjacent tags, as bytes and as
/// YAML.
fn differs_only_in_pins(old: &[u8], new: &[u8], old_scan: &Scan, new_scan: &Scan) -> bool {
    new_scan.refused == old_scan.refused
        && outline(old, &old_scan.pins) == outline(new, &new_scan.pins)
        && reads_alike(old, new, &old_scan.pins)
}

#[cfg(test)]
mod tests {
    mod random;

    use super::*;

    fn config(pins: usize) -> Config {
        crate::config::example(&format!(
            "version: 1\nfiles: [x]\nimages:\n  app: {{ repository: r.example/app, pins: {pins} }}\n"
        ))
    }

    fn pin(tag: &str, digest: &str) -> String {
        format!("r.example/app{tag}@{}\n", Digest::of(digest.as_bytes()))
    }

    /// Checks contents after a replacement with the tag `new` and the digest of "new".
    fn check_contents(declared: usize, contents: &str) -> Check {
        let config = config(declared);
        let scanner = FileScanner::new(&config);
        let pins = scanner
            .scan(contents.as_bytes(), &FilePlaces::default())
            .pins;
        let replacement = Some(Replacement {
            digest: Digest::of(b"new"),
            tag: crate::oci::Tag::parse("new").unwrap(),
        });
        let mut counts = [PinCount::default()];
        let path = RelPath::parse("x").unwrap();
        count_pins(&mut counts, &pins, &[replacement], &path);
        check_counts(&config, &counts).remove(0)
    }

    #[test]
    fn wrong_pin_in_new_contents_is_refused() {
        let right = pin("", "new") + &pin(":new", "new");
        assert_eq!(check_contents(2, &right).status, Status::Pass);
        for wrong in [pin("", "old"), pin(":new", "old"), pin(":old", "new")] {
            // The wrong pin is a declared one, or one too many.
            for declared in [2, 3] {
                let check = check_contents(declared, &(right.clone() + &wrong));
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
    fn missing_pin_in_new_contents_is_refused() {
        let check = check_contents(2, &pin("", "new"));
        assert_eq!(check.status, Status::Fail);
        let expected = "the new contents would pin it 1 time, but `pins: 2` is declared";
        assert_eq!(check.detail, expected);
    }

    #[test]
    fn only_pins_and_their_tags_may_differ() {
        let scanner = FileScanner::new(&config(1));
        let old = format!("a: 1\nb: {}c: 2\n", pin(":old", "old"));
        let is_allowed =
            |new: &str| differs_only_in_pins_at_any_path(&scanner, old.as_bytes(), new.as_bytes());
        assert!(is_allowed(&old));
        assert!(is_allowed(
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
            assert!(!is_allowed(&new), "{new}");
        }
    }
}
