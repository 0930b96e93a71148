//! Pins of all files that the configuration matches.

use std::sync::Arc;

use super::scan::{Finder, Malformed, Pin};
use crate::{
    config::{Config, RelPath},
    files::{Files, Hazard, ReadError},
    image::Digest,
};

/// Something in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The file.
    pub file: Arc<RelPath>,
    /// What is there.
    pub what: T,
}

/// Everything found, in the order of the paths' bytes and then of each file.
#[derive(Debug, Default)]
pub struct Found {
    /// The pins.
    pub pins: Vec<Located<Pin>>,
    /// What would be pins if their digests were right.
    pub malformed: Vec<Located<Malformed>>,
    /// Matched files that can't be changed safely.
    pub hazards: Vec<(RelPath, Hazard)>,
    /// How many files were looked into.
    pub files: usize,
}

/// Scans every matched file once, one at a time.
pub fn find(files: &dyn Files, config: &Config) -> Result<Found, ReadError> {
    let finder = Finder::new(&config.images);
    let listing = files.list(&config.files)?;
    let mut found = Found {
        hazards: listing.hazards,
        files: listing.files.len(),
        ..Found::default()
    };
    let mut buffer = Vec::new();
    for path in listing.files {
        let scanned = finder.scan_reader(files.open(&path)?, &mut buffer);
        let scan = scanned.map_err(|error| ReadError {
            path: path.to_string(),
            error,
        })?;
        if !(scan.pins.is_empty() && scan.malformed.is_empty()) {
            let file = Arc::new(path);
            found.pins.extend(scan.pins.into_iter().map(|what| Located {
                file: Arc::clone(&file),
                what,
            }));
            found
                .malformed
                .extend(scan.malformed.into_iter().map(|what| Located {
                    file: Arc::clone(&file),
                    what,
                }));
        }
    }
    Ok(found)
}

impl Found {
    /// The pins of one image, by its place in the configuration.
    pub fn pins_of(&self, image: usize) -> impl Iterator<Item = &Located<Pin>> {
        self.pins.iter().filter(move |pin| pin.what.image == image)
    }

    /// The digests that one image is pinned to, each once, in the order found.
    pub fn digests_of(&self, image: usize) -> Vec<Digest> {
        let mut digests = Vec::new();
        for pin in self.pins_of(image) {
            if !digests.contains(&pin.what.digest) {
                digests.push(pin.what.digest);
            }
        }
        digests
    }

    /// The malformed pins of one image.
    pub fn malformed_of(&self, image: usize) -> impl Iterator<Item = &Located<Malformed>> {
        self.malformed
            .iter()
            .filter(move |malformed| malformed.what.image == image)
    }
}
