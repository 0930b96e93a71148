//! Digests of a file that are not pins, with the images of those in entries of kustomize and Helm.

use std::{
    io::{self, Read},
    path::Path,
};

use super::{
    lines::{BLOCK, WholeFile, read_whole},
    occurrences::{FileDigests, Occurrence, OccurrenceFinder, OccurrenceKind},
    places::{FilePlaces, FileScanner, StandardPlaces},
    scan::Scan,
};
use crate::{base::files::RelPath, config::Config, oci::Digest};

/// Finds the digests that are not pins.
pub(crate) struct OtherDigestFinder {
    pub(super) scanner: FileScanner,
    pub(super) occurrences: OccurrenceFinder,
    standard: StandardPlaces,
}

/// The places of a file whose pins are not found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct OtherPlaces {
    /// Those of the configuration, if the sparse checkout leaves the file out.
    configured: FilePlaces,
    /// The standard places, which find entries that no place of the configuration finds.
    standard: FilePlaces,
}

impl OtherDigestFinder {
    /// For the images and places of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            scanner: FileScanner::new(config),
            occurrences: OccurrenceFinder::new(config),
            standard: StandardPlaces::new(),
        }
    }

    /// The places of a file; `exists` checks whether a file exists at a path.
    pub(crate) fn places_of(&self, path: &RelPath, exists: &dyn Fn(&Path) -> bool) -> OtherPlaces {
        OtherPlaces {
            configured: FilePlaces::default(),
            standard: self.standard.places_of(path, exists),
        }
    }

    /// The places of a file that `files` matches and the sparse checkout leaves out.
    pub(crate) fn places_of_left_out(
        &self,
        path: &RelPath,
        exists: &dyn Fn(&Path) -> bool,
    ) -> OtherPlaces {
        OtherPlaces {
            configured: self.scanner.places_of(path, exists),
            ..self.places_of(path, exists)
        }
    }

    /// The digests in a text that are neither pins nor malformed.
    pub(super) fn in_text(
        &self,
        text: &[u8],
        scan: &Scan,
        places: &OtherPlaces,
    ) -> Vec<Occurrence> {
        let mut found = self.occurrences.other_digests(text, scan);
        let is_apart =
            |one: &Occurrence| matches!(one.kind, OccurrenceKind::Bare | OccurrenceKind::Marked(_));
        if !found.iter().any(is_apart) {
            return found;
        }
        let (mut configured, mut standard) = (Scan::default(), Scan::default());
        if !places.configured.is_empty() {
            configured = self.scanner.scan(text, &places.configured);
        }
        // Most files with such a digest contain no image.
        if self.scanner.may_contain_entry(text) {
            let image = |repository| self.scanner.image(&repository);
            self.standard
                .add(&mut standard, text, &places.standard, &image);
        }
        let entry = |scan: &Scan, offset: usize| {
            let number = scan.pins.binary_search_by_key(&offset, |pin| pin.offset);
            let pin = &scan.pins[number.ok()?];
            Some((pin.image, pin.split.as_ref()?.place))
        };
        for one in found.iter_mut().filter(|one| is_apart(one)) {
            if let Some((image, _)) = entry(&configured, one.offset) {
                one.kind = OccurrenceKind::Image(image);
            } else if one.kind == OccurrenceKind::Bare
                && let Some((image, place)) = entry(&standard, one.offset)
            {
                one.kind = OccurrenceKind::Entry(image, place);
            }
        }
        found
    }

    /// The digests in a file of any size that `keep` selects. Entries are found in files of at most 16 MiB.
    pub(crate) fn in_file(
        &self,
        reader: impl Read,
        buffer: &mut Vec<u8>,
        places: &OtherPlaces,
        keep: impl Fn(&OccurrenceKind, &Digest) -> bool,
    ) -> io::Result<FileDigests> {
        if *places == OtherPlaces::default() {
            return self.occurrences.digests(reader, buffer, keep);
        }
        match read_whole(reader, buffer)? {
            WholeFile::TooLarge(reader) => self.occurrences.digests(reader, &mut Vec::new(), keep),
            WholeFile::Complete(text) => {
                let mut occurrences = self.in_text(text, &Scan::default(), places);
                occurrences.retain(|one| keep(&one.kind, &one.digest));
                Ok(FileDigests {
                    occurrences,
                    is_buffered: text.len() < BLOCK,
                })
            }
        }
    }
}
