//! The images of a run, as the rows of its document.

use std::collections::BTreeMap;

use crate::{
    checks::{Resolution, TrustedSet, VerifiedRow},
    config::Config,
    oci::Digest,
    pins::Found,
    registry::resolve::{self, ImageFacts},
    report::json::{ImageRow, PlaceRow},
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

/// Adds the currently pinned digests.
pub(super) fn count(rows: &mut [ImageRow], config: &Config, found: &Found) {
    for (at, row) in rows.iter_mut().enumerate() {
        row.from = found.digests_of(at).iter().map(Digest::to_string).collect();
        row.pins = found.pins_of(at).count();
        row.places = PlaceRow::of(config, found, at);
    }
}

/// Adds the digests that tags resolve to.
pub(super) fn resolve(rows: &mut [ImageRow], resolutions: &[Resolution], config: &Config) {
    for (row, resolution) in rows.iter_mut().zip(resolutions) {
        if let Ok(Some(facts)) = &resolution.found {
            row.fill(facts, &config.report.labels);
        }
    }
}

/// Adds the evidence that images are trusted.
pub(super) fn verify(rows: &mut [ImageRow], evidence: Vec<Vec<VerifiedRow>>) {
    for (row, verified) in rows.iter_mut().zip(evidence) {
        row.verified = verified;
    }
}

/// Adds the images of a set that another run verified. `places`: the index of each image in the set.
pub(super) fn trust(rows: &mut [ImageRow], set: &TrustedSet, places: &[usize]) {
    for (row, place) in rows.iter_mut().zip(places) {
        let image = &set.document().images[*place];
        row.to = Some(image.digest.clone());
        row.platforms = Vec::new();
        for platform in &image.platforms {
            row.platforms.push(platform.platform.clone());
        }
        row.labels.clone_from(&image.labels);
        row.verified.clone_from(&image.verified);
    }
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
