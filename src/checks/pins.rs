//! What a scan of the files has to show: counts, well-formed digests, files that can be changed,
//! agreement.

use std::fmt::Write as _;

use super::{Check, Code, FilePlace, Status};
use crate::{
    config::{Config, Image},
    pins::{Found, Located, Malformed, Pin},
    untrusted::plain,
};

/// How many places a detail lists before it only counts the rest.
const LISTED: usize = 20;

/// Counts exact, digests well-formed, files safe to change.
pub fn counts(config: &Config, found: &Found) -> Vec<Check> {
    let mut checks = hazards(found);
    for (at, image) in config.images.iter().enumerate() {
        let pins: Vec<_> = found.pins_of(at).collect();
        let malformed: Vec<_> = found.malformed_of(at).collect();
        checks.push(count(image, &pins, found.files));
        checks.extend(unsupported(image, &malformed));
    }
    checks
}

/// All pins of an image alike; `otherwise` is what it means if they are not.
pub fn agreement(config: &Config, found: &Found, otherwise: Status) -> Vec<Check> {
    let images = config.images.iter().enumerate();
    images
        .filter_map(|(at, image)| agrees(image, &found.pins_of(at).collect::<Vec<_>>(), otherwise))
        .collect()
}

fn hazards(found: &Found) -> Vec<Check> {
    if found.hazards.is_empty() {
        let detail = format!("{} files can be changed safely", found.files);
        return vec![Check::new(Code::FILE_UNSAFE, Status::Pass, detail)];
    }
    let hazard = |(path, hazard): &(crate::config::RelPath, crate::files::Hazard)| {
        let place = FilePlace {
            file: path.to_string(),
            line: 1,
            column: 1,
        };
        let detail = format!("`files` matches {path}, which can't be changed safely: {hazard}");
        Check::new(Code::FILE_UNSAFE, Status::Fail, detail)
            .item(path.to_string())
            .places(vec![place])
    };
    found.hazards.iter().map(hazard).collect()
}

fn count(image: &Image, pins: &[&Located<Pin>], files: usize) -> Check {
    let (found, declared) = (times(pins.len()), image.pins);
    let places: Vec<_> = pins.iter().map(|pin| place_of(pin)).collect();
    if pins.len() == declared {
        return Check::new(
            Code::PIN_COUNT,
            Status::Pass,
            format!("pinned {found}, as declared"),
        )
        .image(&image.name);
    }
    let files = if files == 1 {
        "1 file".to_owned()
    } else {
        format!("{files} files")
    };
    let mut detail = format!(
        "`{}` is pinned {found} in {files}, `pins:` says {declared}",
        image.name
    );
    if !places.is_empty() {
        detail.push_str(": ");
        detail.push_str(&listed(&places));
    }
    Check::new(Code::PIN_COUNT, Status::Fail, detail)
        .image(&image.name)
        .places(places)
}

fn unsupported(image: &Image, malformed: &[&Located<Malformed>]) -> Vec<Check> {
    if malformed.is_empty() {
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
        let detail =
            format!("{place}: `{text}` has no digest of the form sha256:<64 lowercase hex digits>");
        Check::new(Code::PIN_UNSUPPORTED, Status::Fail, detail)
            .image(&image.name)
            .item(found.file.to_string())
            .places(vec![place])
    };
    malformed.iter().map(check).collect()
}

fn agrees(image: &Image, pins: &[&Located<Pin>], otherwise: Status) -> Option<Check> {
    let first = pins.first()?;
    if pins.iter().all(|pin| pin.what.digest == first.what.digest) {
        let detail = format!("{} pinned to {}", times(pins.len()), first.what.digest);
        return Some(Check::new(Code::PIN_DISAGREE, Status::Pass, detail).image(&image.name));
    }
    let shown = pins
        .iter()
        .map(|pin| format!("{} at {}", pin.what.digest.short(), place_of(pin)));
    let detail = format!(
        "the pins of `{}` disagree: {}",
        image.name,
        shown.take(LISTED).collect::<Vec<_>>().join(", ")
    );
    let places = pins.iter().map(|pin| place_of(pin)).collect();
    Some(
        Check::new(Code::PIN_DISAGREE, otherwise, detail)
            .image(&image.name)
            .places(places),
    )
}

/// Where a pin stands, for annotations and people.
pub(super) fn place_of(pin: &Located<Pin>) -> FilePlace {
    FilePlace {
        file: pin.file.to_string(),
        line: pin.what.line,
        column: pin.what.column,
    }
}

fn listed(places: &[FilePlace]) -> String {
    let mut text = places
        .iter()
        .take(LISTED)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if places.len() > LISTED {
        let _ = write!(text, " and {} more", places.len() - LISTED);
    }
    text
}

fn times(count: usize) -> String {
    match count {
        0 => "nowhere".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{count} times"),
    }
}

impl std::fmt::Display for FilePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
