//! Verdicts on digests and references outside the counted pins, and on globs that match nothing.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use super::{Check, Code, FileLocation, Status, check_agreement, check_counted_once, check_pins};
use crate::{
    base::{
        files::{Glob, Globs, RelPath, Snapshot},
        text::counted,
        untrusted::shell,
    },
    config::{Config, Operation, OutsidePolicy},
    core::{
        outside::{Outside, Unreadable},
        pins::{FoundPins, Located, Occurrence, OccurrenceKind, STANDARD_PLACES},
    },
    oci::Digest,
};

/// The checks of a work tree that need no registry: counts, agreement, digests outside the pins,
/// unpinned references and undeclared images.
pub(crate) fn tree_checks(config: &Config, found: &FoundPins, digests: &Outside) -> Vec<Check> {
    let mut checks = check_pins(config, found);
    if !digests.left_out.is_empty() {
        for check in &mut checks {
            if check.code == Code::PIN_COUNT && check.status == Status::Fail {
                check.help = Some(inclusion_of_all(&digests.left_out));
            }
        }
    }
    checks.extend(check_agreement(config, found, Status::Fail));
    checks.extend(check_outside(config, found, digests, Operation::Promotion));
    checks.extend(check_references(config, digests, found));
    checks
}

/// Checks the counted pins against other sets, and the digests outside of them by the policy of the
/// configuration; before a rollback, digests and pins of other sets only warn.
pub(crate) fn check_outside(
    config: &Config,
    found: &FoundPins,
    outside: &Outside,
    operation: Operation,
) -> Vec<Check> {
    let mut checks = check_counted_once(config, found, outside, operation);
    checks.extend(check_digests_outside(config, found, outside, operation));
    checks
}

/// Checks the digests outside the counted pins by the policy of the configuration.
pub(crate) fn check_digests_outside(
    config: &Config,
    found: &FoundPins,
    outside: &Outside,
    operation: Operation,
) -> Vec<Check> {
    let pin_status = match config.outside {
        OutsidePolicy::Ignore => return Vec::new(),
        OutsidePolicy::Warn => Status::Warn,
        OutsidePolicy::Refuse => Status::Fail,
    };
    let digest_status = match operation {
        Operation::Promotion => pin_status,
        Operation::Rollback => Status::Warn,
    };
    let mut images: HashMap<Digest, usize> = HashMap::new();
    for pin in found.pins() {
        images.entry(pin.item.digest).or_insert(pin.item.image);
    }
    let mut checks: Vec<Check> = outside
        .unread
        .iter()
        .map(|unread| unread_check(unread, pin_status))
        .collect();
    for occurrence in &outside.occurrences {
        let Occurrence {
            digest,
            line,
            digest_column,
            ..
        } = occurrence.item;
        if let Some((image, detail)) = pin_detail(config, occurrence) {
            let is_left_out = matches!(occurrence.item.kind, OccurrenceKind::Image(_))
                && outside.left_out.contains(&*occurrence.file);
            let check = if is_left_out {
                let help = inclusion(config, &occurrence.file);
                Check::new(Code::PIN_OUTSIDE, Status::Fail, detail).help(help)
            } else {
                Check::new(Code::PIN_OUTSIDE, pin_status, detail)
            };
            let check = check.image(&config.images[image].name);
            checks.push(at_occurrence(check, occurrence));
            continue;
        }
        let image = images.get(&digest).map(|image| &config.images[*image].name);
        let detail = digest_detail(image, &occurrence.item);
        let mut check = Check::new(Code::DIGEST_OUTSIDE, digest_status, detail);
        check.image = image.cloned();
        let file = occurrence.file.to_string();
        checks.push(at_location(check, file, line, digest_column));
    }
    if outside.unread.is_empty() {
        let passes = [
            (Code::PIN_OUTSIDE, "no image is pinned outside `files`"),
            (
                Code::DIGEST_OUTSIDE,
                "no pinned digest occurs outside a counted pin",
            ),
        ];
        add_passes(&mut checks, &passes, outside.files);
    }
    checks
}

/// Adds a pass for each code without a check.
fn add_passes(checks: &mut Vec<Check>, passes: &[(Code, &str)], files: usize) {
    let files = counted(files, "file");
    for (code, fact) in passes {
        if checks.iter().all(|check| check.code != *code) {
            let detail = format!("{fact}: {files} searched");
            checks.push(Check::new(*code, Status::Pass, detail));
        }
    }
}

/// The image that an occurrence pins, and the evidence; `None` for a digest without a repository.
fn pin_detail(config: &Config, occurrence: &Located<Occurrence>) -> Option<(usize, String)> {
    let (file, digest) = (&occurrence.file, &occurrence.item.digest);
    let (image, fact) = match &occurrence.item.kind {
        OccurrenceKind::Image(image) => (*image, uncounted_reason(config, file)),
        OccurrenceKind::Embedded(image) => {
            let repository = &config.images[*image].repository;
            let fact = format!(" after {repository}, in text that may change the reference");
            (*image, fact)
        }
        OccurrenceKind::Utf16Image(image) => (*image, " in UTF-16".to_owned()),
        OccurrenceKind::Mirror(image, name) => {
            let repository = &config.images[*image].repository;
            let fact = format!(" as {name}, where `sources` reads {repository} from");
            (*image, fact)
        }
        OccurrenceKind::Marked(image) => {
            let fact = ", and a mark assigns it to the image, but no place of the kind `marked` searches the file";
            (*image, fact.to_owned())
        }
        OccurrenceKind::Entry(image, place) => {
            let name = STANDARD_PLACES[*place];
            let repository = &config.images[*image].repository;
            let reason = if config.scanned.matches(file.as_path()) {
                "no place searches the file"
            } else {
                "`files` does not match the file"
            };
            let fact = format!(
                " in an entry with {repository}, but {reason}: `places: {{ {name}: {{}} }}` finds such entries in the files of `files`"
            );
            (*image, fact)
        }
        OccurrenceKind::SameOwner(_) | OccurrenceKind::Bare => return None,
    };
    let detail = format!("pinned to {digest}{fact}: repin does not count or change this pin");
    Some((image, detail))
}

/// The reason why a pin in `file` is not counted, after the digest.
fn uncounted_reason(config: &Config, file: &RelPath) -> String {
    if !config.scanned.matches(file.as_path()) {
        format!(", but `files` does not match {file}")
    } else if Snapshot::lists(&config.scanned, file) {
        format!(", but {file} is outside of the sparse checkout")
    } else {
        format!(", but repin uses names such as {file} for its own files")
    }
}

/// The command that includes a file which the sparse checkout leaves out.
fn inclusion(config: &Config, file: &RelPath) -> String {
    let directory = file.as_path().parent().unwrap_or(Path::new(""));
    let directory = config.set_path.directory().join(directory);
    let directory = directory.to_string_lossy();
    // An argument that begins with a hyphen is an option, and an exclamation mark excludes a directory.
    if directory.is_empty() || directory.starts_with(['-', '!']) {
        return "include the file with `git sparse-checkout disable`".to_owned();
    }
    let place = if config.set_path.directory().as_os_str().is_empty() {
        ""
    } else {
        " in the top directory of the repository"
    };
    format!(
        "include the file with `git sparse-checkout add {}`{place}, or every file with `git sparse-checkout disable`",
        shell(&directory)
    )
}

/// The command that includes all files of `files:` which the sparse checkout leaves out.
pub(crate) fn inclusion_of_all(left_out: &HashSet<RelPath>) -> String {
    format!(
        "include the {} that `files:` matches and the sparse checkout leaves out: `git sparse-checkout disable`",
        counted(left_out.len(), "file")
    )
}

fn digest_detail(image: Option<&String>, occurrence: &Occurrence) -> String {
    let digest = &occurrence.digest;
    let pinned = image.map_or_else(String::new, |image| {
        format!(", to which `{image}` is pinned,")
    });
    let location = match &occurrence.kind {
        OccurrenceKind::SameOwner(repository) => format!("after {repository}"),
        _ => "outside a counted pin".to_owned(),
    };
    format!("{digest}{pinned} occurs {location}: repin does not count or change it")
}

fn unread_check(unread: &Unreadable, status: Status) -> Check {
    let detail = match &unread.file {
        Some(file) => format!("cannot read {file}: {}", unread.reason),
        None => unread.reason.clone(),
    };
    let mut check = match &unread.hint {
        Some(hint) if status == Status::Fail => {
            Check::new(Code::PIN_OUTSIDE, status, detail).help(hint)
        }
        Some(hint) => Check::new(Code::PIN_OUTSIDE, status, format!("{detail}; {hint}")),
        None => Check::new(Code::PIN_OUTSIDE, status, detail),
    };
    check.item.clone_from(&unread.file);
    check
}

fn at_occurrence(check: Check, occurrence: &Located<Occurrence>) -> Check {
    let Occurrence { line, column, .. } = occurrence.item;
    at_location(check, occurrence.file.to_string(), line, column)
}

fn at_location(check: Check, file: String, line: usize, column: usize) -> Check {
    let location = FileLocation { file, line, column };
    check.item(location.to_string()).locations(vec![location])
}

/// A warning for each reference without a digest.
pub(crate) fn check_unpinned(config: &Config, found: &FoundPins) -> Vec<Check> {
    let mut checks = Vec::new();
    for Located { file, item } in &found.tag_references {
        let tag = match &item.tag {
            Some(tag) => format!("the tag {tag}"),
            None => "a tag with a variable".to_owned(),
        };
        let detail = format!(
            "referenced by {tag}, without a digest: repin verifies and changes only references with a digest"
        );
        let check = Check::new(Code::IMAGE_UNPINNED, Status::Warn, detail)
            .image(&config.images[item.image].name);
        checks.push(at_location(check, file.to_string(), item.line, item.column));
    }
    checks
}

/// Warns about references without a digest and undeclared images in the counted files.
fn check_references(config: &Config, outside: &Outside, found: &FoundPins) -> Vec<Check> {
    let mut checks = check_unpinned(config, found);
    for (repository, occurrence) in &outside.undeclared {
        let detail = format!(
            "{repository} is pinned to {}, but no image declares this repository",
            occurrence.item.digest
        );
        let check = Check::new(Code::IMAGE_UNDECLARED, Status::Warn, detail);
        checks.push(at_occurrence(check, occurrence));
    }
    let passes = [
        (Code::IMAGE_UNPINNED, "no image is referenced by tag alone"),
        (
            Code::IMAGE_UNDECLARED,
            "every pinned repository of the same owners is declared",
        ),
    ];
    add_passes(&mut checks, &passes, found.files.len());
    checks
}

/// A warning for each glob of `files` that matches no file.
pub(crate) fn check_unmatched_globs(config: &Config, found: &FoundPins) -> Vec<Check> {
    let globs = found.unmatched.iter();
    globs
        .map(|glob| {
            let detail = no_match_message(config, glob);
            Check::new(Code::PIN_COUNT, Status::Warn, detail).item(glob.as_str())
        })
        .collect()
}

/// The message about a glob of `files`, or of a place, that matches no file.
pub(crate) fn no_match_message(config: &Config, glob: &Glob) -> String {
    let mut key = "files".to_owned();
    for place in &config.places {
        let mut globs = place.files.iter().flat_map(Globs::included);
        if globs.any(|included| included.span() == glob.span()) {
            key = format!("places.{}.files", place.name);
            break;
        }
    }
    format!("{key}: \"{}\" matches no file", glob.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn unread_file_is_the_item_of_its_check() {
        let unread = |file: Option<&str>| Unreadable {
            file: file.map(str::to_owned),
            reason: "permission denied".to_owned(),
            hint: None,
        };
        let check = unread_check(&unread(Some("a.yml")), Status::Fail);
        assert_eq!(check.item.as_deref(), Some("a.yml"));
        assert_eq!(check.detail, "cannot read a.yml: permission denied");
        assert_eq!(unread_check(&unread(None), Status::Fail).item, None);
    }

    #[test]
    fn unread_configuration_leaves_no_pass() {
        let config = config::example(
            "version: 1\nfiles: [x]\nimages: { a: { repository: r.example/a, pins: 1 } }\n",
        );
        let found = FoundPins::default();
        let mut outside = Outside {
            configurations: 2,
            ..Outside::default()
        };
        let counted = |outside: &Outside| {
            let checks = check_outside(&config, &found, outside, Operation::Promotion).into_iter();
            let counted = checks.filter(|check| check.code == Code::PIN_COUNTED_TWICE);
            let rows = counted.map(|check| (check.status, check.item));
            rows.collect::<Vec<_>>()
        };
        assert_eq!(counted(&outside), [(Status::Pass, None)]);
        outside.unread_configurations.push(Unreadable {
            file: Some("b/repin.yaml".to_owned()),
            reason: "permission denied".to_owned(),
            hint: None,
        });
        let unread = (Status::Warn, Some("b/repin.yaml".to_owned()));
        assert_eq!(counted(&outside), [unread]);
    }
}
