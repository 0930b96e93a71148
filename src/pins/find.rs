//! Pins of all files that the configuration matches.

use std::{collections::HashSet, sync::Arc};

use super::{
    places::FileScanner,
    scan::{Malformed, Pin, Refused, Scan, Twice},
};
use crate::{
    config::{Config, Glob, RelPath},
    files::{Files, Hazard, Listing, ReadError},
    oci::Digest,
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
    pins: Vec<Located<Pin>>,
    /// Where the pins of each image are among them.
    of_image: Vec<Vec<usize>>,
    /// What would be pins if their digests were right.
    pub malformed: Vec<Located<Malformed>>,
    /// Entries of places that are refused.
    pub refused: Vec<Located<Refused>>,
    /// Digests that two places find.
    pub twice: Vec<Located<Twice>>,
    /// Matched files that cannot be changed safely.
    pub hazards: Vec<(RelPath, Hazard)>,
    /// How many files were searched.
    pub files: usize,
    /// The globs of `files` that match nothing.
    pub unmatched: Vec<Glob>,
}

/// Scans every matched file once, one at a time.
pub fn find(files: &dyn Files, config: &Config) -> Result<Found, ReadError> {
    let scanner = FileScanner::new(config);
    let mut listing = files.list(&config.scanned)?;
    let mut found = Found::of(&mut listing, config);
    let mut buffer = Vec::new();
    for path in listing.files {
        let looking = scanner.looking(&path, &|chart| files.has_chart(chart));
        let opened = files.open(&path)?;
        let scan = scanner
            .scan_reader(opened, &looking, &mut buffer)
            .map_err(|error| ReadError {
                path: path.to_string(),
                error,
            })?;
        if !scan.is_empty() {
            found.add(&Arc::new(path), scan);
        }
    }
    Ok(found)
}

/// These, each with its file.
pub(super) fn located<T>(file: &Arc<RelPath>, what: Vec<T>) -> impl Iterator<Item = Located<T>> {
    what.into_iter().map(|what| Located {
        file: Arc::clone(file),
        what,
    })
}

impl Found {
    /// What a listing says before its files are searched; takes its hazards.
    pub(super) fn of(listing: &mut Listing, config: &Config) -> Self {
        let mut unmatched = config.scanned.included();
        let hazards = std::mem::take(&mut listing.hazards);
        let found = listing.files.iter();
        for path in found.chain(hazards.iter().map(|(path, _)| path)) {
            if unmatched.is_empty() {
                break;
            }
            unmatched.retain(|glob| !glob.matches(path.as_path()));
        }
        Self {
            hazards,
            files: listing.files.len(),
            unmatched: unmatched.into_iter().cloned().collect(),
            ..Self::default()
        }
    }

    /// Adds what was found in a file; files come in the order of their paths' bytes.
    pub(super) fn add(&mut self, file: &Arc<RelPath>, scan: Scan) {
        for pin in located(file, scan.pins) {
            self.add_pin(pin);
        }
        self.malformed.extend(located(file, scan.malformed));
        self.refused.extend(located(file, scan.refused));
        self.twice.extend(located(file, scan.twice));
    }

    fn add_pin(&mut self, pin: Located<Pin>) {
        let image = pin.what.image;
        if self.of_image.len() <= image {
            self.of_image.resize_with(image + 1, Vec::new);
        }
        self.of_image[image].push(self.pins.len());
        self.pins.push(pin);
    }

    /// Puts the hazards into the order of the paths' bytes.
    pub(super) fn sort_hazards(&mut self) {
        self.hazards
            .sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    }

    /// The pins.
    pub fn pins(&self) -> &[Located<Pin>] {
        &self.pins
    }

    /// The pins of one image, by its place in the configuration.
    pub fn pins_of(&self, image: usize) -> impl Iterator<Item = &Located<Pin>> {
        let of_image = self.of_image.get(image).into_iter().flatten();
        of_image.map(|&at| &self.pins[at])
    }

    /// The digests that one image is pinned to, each once, in the order found.
    pub fn digests_of(&self, image: usize) -> Vec<Digest> {
        let mut seen = HashSet::new();
        let digests = self.pins_of(image).map(|pin| pin.what.digest);
        digests.filter(|digest| seen.insert(*digest)).collect()
    }

    /// The refused entries of one image.
    pub fn refused_of(&self, image: usize) -> impl Iterator<Item = &Located<Refused>> {
        let refused = self.refused.iter();
        refused.filter(move |refused| refused.what.image == Some(image))
    }

    /// The malformed pins of one image.
    pub fn malformed_of(&self, image: usize) -> impl Iterator<Item = &Located<Malformed>> {
        self.malformed
            .iter()
            .filter(move |malformed| malformed.what.image == image)
    }
}

impl FromIterator<Located<Pin>> for Found {
    fn from_iter<T: IntoIterator<Item = Located<Pin>>>(pins: T) -> Self {
        let mut found = Self::default();
        for pin in pins {
            found.add_pin(pin);
        }
        found
    }
}
