//! The pins of all files that a configuration matches.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    lines::{Lines, WholeFile, read_whole},
    occurrences::Occurrence,
    other_digests::OtherDigestFinder,
    places::unpinned::{is_yaml, references},
    scan::{DoubleMatch, Malformed, Met, Pin, Refused, Scan, TagReference, WithoutKind},
    unpinned::reference::{LATEST, Origin, ReferenceTag, name_in, with_defaults},
};
use crate::{
    base::{
        error::{Code, Error},
        files::{Files, Glob, Hazard, Listing, OpenFile, ReadError, RelPath, TooLargeForPins},
    },
    config::Config,
    oci::{Digest, Tag},
};

/// An item of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub file: Arc<RelPath>,
    pub item: T,
}

/// The pins of all files, in the order of the bytes of their paths and then of each file.
#[derive(Debug, Clone, Default)]
pub(crate) struct FoundPins {
    pins: Vec<Located<Pin>>,
    /// The indexes of the pins of each image.
    of_image: Vec<Vec<usize>>,
    /// Malformed pins.
    pub malformed: Vec<Located<Malformed>>,
    /// Entries of places that are refused.
    pub refused: Vec<Located<Refused>>,
    pub double_matches: Vec<Located<DoubleMatch>>,
    /// The parts of places that a file contains.
    pub met: BTreeSet<Met>,
    /// Images without the kind of a kustomization, in files of places of the kind `kustomize`.
    pub without_kind: Vec<Located<WithoutKind>>,
    /// References to images without a digest.
    pub tag_references: Vec<Located<TagReference>>,
    /// Matched files that cannot be changed safely.
    pub hazards: Vec<(RelPath, Hazard)>,
    /// The files that were searched.
    pub files: Vec<RelPath>,
    /// The digests in the searched files that are not pins.
    pub other_digests: Vec<Located<Occurrence>>,
    /// The globs of `files` that match nothing.
    pub unmatched: Vec<Glob>,
}

/// The result of one file.
struct FileResult {
    scan: Scan,
    tag_references: Vec<TagReference>,
    other_digests: Vec<Occurrence>,
    hazard: Option<Hazard>,
}

/// Searches every matched file. This is the only search for pins in the files of a configuration.
pub(crate) fn find(files: &dyn Files, config: &Config) -> Result<FoundPins, ReadError> {
    let search = Search {
        finder: OtherDigestFinder::new(config),
        files,
    };
    let mut found = FoundPins::new(files.list_unopened(&config.scanned)?, config);
    let results = Mutex::new(Vec::new());
    files.visit(&found.files, &|number, opened, buffer| {
        let result = search
            .file(&found.files[number], opened, buffer)
            .transpose();
        if let Some(result) = result {
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push((number, result));
        }
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    for (number, result) in results {
        found.add(number, result)?;
    }
    found
        .hazards
        .sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    Ok(found)
}

struct Search<'s> {
    finder: OtherDigestFinder,
    files: &'s dyn Files,
}

impl Search<'_> {
    /// `None` for a file without any result, as most files are.
    fn file(
        &self,
        path: &RelPath,
        opened: io::Result<OpenFile<'_>>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<FileResult>> {
        let opened = opened?;
        let WholeFile::Complete(text) = read_whole(opened.content, buffer)? else {
            return Err(io::Error::other(TooLargeForPins));
        };
        let exists = |chart: &Path| self.files.has_chart(chart);
        let OtherDigestFinder {
            scanner,
            occurrences,
            ..
        } = &self.finder;
        let mut scan = scanner.scan(text, &scanner.places_of(path, &exists));
        let mut tag_references = occurrences.tag_references(text);
        tag_references.append(&mut scan.tags);
        let known: HashSet<_> = tag_references
            .iter()
            .map(|one| (one.line, one.column))
            .collect();
        let untagged = self.untagged_references(path, text).into_iter();
        tag_references.extend(untagged.filter(|one| !known.contains(&(one.line, one.column))));
        tag_references.sort_by_key(|reference| (reference.line, reference.column));
        let result = FileResult {
            tag_references,
            other_digests: self
                .finder
                .in_text(text, &scan, &self.finder.places_of(path, &exists)),
            hazard: opened.hazard,
            scan,
        };
        let is_empty = result.scan.is_empty()
            && result.tag_references.is_empty()
            && result.other_digests.is_empty()
            && result.hazard.is_none();
        Ok((!is_empty).then_some(result))
    }

    /// The references to images, without a tag or with a variable, that only the structure of YAML shows.
    fn untagged_references(&self, path: &RelPath, text: &[u8]) -> Vec<TagReference> {
        let mut found = Vec::new();
        if !is_yaml(path.as_path()) || !self.finder.scanner.may_contain_untagged(text) {
            return found;
        }
        let mut lines = Lines::new(text);
        for reference in references(path.as_path(), text) {
            let name = name_in(&reference.text);
            let Some((repository, tag)) = with_defaults(&reference.text[name.clone()]) else {
                continue;
            };
            let tag = match tag {
                // A kustomization may replace the name in a manifest.
                ReferenceTag::Missing if reference.origin == Origin::Manifest => continue,
                ReferenceTag::Missing => Tag::parse(LATEST).ok(),
                ReferenceTag::Variable => None,
                ReferenceTag::Tag(tag) => Some(tag),
            };
            let (line, column) = lines.place(text, reference.at + name.start);
            if let Some(image) = self.finder.scanner.image(&repository) {
                found.push(TagReference {
                    image,
                    line,
                    column,
                    tag,
                });
            }
        }
        found
    }
}

impl FoundPins {
    /// The result for a listing before its files are searched.
    fn new(listing: Listing, config: &Config) -> Self {
        Self {
            unmatched: listing.unmatched(&config.scanned),
            hazards: listing.hazards,
            files: listing.files,
            ..Self::default()
        }
    }

    /// Adds the result of a file; files are added in increasing order.
    fn add(&mut self, number: usize, result: io::Result<FileResult>) -> Result<(), ReadError> {
        let path = &self.files[number];
        let result = result.map_err(|error| ReadError {
            path: path.to_string(),
            error,
        })?;
        if let Some(hazard) = result.hazard {
            self.hazards.push((path.clone(), hazard));
        }
        let file = Arc::new(path.clone());
        for pin in located(&file, result.scan.pins) {
            self.add_pin(pin);
        }
        self.malformed.extend(located(&file, result.scan.malformed));
        self.refused.extend(located(&file, result.scan.refused));
        self.double_matches
            .extend(located(&file, result.scan.double_matches));
        self.met.extend(result.scan.met);
        self.without_kind
            .extend(located(&file, result.scan.without_kind));
        self.tag_references
            .extend(located(&file, result.tag_references));
        self.other_digests
            .extend(located(&file, result.other_digests));
        Ok(())
    }

    fn add_pin(&mut self, pin: Located<Pin>) {
        let image = pin.item.image;
        if self.of_image.len() <= image {
            self.of_image.resize_with(image + 1, Vec::new);
        }
        self.of_image[image].push(self.pins.len());
        self.pins.push(pin);
    }

    /// The pins of all images.
    pub(crate) fn pins(&self) -> &[Located<Pin>] {
        &self.pins
    }

    /// The number of files that contain a pin.
    pub(crate) fn files_with_pins(&self) -> usize {
        let files: BTreeSet<_> = self.pins.iter().map(|pin| &pin.file).collect();
        files.len()
    }

    /// The pins of an image.
    pub(crate) fn pins_of(&self, image: usize) -> impl Iterator<Item = &Located<Pin>> {
        let of_image = self.of_image.get(image).into_iter().flatten();
        of_image.map(|&at| &self.pins[at])
    }

    /// The digests of an image's pins without duplicates, in the order of the pins.
    pub(crate) fn digests_of(&self, image: usize) -> Vec<Digest> {
        let mut seen = HashSet::new();
        let digests = self.pins_of(image).map(|pin| pin.item.digest);
        digests.filter(|digest| seen.insert(*digest)).collect()
    }

    /// The tags of an image's pins without duplicates, in the order of the pins.
    pub(crate) fn tags_of(&self, image: usize) -> Vec<Tag> {
        let mut seen = HashSet::new();
        let tags = self.pins_of(image).filter_map(|pin| pin.item.tag.as_ref());
        tags.filter(|tag| seen.insert(*tag)).cloned().collect()
    }

    /// The refused entries of an image.
    pub(crate) fn refused_of(&self, image: usize) -> impl Iterator<Item = &Located<Refused>> {
        let refused = self.refused.iter();
        refused.filter(move |refused| refused.item.image == Some(image))
    }

    /// The malformed pins of an image.
    pub(crate) fn malformed_of(&self, image: usize) -> impl Iterator<Item = &Located<Malformed>> {
        self.malformed
            .iter()
            .filter(move |malformed| malformed.item.image == image)
    }
}

impl Located<DoubleMatch> {
    /// The error for a digest that would count twice.
    pub(crate) fn error(&self, config: &Config) -> Error {
        let DoubleMatch {
            line,
            column,
            places,
        } = self.item;
        let [first, second] = places.map(|index| &config.places[index]);
        let message = format!(
            "{}:{line}:{column}: the places `{}` and `{}` both find this digest, which would count twice",
            self.file, first.name, second.name
        );
        Error::input(Code::CONFIG, message)
            .at(config.location(second.span, ""))
            .help("narrow the `files` of one of the two places")
    }
}

/// Items of a file, each with the file.
fn located<T>(file: &Arc<RelPath>, items: Vec<T>) -> impl Iterator<Item = Located<T>> {
    items.into_iter().map(|item| Located {
        file: Arc::clone(file),
        item,
    })
}

impl FromIterator<Located<Pin>> for FoundPins {
    fn from_iter<T: IntoIterator<Item = Located<Pin>>>(pins: T) -> Self {
        let mut found = Self::default();
        for pin in pins {
            found.add_pin(pin);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::{
        base::{
            error::SourceText,
            files::{Globs, Snapshot, Visitor, WorkTree},
        },
        config,
    };

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn config(directory: &Path) -> Config {
        let source = SourceText {
            name: "repin.yaml".to_owned(),
            text: "version: 1\nfiles: ['**/*.yml']\nimages:\n  fix: { repository: ghcr.io/acme/fix, pins: 1 }\n".into(),
        };
        config::parse(&source, directory, &config::SetPath::top()).unwrap()
    }

    #[test]
    fn hazards_of_files_without_pins_are_sorted() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a.yml"), "").unwrap();
        fs::hard_link(path("a.yml"), path("z.yml")).unwrap();
        symlink("a.yml", path("m.yml")).unwrap();
        let config = config(directory.path());
        let found = find(&WorkTree::new(directory.path()), &config).unwrap();
        let hazards = [
            ("a.yml", Hazard::HardLink(2)),
            ("m.yml", Hazard::Symlink),
            ("z.yml", Hazard::HardLink(2)),
        ];
        let hazards = hazards.map(|(name, hazard)| (RelPath::parse(name).unwrap(), hazard));
        assert_eq!(found.hazards, hazards);
    }

    /// Visits the last file first.
    struct Reversed(Snapshot);

    impl Files for Reversed {
        fn list_unopened(&self, globs: &Globs) -> Result<Listing, ReadError> {
            self.0.list_unopened(globs)
        }

        fn has_chart(&self, path: &Path) -> bool {
            self.0.has_chart(path)
        }

        fn open(&self, path: &RelPath) -> Result<Box<dyn io::Read + '_>, ReadError> {
            self.0.open(path)
        }

        fn read(&self, path: &RelPath) -> Result<Vec<u8>, ReadError> {
            self.0.read(path)
        }

        fn visit(&self, paths: &[RelPath], visitor: &Visitor<'_>) -> Result<(), ReadError> {
            for (number, path) in paths.iter().enumerate().rev() {
                let path = std::slice::from_ref(path);
                self.0
                    .visit(path, &|_, opened, buffer| visitor(number, opened, buffer))?;
            }
            Ok(())
        }
    }

    #[test]
    fn any_order_of_files_finds_the_same_pins() {
        let lines = [
            format!("image: ghcr.io/acme/fix:v1@sha256:{HEX}\n"),
            format!("image: ghcr.io/acme/fix@sha256:{}\n", &HEX[1..]),
            format!("image: ghcr.io/acme/other@sha256:{HEX}\n"),
            "image: ghcr.io/acme/fix:v1\n".to_owned(),
            "no image\n".to_owned(),
        ];
        let directory = tempfile::tempdir().unwrap();
        let mut snapshot = Snapshot::default();
        for number in 0..300 {
            let name = format!("f{number:03}.yml");
            let text = lines[number % lines.len()].repeat(number % 3 + 1);
            fs::write(directory.path().join(&name), &text).unwrap();
            snapshot.insert(RelPath::parse(&name).unwrap(), text.into_bytes());
        }
        let config = config(directory.path());
        let one = find(&snapshot, &config).unwrap();
        assert_eq!(one.pins().len(), 120);
        assert_eq!(one.tags_of(0), [Tag::parse("v1").unwrap()]);
        // A work tree is read by several threads.
        for files in [
            &WorkTree::new(directory.path()) as &dyn Files,
            &Reversed(snapshot),
        ] {
            let other = find(files, &config).unwrap();
            assert_eq!(one.pins(), other.pins());
            assert_eq!(one.malformed, other.malformed);
            assert_eq!(one.tag_references, other.tag_references);
            assert_eq!(one.other_digests, other.other_digests);
            assert_eq!(one.files, other.files);
        }
    }
}
