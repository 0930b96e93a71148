//! The images of a run, as the rows of its document.

use std::collections::BTreeMap;

use crate::{
    app::report::json::{ImageRow, PlaceRow},
    config::Config,
    core::{
        checks::{ApprovedImage, Resolution, TrustedSet, VerifiedRow},
        pins::Found,
    },
    oci::{Digest, registry::resolve},
};

/// The rows of the configured images, before their pins are counted.
pub(super) fn declared(config: &Config) -> Vec<ImageRow> {
    let rows = config.images.iter().map(|image| ImageRow {
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
    rows.collect()
}

/// Adds the pins and the pinned digests.
pub(super) fn add_pins(rows: &mut [ImageRow], config: &Config, found: &Found) {
    for (index, row) in rows.iter_mut().enumerate() {
        let digests = found.digests_of(index);
        row.from = digests.iter().map(Digest::to_string).collect();
        row.pins = found.pins_of(index).count();
        row.places = PlaceRow::all(config, found, index);
    }
}

/// Adds the pins of a set that remains.
pub(super) fn add_current(rows: &mut [ImageRow], config: &Config, found: &Found) {
    add_pins(rows, config, found);
    for row in rows {
        if let [digest] = row.from.as_slice() {
            row.to = Some(digest.clone());
        }
    }
}

/// Adds the digests that tags resolve to.
pub(super) fn add_digests(rows: &mut [ImageRow], resolutions: &[Resolution], config: &Config) {
    for (row, resolution) in rows.iter_mut().zip(resolutions) {
        if let Ok(Ok(ApprovedImage { facts, .. })) = &resolution.found {
            row.to = Some(facts.digest.to_string());
            let platforms = facts.platforms.iter();
            row.platforms = platforms
                .map(|platform| platform.platform.to_string())
                .collect();
            row.labels = resolve::reported_labels(facts, &config.report.labels);
        }
    }
}

/// Adds the evidence of signatures and attestations.
pub(super) fn add_evidence(rows: &mut [ImageRow], evidence: Vec<Vec<VerifiedRow>>) {
    for (row, verified) in rows.iter_mut().zip(evidence) {
        row.verified = verified;
    }
}

/// Adds the images of a set that another run verified. `indices`: the index of each image in the set.
pub(super) fn add_trusted_set(rows: &mut [ImageRow], set: &TrustedSet, indices: &[usize]) {
    for (row, index) in rows.iter_mut().zip(indices) {
        let image = &set.document().images[*index];
        row.to = Some(image.digest.clone());
        let platforms = image.platforms.iter();
        row.platforms = platforms
            .map(|platform| platform.platform.clone())
            .collect();
        row.labels.clone_from(&image.labels);
        row.verified.clone_from(&image.verified);
    }
}
