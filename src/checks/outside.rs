//! Verdicts on digests and references outside the counted pins, and on globs that match nothing.

use std::collections::HashMap;

use super::{Check, Code, FilePlace, Status, agreement, counts};
use crate::{
    config::{Config, Glob, Globs, Operation, OutsidePolicy, PinPlace, number},
    files::Snapshot,
    oci::Digest,
    outside::{Outside, Unreadable},
    pins::{Found, Located, Occurrence, OccurrenceKind, TagReference},
};

/// Judges a work tree without a registry: counts, agreement, digests outside the pins, and loose
/// references.
pub fn of_tree(config: &Config, found: &Found, beside: &Outside) -> Vec<Check> {
    let mut checks = counts(config, found);
    checks.extend(agreement(config, found, Status::Fail));
    checks.extend(outside(config, found, beside, Operation::Promotion));
    checks.extend(loose(config, beside, found));
    checks
}

/// Judges digests outside the counted pins, by the policy of the configuration; before a rollback they
/// only warn.
pub fn outside(
    config: &Config,
    found: &Found,
    outside: &Outside,
    operation: Operation,
) -> Vec<Check> {
    let pin_status = match config.outside.policy {
        OutsidePolicy::Ignore => return Vec::new(),
        OutsidePolicy::Warn => Status::Warn,
        OutsidePolicy::Refuse => Status::Fail,
    };
    let digest_status = match operation {
        Operation::Promotion => pin_status,
        Operation::Rollback => Status::Warn,
    };
    let pins = found.pins().iter();
    let images: HashMap<Digest, usize> = pins
        .rev()
        .map(|pin| (pin.what.digest, pin.what.image))
        .collect();
    let mut checks: Vec<Check> = outside
        .unread
        .iter()
        .map(|unread| unread_check(unread, pin_status))
        .collect();
    for occurrence in &outside.occurrences {
        if let Some((image, detail)) = pin_detail(config, occurrence) {
            let check = Check::new(Code::PIN_OUTSIDE, pin_status, detail);
            checks.push(reported(
                check.image(&config.images[image].name),
                occurrence,
            ));
            continue;
        }
        let image = images.get(&occurrence.what.digest);
        let check = Check::new(
            Code::DIGEST_OUTSIDE,
            digest_status,
            digest_detail(config, image.copied(), &occurrence.what),
        );
        let check = match image {
            Some(image) => check.image(&config.images[*image].name),
            None => check,
        };
        let what = &occurrence.what;
        checks.push(at(
            check,
            occurrence.file.to_string(),
            what.line,
            what.digest_column,
        ));
    }
    let files = number(outside.files, "file");
    let mut pass = |code: Code, what: &str| {
        if outside.unread.is_empty() && checks.iter().all(|check| check.code != code) {
            checks.push(Check::new(code, Status::Pass, format!("{what} in {files}")));
        }
    };
    pass(Code::PIN_OUTSIDE, "no image is pinned outside `files`");
    pass(
        Code::DIGEST_OUTSIDE,
        "no pinned digest occurs outside a counted pin",
    );
    checks
}

/// The image that an occurrence pins, and the evidence; `None` for a digest by itself.
fn pin_detail(config: &Config, occurrence: &Located<Occurrence>) -> Option<(usize, String)> {
    let (file, digest) = (&occurrence.file, &occurrence.what.digest);
    match &occurrence.what.kind {
        OccurrenceKind::Image(image)
            if config.scanned.matches(file.as_path())
                && !Snapshot::lists(&config.scanned, file) =>
        {
            Some((
                *image,
                format!(
                    "pinned to {digest}, but repin uses names such as {file} for its own files: this pin is neither counted nor changed"
                ),
            ))
        }
        OccurrenceKind::Image(image) if config.scanned.matches(file.as_path()) => Some((
            *image,
            format!(
                "pinned to {digest}, but a sparse checkout leaves out {file}: this pin is neither counted nor changed"
            ),
        )),
        OccurrenceKind::Image(image) => Some((
            *image,
            format!(
                "pinned to {digest}, but `files` does not match {file}: this pin is neither counted nor changed"
            ),
        )),
        OccurrenceKind::Utf16Image(image) => Some((
            *image,
            format!("pinned to {digest} in UTF-16: this pin is neither counted nor changed"),
        )),
        OccurrenceKind::Mirror(image, name) => {
            let repository = &config.images[*image].repository;
            let detail = format!(
                "pinned to {digest} as {name}, where `sources` reads {repository} from: this pin is neither counted nor changed"
            );
            Some((*image, detail))
        }
        OccurrenceKind::SameOwner(_) | OccurrenceKind::Bare => None,
    }
}

fn digest_detail(config: &Config, image: Option<usize>, occurrence: &Occurrence) -> String {
    let digest = &occurrence.digest;
    let pinned = image.map_or_else(String::new, |image| {
        format!(", to which `{}` is pinned,", config.images[image].name)
    });
    match &occurrence.kind {
        OccurrenceKind::SameOwner(repository) => {
            format!(
                "{digest}{pinned} occurs behind {repository}: it is neither counted nor changed"
            )
        }
        _ => format!(
            "{digest}{pinned} occurs outside a counted pin: it is neither counted nor changed"
        ),
    }
}

fn unread_check(unread: &Unreadable, status: Status) -> Check {
    let detail = match &unread.file {
        Some(file) => format!("cannot read {file}: {}", unread.reason),
        None => unread.reason.clone(),
    };
    let check = match &unread.hint {
        Some(hint) if status == Status::Fail => {
            Check::new(Code::PIN_OUTSIDE, status, detail).help(hint)
        }
        Some(hint) => Check::new(Code::PIN_OUTSIDE, status, format!("{detail}; {hint}")),
        None => Check::new(Code::PIN_OUTSIDE, status, detail),
    };
    match &unread.file {
        Some(file) => check.item(file),
        None => check,
    }
}

fn reported(check: Check, occurrence: &Located<Occurrence>) -> Check {
    let (line, column) = (occurrence.what.line, occurrence.what.column);
    at(check, occurrence.file.to_string(), line, column)
}

fn at(check: Check, file: String, line: usize, column: usize) -> Check {
    let place = FilePlace { file, line, column };
    check.item(place.to_string()).places(vec![place])
}

/// A warning for each reference by tag alone.
pub fn unpinned(config: &Config, found: &Found) -> Vec<Check> {
    let warning = |one: &Located<TagReference>| {
        let detail = format!(
            "referenced by the tag {} alone: a reference without a digest is neither verified nor changed",
            one.what.tag
        );
        let check = Check::new(Code::IMAGE_UNPINNED, Status::Warn, detail)
            .image(&config.images[one.what.image].name);
        at(check, one.file.to_string(), one.what.line, one.what.column)
    };
    found.tag_references.iter().map(warning).collect()
}

/// Judges references by tag alone and undeclared images, in the counted files.
fn loose(config: &Config, outside: &Outside, found: &Found) -> Vec<Check> {
    let undeclared = |one: &Located<Occurrence>| {
        let OccurrenceKind::SameOwner(repository) = &one.what.kind else {
            return None;
        };
        let detail = format!(
            "{repository} is pinned to {}, but no image declares this repository",
            one.what.digest
        );
        let check = Check::new(Code::IMAGE_UNDECLARED, Status::Warn, detail);
        Some(reported(check, one))
    };
    let mut checks = unpinned(config, found);
    checks.extend(outside.undeclared.iter().filter_map(undeclared));
    let files = number(found.files.len(), "file");
    for (code, what) in [
        (Code::IMAGE_UNPINNED, "no image is referenced by tag alone"),
        (
            Code::IMAGE_UNDECLARED,
            "every pinned repository of the same owners is declared",
        ),
    ] {
        if checks.iter().all(|check| check.code != code) {
            checks.push(Check::new(code, Status::Pass, format!("{what} in {files}")));
        }
    }
    checks
}

/// A warning for each glob of `files` that matches nothing.
pub fn unmatched(config: &Config, found: &Found) -> Vec<Check> {
    let warning = |glob: &Glob| {
        Check::new(Code::PIN_COUNT, Status::Warn, no_match(config, glob)).item(glob.as_str())
    };
    found.unmatched.iter().map(warning).collect()
}

/// The message about a glob of `files`, or of a place, that matches nothing.
pub fn no_match(config: &Config, glob: &Glob) -> String {
    let lists = |place: &&PinPlace| {
        let own = place.files.iter().flat_map(Globs::included);
        own.into_iter().any(|own| own.at() == glob.at())
    };
    let key = config.places.iter().find(lists).map_or_else(
        || "files".to_owned(),
        |place| format!("places.{}.files", place.name),
    );
    format!("{key}: \"{}\" matches no file", glob.as_str())
}
