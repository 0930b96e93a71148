//! Verdicts on the parts of places that select nothing in any file.

use super::{Check, Code, FileLocation, Status};
use crate::{
    base::{
        error::{Error, Span},
        files::Globs,
    },
    config::{Config, KUSTOMIZATIONS, PinPlace, PlaceKind, TextKind, YamlKind},
    core::pins::{Found, Met, PlacePart},
};

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
pub(super) fn check_unmet(config: &Config, found: &Found) -> Vec<Check> {
    let mut checks = Vec::new();
    for unmet in unmet(config, found) {
        let (line, column) = config.place(unmet.span, "").line_column();
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
pub(crate) fn unmet_errors(config: &Config, found: &Found) -> Vec<Error> {
    let errors = unmet(config, found).into_iter();
    let errors = errors.filter(|unmet| unmet.is_error).map(|unmet| {
        Error::input(Code::CONFIG, unmet.message())
            .at(config.place(unmet.span, ""))
            .help("correct the key, or remove the place")
    });
    errors.collect()
}

impl Unmet {
    fn message(&self) -> String {
        format!("{} {}", self.key, self.fact)
    }
}

fn unmet(config: &Config, found: &Found) -> Vec<Unmet> {
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
fn unmet_parts(number: usize, place: &PinPlace, found: &Found) -> Vec<Unmet> {
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
