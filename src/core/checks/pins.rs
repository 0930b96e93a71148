//! Verdicts on the pins that were found: counts, well-formed digests, agreement, and files that can be
//! changed safely.
//!
//! Verdicts on the parts of places that select nothing in any file.

use std::{cmp::Ordering, collections::BTreeMap, fmt::Write as _};

use super::{Check, Code, FileLocation, Status};
use crate::{
    base::{
        error::{Error, Span},
        files::Globs,
        text::{counted, few},
        untrusted::plain,
    },
    config::{
        Config, Image, KUSTOMIZATIONS, Operation, PinPlace, PlaceKind, SetPath, TextKind, YamlKind,
    },
    core::{
        outside::Outside,
        pins::{FoundPins, Located, Malformed, Met, Pin, PlacePart, Refused},
    },
    oci::Tag,
};

/// The maximum number of locations in a detail; further ones are counted.
const MAX_LISTED: usize = 20;

/// Checks that counts are exact, digests well-formed and files safe to change.
pub(crate) fn check_pins(config: &Config, found: &FoundPins) -> Vec<Check> {
    let mut checks = check_hazards(found);
    for (index, image) in config.images.iter().enumerate() {
        let malformed: Vec<_> = found.malformed_of(index).collect();
        let refused: Vec<_> = found.refused_of(index).collect();
        let has_uncounted = !malformed.is_empty() || !refused.is_empty();
        checks.push(check_count(config, index, found, has_uncounted));
        checks.extend(check_well_formed(config, image, &malformed, &refused));
    }
    for refused in &found.refused {
        if refused.item.image.is_none() {
            checks.push(refusal(config, refused));
        }
    }
    checks.extend(check_unmet(config, found));
    checks.extend(check_managed(config, found));
    checks.extend(check_version_comments(config, found, &|pin| {
        pin.tag.clone()
    }));
    checks
}

/// Checks that no other set of the repository counts a pin of this set; before a rollback, such a pin
/// only warns. Another configuration that cannot be read is a warning.
pub(super) fn check_counted_once(
    config: &Config,
    found: &FoundPins,
    outside: &Outside,
    operation: Operation,
) -> Vec<Check> {
    let status = match operation {
        Operation::Promotion => Status::Fail,
        Operation::Rollback => Status::Warn,
    };
    let mut shared: BTreeMap<(usize, &SetPath), Vec<FileLocation>> = BTreeMap::new();
    for pin in &outside.shared {
        let located = &found.pins()[pin.pin];
        let locations = shared.entry((located.item.image, &pin.set)).or_default();
        locations.push(location_of(located));
    }
    let own = &config.set_path;
    let mut checks = Vec::new();
    for ((image, other), locations) in shared {
        let name = &config.images[image].name;
        let detail = format!(
            "the sets `{own}` and `{other}` both count {} of `{name}`: {}",
            counted(locations.len(), "pin"),
            few(locations.iter().map(ToString::to_string), MAX_LISTED)
        );
        let check = Check::new(Code::PIN_COUNTED_TWICE, status, detail)
            .image(name)
            .item(other.to_string())
            .cause(format!("the sets `{own}` and `{other}` both count pins"))
            .help(Code::PIN_COUNTED_TWICE.help());
        checks.push(check.locations(locations));
    }
    for unread in &outside.unread_configurations {
        let detail = match &unread.file {
            Some(file) => format!(
                "the set `{file}` may count pins of `{own}`, but its configuration cannot be read: {}",
                unread.reason
            ),
            None => format!(
                "cannot determine whether another set counts pins of `{own}`: {}",
                unread.reason
            ),
        };
        let mut check = Check::new(Code::PIN_COUNTED_TWICE, Status::Warn, detail);
        check.item.clone_from(&unread.file);
        checks.push(check.with_help(unread.hint.as_deref()));
    }
    if checks.is_empty() && outside.configurations > 0 {
        let detail = format!(
            "no other configuration of this repository counts these pins: {} searched",
            outside.configurations
        );
        checks.push(Check::new(Code::PIN_COUNTED_TWICE, Status::Pass, detail));
    }
    checks
}

/// Warnings about entries that a controller may also write.
fn check_managed(config: &Config, found: &FoundPins) -> Vec<Check> {
    let mut checks = Vec::new();
    for pin in found.pins() {
        let Some(split) = pin.item.split.as_ref().filter(|split| split.managed) else {
            continue;
        };
        let location = location_of(pin);
        let detail = format!(
            "{location}: the comment `$imagepolicy` also lets Flux's image automation write this entry"
        );
        let check = Check::new(Code::MANAGED_ELSEWHERE, Status::Warn, detail)
            .image(&config.images[pin.item.image].name)
            .item(&config.places[split.place].name);
        checks.push(check.locations(vec![location]));
    }
    if checks.is_empty() && !config.places.is_empty() {
        let detail = "no entry has a comment that also lets a controller write it";
        checks.push(Check::new(Code::MANAGED_ELSEWHERE, Status::Pass, detail));
    }
    checks
}

/// Compares the version comments of pins with the tags that `tag_of` returns.
pub(crate) fn check_version_comments(
    config: &Config,
    found: &FoundPins,
    tag_of: &dyn Fn(&Pin) -> Option<Tag>,
) -> Vec<Check> {
    let images = 0..config.images.len();
    images
        .filter_map(|image| check_image_comments(config, found, image, tag_of))
        .collect()
}

/// Compares the version comments of one image. A pin without a tag is skipped.
pub(super) fn check_image_comments(
    config: &Config,
    found: &FoundPins,
    image: usize,
    tag_of: &dyn Fn(&Pin) -> Option<Tag>,
) -> Option<Check> {
    let mut compared = 0;
    let mut differing = Vec::new();
    let mut first_tag = None;
    for pin in found.pins_of(image) {
        if let (Some(comment), Some(tag)) = (&pin.item.comment, tag_of(&pin.item)) {
            compared += 1;
            if comment.tag != tag {
                differing.push((pin, comment, tag.clone()));
            }
            first_tag.get_or_insert(tag);
        }
    }
    let tag = first_tag?;
    let check = |status, detail| {
        Check::new(Code::VERSION_COMMENT, status, detail).image(&config.images[image].name)
    };
    let Some((_, comment, _)) = differing.first() else {
        let detail = format!("{} after the digest: {tag}", counted(compared, "comment"));
        return Some(check(Status::Pass, detail));
    };
    let mentions = differing.iter().map(|(pin, comment, tag)| {
        format!("{} names {}, not {tag}", location_of(pin), comment.tag)
    });
    let detail = format!(
        "{}: {}",
        counted(differing.len(), "out-of-date comment"),
        few(mentions, MAX_LISTED)
    );
    let locations: Vec<_> = differing.iter().map(|(pin, ..)| location_of(pin)).collect();
    let help = if comment.moves {
        "the next promote or rollback writes the tag into the comment"
    } else {
        "set `comments: tag`, so that promote and rollback write the tag into the comment"
    };
    Some(check(Status::Warn, detail).help(help).locations(locations))
}

/// Checks that all pins of an image have one digest; `otherwise` is the status if they do not.
pub(crate) fn check_agreement(config: &Config, found: &FoundPins, otherwise: Status) -> Vec<Check> {
    let mut checks = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        let pins: Vec<_> = found.pins_of(index).collect();
        checks.extend(check_image_agreement(image, &pins, otherwise));
    }
    checks
}

/// Checks that every matched file can be replaced.
pub(crate) fn check_hazards(found: &FoundPins) -> Vec<Check> {
    if found.hazards.is_empty() {
        let detail = format!(
            "{} can be changed safely",
            counted(found.files.len(), "file")
        );
        return vec![Check::new(Code::FILE_UNSAFE, Status::Pass, detail)];
    }
    let mut checks = Vec::new();
    for (path, hazard) in &found.hazards {
        let location = FileLocation {
            file: path.to_string(),
            line: 1,
            column: 1,
        };
        let detail = format!("cannot change {path} safely: {hazard}");
        let check = Check::new(Code::FILE_UNSAFE, Status::Fail, detail);
        checks.push(check.item(path.to_string()).locations(vec![location]));
    }
    checks
}

/// Compares the number of pins with the declared one. `has_uncounted`: some are malformed or refused.
fn check_count(config: &Config, index: usize, found: &FoundPins, has_uncounted: bool) -> Check {
    let (image, files) = (&config.images[index], found.files.len());
    let pins: Vec<_> = found.pins_of(index).collect();
    let declared = image.pins;
    let locations: Vec<_> = pins.iter().map(|pin| location_of(pin)).collect();
    if pins.len() == declared {
        return Check::new(
            Code::PIN_COUNT,
            Status::Pass,
            format!("{}, as declared", counted(declared, "pin")),
        )
        .image(&image.name);
    }
    let message = format!(
        "found {} of `{}` in {}, but `pins: {declared}` is declared",
        counted(pins.len(), "pin"),
        image.name,
        counted(files, "file")
    );
    let mut detail = message.clone();
    if !locations.is_empty() {
        let _ = write!(
            detail,
            ": {}",
            few(locations.iter().map(ToString::to_string), MAX_LISTED)
        );
    }
    let option = &config.option;
    let tag_only = (found.tag_references.iter()).find(|tag| tag.item.image == index);
    let help = if has_uncounted {
        "first correct what pin_unsupported reports: it does not count as a pin".to_owned()
    } else {
        let (change, otherwise) = match (pins.len().cmp(&declared), tag_only) {
            (Ordering::Less, Some(Located { file, item })) => (
                "removed",
                format!(
                    "check that `files:` matches every file, or restore the digest of {file}:{}:{}, which has only a tag \
                     (`repin{option} init --pin --apply` adds that of the tag)",
                    item.line, item.column
                ),
            ),
            (Ordering::Less, None) => (
                "removed",
                "check that `files:` matches every file".to_owned(),
            ),
            (Ordering::Equal | Ordering::Greater, _) => {
                ("added", "remove it or exclude its file".to_owned())
            }
        };
        format!(
            "if a pin was {change} on purpose, set `pins: {}` (`repin{option} init --update` counts again); \
             otherwise {otherwise}",
            pins.len()
        )
    };
    Check::new(Code::PIN_COUNT, Status::Fail, detail)
        .image(&image.name)
        .cause(message)
        .help(help)
        .locations(locations)
}

/// The failure of a refused entry.
fn refusal(config: &Config, refused: &Located<Refused>) -> Check {
    let location = FileLocation {
        file: refused.file.to_string(),
        line: refused.item.line,
        column: refused.item.column,
    };
    let detail = format!("{location}: {}", plain(&refused.item.reason));
    let check = Check::new(Code::PIN_UNSUPPORTED, Status::Fail, detail)
        .item(&config.places[refused.item.place].name)
        .locations(vec![location]);
    match refused.item.image {
        Some(image) => check.image(&config.images[image].name),
        None => check,
    }
}

fn check_well_formed(
    config: &Config,
    image: &Image,
    malformed: &[&Located<Malformed>],
    refused: &[&Located<Refused>],
) -> Vec<Check> {
    if malformed.is_empty() && refused.is_empty() {
        let check = Check::new(
            Code::PIN_UNSUPPORTED,
            Status::Pass,
            "every digest is well-formed",
        );
        return vec![check.image(&image.name)];
    }
    let mut checks = Vec::new();
    for Located { file, item } in malformed {
        let location = FileLocation {
            file: file.to_string(),
            line: item.line,
            column: item.column,
        };
        let text = plain(&item.text);
        let detail = format!(
            "{location}: malformed digest in `{text}`, expected sha256:<64 lowercase hex digits>"
        );
        let check = Check::new(Code::PIN_UNSUPPORTED, Status::Fail, detail).image(&image.name);
        checks.push(check.item(file.to_string()).locations(vec![location]));
    }
    checks.extend(refused.iter().map(|refused| refusal(config, refused)));
    checks
}

fn check_image_agreement(
    image: &Image,
    pins: &[&Located<Pin>],
    otherwise: Status,
) -> Option<Check> {
    let first = pins.first()?;
    if pins.iter().all(|pin| pin.item.digest == first.item.digest) {
        let detail = format!(
            "{}, all of {}",
            counted(pins.len(), "pin"),
            first.item.digest
        );
        return Some(Check::new(Code::PIN_DISAGREE, Status::Pass, detail).image(&image.name));
    }
    let mentions = pins
        .iter()
        .map(|pin| format!("{} at {}", pin.item.digest.short(), location_of(pin)));
    let detail = format!(
        "the pins of `{}` disagree: {}",
        image.name,
        few(mentions, MAX_LISTED)
    );
    let locations = pins.iter().map(|pin| location_of(pin)).collect();
    Some(
        Check::new(Code::PIN_DISAGREE, otherwise, detail)
            .image(&image.name)
            .locations(locations),
    )
}

pub(super) fn location_of(pin: &Located<Pin>) -> FileLocation {
    FileLocation {
        file: pin.file.to_string(),
        line: pin.item.line,
        column: pin.item.column,
    }
}

impl std::fmt::Display for FileLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A part of a place that selects nothing.
pub(crate) struct Unmet {
    /// The key of the configuration.
    key: String,
    span: Span,
    fact: &'static str,
    /// Whether the configuration cannot be right: the place never finds a pin.
    is_error: bool,
}

/// Warnings about places, and keys of places, that select nothing, and about files that kustomize does not
/// take for kustomizations.
pub(super) fn check_unmet(config: &Config, found: &FoundPins) -> Vec<Check> {
    let mut checks = Vec::new();
    for unmet in unmet(config, found) {
        let (line, column) = config.location(unmet.span, "").line_column();
        let location = FileLocation {
            file: config.file_name().to_owned(),
            line,
            column,
        };
        let check = Check::new(Code::PLACE_UNMET, Status::Warn, unmet.message());
        checks.push(check.item(unmet.key).locations(vec![location]));
    }
    for without_kind in &found.without_kind {
        let location = FileLocation {
            file: without_kind.file.to_string(),
            line: without_kind.item.line,
            column: without_kind.item.column,
        };
        let detail = format!(
            "{location}: these images are not read: kustomize takes a file for a kustomization only if it is called {} or contains `kind: Kustomization` or `kind: Component`",
            KUSTOMIZATIONS.join(", ")
        );
        let check = Check::new(Code::PLACE_UNMET, Status::Warn, detail);
        let name = &config.places[without_kind.item.place].name;
        checks.push(check.item(name).locations(vec![location]));
    }
    if checks.is_empty() && !config.places.is_empty() {
        let detail = "every place finds an entry";
        checks.push(Check::new(Code::PLACE_UNMET, Status::Pass, detail));
    }
    checks
}

/// The errors of places that can never find a pin.
pub(crate) fn unmet_errors(config: &Config, found: &FoundPins) -> Vec<Error> {
    let errors = unmet(config, found).into_iter();
    let errors = errors.filter(|unmet| unmet.is_error).map(|unmet| {
        Error::input(Code::CONFIG, unmet.message())
            .at(config.location(unmet.span, ""))
            .help("correct the key, or remove the place")
    });
    errors.collect()
}

impl Unmet {
    fn message(&self) -> String {
        format!("{} {}", self.key, self.fact)
    }
}

fn unmet(config: &Config, found: &FoundPins) -> Vec<Unmet> {
    let mut all = Vec::new();
    for (number, place) in config.places.iter().enumerate() {
        // A glob without a file is reported as such.
        let mut globs = place.files.iter().flat_map(Globs::included);
        let is_unmatched = globs.any(|glob| {
            let mut unmatched = found.unmatched.iter();
            unmatched.any(|other| other.span() == glob.span())
        });
        if !is_unmatched {
            all.extend(unmet_parts(number, place, found));
        }
    }
    all
}

/// The parts of one place that are not met.
fn unmet_parts(number: usize, place: &PinPlace, found: &FoundPins) -> Vec<Unmet> {
    let is_met = |part| {
        let place = number;
        found.met.contains(&Met { place, part })
    };
    let key = format!("places.{}", place.name);
    let keys = &place.keys;
    if !is_met(PlacePart::Entry) {
        let fact = match &place.kind {
            PlaceKind::Yaml(YamlKind::Kustomize) => "finds no kustomization with images",
            PlaceKind::Yaml(YamlKind::Helm { .. }) => "finds no mapping with the key `repository`",
            PlaceKind::Yaml(YamlKind::Keys(_)) => "selects nothing in the files of the place",
            PlaceKind::Text(TextKind::Marked) => "finds no comment `repin: NAME`",
        };
        let is_keys = keys.entry.is_some();
        return vec![Unmet {
            key: if is_keys { key + ".entry" } else { key },
            span: keys.entry.unwrap_or(place.span),
            fact,
            is_error: is_keys,
        }];
    }
    if !matches!(place.kind, PlaceKind::Yaml(YamlKind::Keys(_))) {
        return Vec::new();
    }
    let has_digest = is_met(PlacePart::Digest) || is_met(PlacePart::Tag);
    let mut all = Vec::new();
    for (part, name, span, is_error) in [
        (PlacePart::Registry, "registry", keys.registry, false),
        (PlacePart::Repository, "repository", keys.repository, true),
        (PlacePart::Tag, "tag", keys.tag, !has_digest),
        (PlacePart::Digest, "digest", keys.digest, !has_digest),
    ] {
        if let Some(span) = span.filter(|_| !is_met(part)) {
            all.push(Unmet {
                key: format!("{key}.{name}"),
                span,
                fact: "selects nothing in any entry of the place",
                is_error,
            });
        }
    }
    all
}
