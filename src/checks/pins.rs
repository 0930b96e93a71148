//! Verdicts on a scan of the files: counts, well-formed digests, files that can be changed safely,
//! agreement.

use std::fmt::Write as _;

use super::{Check, Code, FilePlace, Status};
use crate::{
    config::{Config, Image, few, number},
    error::Error,
    oci::Tag,
    pins::{Found, Located, Malformed, Pin, Refused, Twice, VersionComment},
    untrusted::plain,
};

/// How many places a detail lists before it only counts the rest.
const LISTED: usize = 20;

/// Checks that counts are exact, digests well-formed and files safe to change.
pub fn counts(config: &Config, found: &Found) -> Vec<Check> {
    let mut checks = hazards(found);
    for (at, image) in config.images.iter().enumerate() {
        let pins: Vec<_> = found.pins_of(at).collect();
        let malformed: Vec<_> = found.malformed_of(at).collect();
        let refused: Vec<_> = found.refused_of(at).collect();
        let uncounted = !malformed.is_empty() || !refused.is_empty();
        checks.push(count(image, &pins, uncounted, found.files.len()));
        checks.extend(unsupported(config, image, &malformed, &refused));
    }
    let nobodys = found.refused.iter().filter(|one| one.what.image.is_none());
    checks.extend(nobodys.map(|one| refusal(config, one)));
    checks.extend(managed(config, found));
    checks.extend(version_comments(config, found, &|pin| pin.tag.clone()));
    checks
}

/// Digests that two places find, an error of the configuration each.
pub fn found_twice(config: &Config, found: &Found) -> Vec<Error> {
    let error = |one: &Located<Twice>| {
        let [first, second] = one.what.places.map(|at| &config.places[at]);
        let message = format!(
            "{}:{}:{}: the places `{}` and `{}` both find this digest, which would count twice",
            one.file, one.what.line, one.what.column, first.name, second.name
        );
        Error::input(Code::CONFIG, message)
            .at(config.place(second.at, ""))
            .help("narrow the `files` of one of the two places")
    };
    found.twice.iter().map(error).collect()
}

/// Entries that a controller writes, too.
fn managed(config: &Config, found: &Found) -> Vec<Check> {
    let mut checks = Vec::new();
    for pin in found.pins() {
        let Some(split) = pin.what.split.as_ref().filter(|split| split.managed) else {
            continue;
        };
        let place = place_of(pin);
        let detail = format!(
            "{place}: the comment `$imagepolicy` lets Flux's image automation write this entry, too"
        );
        let check = Check::new(Code::MANAGED_ELSEWHERE, Status::Warn, detail)
            .image(&config.images[pin.what.image].name)
            .item(&config.places[split.place].name);
        checks.push(check.places(vec![place]));
    }
    if checks.is_empty() && !config.places.is_empty() {
        let detail = "no entry has a comment that lets a controller write it, too";
        checks.push(Check::new(Code::MANAGED_ELSEWHERE, Status::Pass, detail));
    }
    checks
}

/// Compares the comments that name a version with the tag that `named` gives for their pin.
pub fn version_comments(
    config: &Config,
    found: &Found,
    named: &dyn Fn(&Pin) -> Option<Tag>,
) -> Vec<Check> {
    let images = 0..config.images.len();
    images
        .filter_map(|at| version_comments_of(config, found, at, named))
        .collect()
}

/// The same of one image; a pin for which `named` gives no tag is left out.
pub(super) fn version_comments_of(
    config: &Config,
    found: &Found,
    at: usize,
    named: &dyn Fn(&Pin) -> Option<Tag>,
) -> Option<Check> {
    let compared = found.pins_of(at).filter_map(|pin| {
        let comment = pin.what.comment.as_deref()?;
        Some((pin, comment, named(&pin.what)?))
    });
    let compared: Vec<_> = compared.collect();
    let others: Vec<_> = compared
        .iter()
        .filter(|(_, comment, tag)| comment.tag != *tag)
        .collect();
    let (_, _, tag) = compared.first()?;
    let check = |status, detail| {
        Check::new(Code::VERSION_COMMENT, status, detail).image(&config.images[at].name)
    };
    let Some((_, comment, _)) = others.first() else {
        let detail = format!(
            "{} after the digest: {tag}",
            number(compared.len(), "comment")
        );
        return Some(check(Status::Pass, detail));
    };
    let mention = |(pin, comment, tag): &&(&Located<Pin>, &VersionComment, Tag)| {
        format!("{} names {}, not {tag}", place_of(pin), comment.tag)
    };
    let shown = others.iter().map(mention);
    let detail = format!(
        "{}: {}",
        number(others.len(), "out-of-date comment"),
        few(shown, LISTED)
    );
    let places: Vec<_> = others.iter().map(|(pin, ..)| place_of(pin)).collect();
    let help = if comment.moves {
        "the next promote or rollback writes the tag into the comment"
    } else {
        "set `comments: tag`, so that promote and rollback write the tag into the comment"
    };
    Some(check(Status::Warn, detail).help(help).places(places))
}

/// Checks that all pins of an image have one digest; `otherwise` is the status if they do not.
pub fn agreement(config: &Config, found: &Found, otherwise: Status) -> Vec<Check> {
    let images = config.images.iter().enumerate();
    images
        .filter_map(|(at, image)| agrees(image, &found.pins_of(at).collect::<Vec<_>>(), otherwise))
        .collect()
}

fn hazards(found: &Found) -> Vec<Check> {
    if found.hazards.is_empty() {
        let detail = format!(
            "{} can be changed safely",
            number(found.files.len(), "file")
        );
        return vec![Check::new(Code::FILE_UNSAFE, Status::Pass, detail)];
    }
    let hazard = |(path, hazard): &(crate::config::RelPath, crate::files::Hazard)| {
        let place = FilePlace {
            file: path.to_string(),
            line: 1,
            column: 1,
        };
        let detail = format!("cannot change {path} safely: {hazard}");
        Check::new(Code::FILE_UNSAFE, Status::Fail, detail)
            .item(path.to_string())
            .places(vec![place])
    };
    found.hazards.iter().map(hazard).collect()
}

/// Compares the number of pins with the declared one. `uncounted`: some are malformed or refused.
fn count(image: &Image, pins: &[&Located<Pin>], uncounted: bool, files: usize) -> Check {
    let declared = image.pins;
    let places: Vec<_> = pins.iter().map(|pin| place_of(pin)).collect();
    if pins.len() == declared {
        return Check::new(
            Code::PIN_COUNT,
            Status::Pass,
            format!("{}, as declared", number(declared, "pin")),
        )
        .image(&image.name);
    }
    let message = format!(
        "found {} of `{}` in {}, but `pins: {declared}` is declared",
        number(pins.len(), "pin"),
        image.name,
        number(files, "file")
    );
    let mut detail = message.clone();
    if !places.is_empty() {
        let _ = write!(
            detail,
            ": {}",
            few(places.iter().map(ToString::to_string), LISTED)
        );
    }
    let help = if uncounted {
        "first correct what pin_unsupported reports: it does not count as a pin".to_owned()
    } else if pins.len() < declared {
        format!(
            "if a pin was removed on purpose, set `pins: {}` (`repin init --update` counts again); \
             otherwise check that `files:` matches every file",
            pins.len()
        )
    } else {
        format!(
            "if a pin was added on purpose, set `pins: {}` (`repin init --update` counts again); \
             otherwise remove it or exclude its file",
            pins.len()
        )
    };
    Check::new(Code::PIN_COUNT, Status::Fail, detail)
        .image(&image.name)
        .cause(message)
        .help(help)
        .places(places)
}

/// A refused entry, with its place and the reader that would disagree.
fn refusal(config: &Config, refused: &Located<Refused>) -> Check {
    let place = FilePlace {
        file: refused.file.to_string(),
        line: refused.what.line,
        column: refused.what.column,
    };
    let detail = format!("{place}: {}", plain(&refused.what.why));
    let check = Check::new(Code::PIN_UNSUPPORTED, Status::Fail, detail)
        .item(&config.places[refused.what.place].name)
        .places(vec![place]);
    match refused.what.image {
        Some(image) => check.image(&config.images[image].name),
        None => check,
    }
}

fn unsupported(
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
    let check = |found: &&Located<Malformed>| {
        let place = FilePlace {
            file: found.file.to_string(),
            line: found.what.line,
            column: found.what.column,
        };
        let text = plain(&found.what.text);
        let detail = format!(
            "{place}: malformed digest in `{text}`, expected sha256:<64 lowercase hex digits>"
        );
        Check::new(Code::PIN_UNSUPPORTED, Status::Fail, detail)
            .image(&image.name)
            .item(found.file.to_string())
            .places(vec![place])
    };
    let refused = refused.iter().map(|one| refusal(config, one));
    malformed.iter().map(check).chain(refused).collect()
}

fn agrees(image: &Image, pins: &[&Located<Pin>], otherwise: Status) -> Option<Check> {
    let first = pins.first()?;
    if pins.iter().all(|pin| pin.what.digest == first.what.digest) {
        let detail = format!(
            "{}, all of {}",
            number(pins.len(), "pin"),
            first.what.digest
        );
        return Some(Check::new(Code::PIN_DISAGREE, Status::Pass, detail).image(&image.name));
    }
    let shown = pins
        .iter()
        .map(|pin| format!("{} at {}", pin.what.digest.short(), place_of(pin)));
    let detail = format!(
        "the pins of `{}` disagree: {}",
        image.name,
        few(shown, LISTED)
    );
    let places = pins.iter().map(|pin| place_of(pin)).collect();
    Some(
        Check::new(Code::PIN_DISAGREE, otherwise, detail)
            .image(&image.name)
            .places(places),
    )
}

/// The place of a pin, for annotations and people.
pub(super) fn place_of(pin: &Located<Pin>) -> FilePlace {
    FilePlace {
        file: pin.file.to_string(),
        line: pin.what.line,
        column: pin.what.column,
    }
}

impl std::fmt::Display for FilePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
