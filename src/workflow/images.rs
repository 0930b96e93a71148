//! The images of a run, as the rows of its document.

use std::collections::BTreeMap;

use crate::{
    checks::Resolution,
    config::Config,
    oci::Digest,
    pins::Found,
    registry::resolve::{self, ImageFacts},
    report::json::{ImageRow, PlaceRow, VerifiedRow},
};

/// Images as they are configured, before their pins are counted.
pub(super) fn declared(config: &Config) -> Vec<ImageRow> {
    let images = config.images.iter().map(|image| ImageRow {
        name: image.name.clone(),
        repository: image.repository.to_string(),
        from: Vec::new(),
        to: None,
        pins: image.pins,
        places: Vec::new(),
        platforms: Vec::new(),
        labels: BTreeMap::new(),
        verified: Vec::new(),
    });
    images.collect()
}

/// Images with their currently pinned digests.
pub(super) fn counted(mut images: Vec<ImageRow>, config: &Config, found: &Found) -> Vec<ImageRow> {
    for (at, row) in images.iter_mut().enumerate() {
        row.from = found.digests_of(at).iter().map(Digest::to_string).collect();
        row.pins = found.pins_of(at).count();
        row.places = PlaceRow::of(config, found, at);
    }
    images
}

/// Images with the digests that their tags resolve to.
pub(super) fn resolved(
    mut images: Vec<ImageRow>,
    resolutions: &[Resolution],
    config: &Config,
) -> Vec<ImageRow> {
    for (row, resolution) in images.iter_mut().zip(resolutions) {
        if let Ok(Some(facts)) = &resolution.found {
            row.fill(facts, &config.report.labels);
        }
    }
    images
}

/// Images with what proves that they are trusted.
pub(super) fn verified(
    mut images: Vec<ImageRow>,
    evidence: Vec<Vec<VerifiedRow>>,
) -> Vec<ImageRow> {
    for (row, verified) in images.iter_mut().zip(evidence) {
        row.verified = verified;
    }
    images
}

impl ImageRow {
    fn fill(&mut self, facts: &ImageFacts, names: &[String]) {
        self.to = Some(facts.digest.to_string());
        let platforms = facts.platforms.iter();
        self.platforms = platforms
            .map(|platform| platform.platform.to_string())
            .collect();
        self.labels = resolve::reported_labels(facts, names);
    }
}
