//! Split pins: digests of configured images that do not directly follow their repository.
//!
//! The input is the content of one file, the output are pins and refusals. A place of the
//! configuration defines where such digests are: [`kustomize`], [`helm`] and [`keys`] select the
//! entries of a YAML or JSON document, [`entry`] checks all entries by the same rules, and
//! [`marked`] finds comments in any text. An entry that another reader of the file could interpret
//! differently is refused.

mod entry;
#[cfg(any(test, fuzzing))]
#[path = "../../../../fuzz/properties/places.rs"]
pub(in crate::core::pins) mod fuzzing;
mod helm;
mod keys;
mod kustomize;
mod marked;
mod strings;
pub(super) mod unpinned;
mod unreadable;
mod yaml;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
    path::Path,
    sync::Arc,
};

use super::{
    lines::Lines,
    scan::{
        DigestForm, DoubleMatch, Finder, Met, PREFIX, Pin, PlacePart, Refused, Scan, Split,
        TagEdit, TagReference, WithoutKind,
    },
};
use crate::{
    base::{
        error::Span,
        files::{Globs, RelPath},
    },
    config::{
        CommentPolicy, Config, DefaultFiles, KUSTOMIZATIONS, PinPlace, PlaceKind, PlaceSpans,
        Revisions, TextKind, YamlKind, places_of,
    },
    oci::{Digest, Repository, Tag},
};

pub(super) use marked::marked_image;
pub(super) use strings::needs_quotes;
use unreadable::{contains_name, may_contain_digest};

/// Finds whole references and split pins in files.
#[derive(Debug, Clone)]
pub(crate) struct FileScanner {
    finder: Finder,
    rules: Arc<Rules>,
}

/// The places of a configuration, and the parts of the configuration that they depend on.
#[derive(Debug, Default)]
struct Rules {
    places: Vec<PinPlace>,
    /// The files of places without `files`.
    files: Globs,
    /// The images by name, with their indexes in the finder.
    names: HashMap<String, usize>,
    images: HashMap<Repository, usize>,
    /// The form of a revision; `None` before there is a configuration.
    revisions: Option<Revisions>,
    /// The policy of places without a separate one.
    comments: CommentPolicy,
}

/// The places that apply to one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct FilePlaces {
    /// Their numbers in the configuration.
    numbers: Vec<usize>,
    /// Whether the file is a kustomization.
    kustomization: bool,
}

impl FilePlaces {
    /// Whether no place applies.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

/// A split pin or a refusal at an offset.
#[derive(Debug)]
struct Finding {
    place: usize,
    image: Option<usize>,
    /// The offset of the digest, or of the refused text.
    at: usize,
    kind: FindingKind,
}

#[derive(Debug)]
enum FindingKind {
    Pin {
        digest: Digest,
        tag: Option<Tag>,
        split: Box<Split>,
    },
    /// The reason of a refusal.
    Refused(String),
}

impl Finding {
    fn refused(place: usize, image: Option<usize>, at: usize, reason: impl Into<String>) -> Self {
        let kind = FindingKind::Refused(reason.into());
        Self {
            place,
            image,
            at,
            kind,
        }
    }

    /// A pin in text that is not read as YAML.
    fn pin_in_text(place: usize, image: usize, found: &TextDigest, tag: Option<TagEdit>) -> Self {
        let TextDigest { at, digest, form } = *found;
        let kind = FindingKind::Pin {
            digest,
            tag: tag.as_ref().map(|edit| edit.tag.clone()),
            split: Box::new(Split {
                place,
                form,
                pointer: None,
                document: None,
                tags: tag.into_iter().collect(),
                comment: None,
                managed: false,
            }),
        };
        Self {
            place,
            image: Some(image),
            at,
            kind,
        }
    }
}

/// A digest in text that is not read as YAML.
#[derive(Debug, Clone, Copy)]
struct TextDigest {
    /// The offset.
    at: usize,
    digest: Digest,
    form: DigestForm,
}

/// A file with everything that its places need.
struct File<'f> {
    content: &'f [u8],
    rules: &'f Rules,
    kustomization: bool,
    /// Returns the image with a repository.
    image: &'f dyn Fn(Repository) -> Option<usize>,
    met: RefCell<BTreeSet<Met>>,
    /// The images and tags of entries without a digest, by the offset of the tag.
    tags: RefCell<BTreeMap<usize, (usize, Tag)>>,
    /// The offsets of the images of files that kustomize does not take for kustomizations, by place.
    without_kind: RefCell<BTreeMap<usize, usize>>,
}

impl FileScanner {
    /// For the images and places of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let images = config.images.iter();
        let repositories: Vec<_> = images.map(|image| image.repository.clone()).collect();
        Self::of(config, &repositories)
    }

    /// For the places of `config`; a pin's `image` is the index in `repositories`, which may be those
    /// of another configuration.
    pub(crate) fn of(config: &Config, repositories: &[Repository]) -> Self {
        let finder = Finder::for_repositories(repositories).with_version_comments(config);
        let images: HashMap<Repository, usize> = repositories.iter().cloned().zip(0..).collect();
        let names = config
            .images
            .iter()
            .filter_map(|image| Some((image.name.clone(), *images.get(&image.repository)?)))
            .collect();
        let rules = Rules {
            places: config.places.clone(),
            names,
            images,
            revisions: Some(config.revision.clone()),
            files: config.files.clone(),
            comments: config.comments,
        };
        Self {
            finder,
            rules: Arc::new(rules),
        }
    }

    /// The places that apply to a file; `exists` checks whether a file exists at a path.
    pub(crate) fn places_of(&self, path: &RelPath, exists: &dyn Fn(&Path) -> bool) -> FilePlaces {
        let name = path.as_path().file_name().and_then(|name| name.to_str());
        FilePlaces {
            numbers: places_of(
                &self.rules.places,
                &self.rules.files,
                path.as_path(),
                exists,
            ),
            kustomization: name.is_some_and(|name| KUSTOMIZATIONS.contains(&name)),
        }
    }

    /// Every place, for a file without a known path.
    pub(crate) fn all_places(&self) -> FilePlaces {
        FilePlaces {
            numbers: (0..self.rules.places.len()).collect(),
            kustomization: true,
        }
    }

    /// Whether a text may contain an image without a tag, or with a variable.
    pub(super) fn may_contain_untagged(&self, content: &[u8]) -> bool {
        self.rules.images.keys().any(|repository| {
            let path = repository.path();
            let name = path.strip_prefix("library/").unwrap_or(path);
            memchr::memmem::find_iter(content, name).any(|at| {
                let (before, after) = (&content[..at], &content[at + name.len()..]);
                let is_tagged = match after {
                    [b'@', ..] => true,
                    [b':', rest @ ..] => {
                        let end = rest.iter().find(|byte| !Tag::has_character(**byte));
                        end != Some(&b'$')
                    }
                    _ => false,
                };
                !is_tagged || before.ends_with(b"}/")
            })
        })
    }

    /// Whether a text may contain an entry of a standard place with an image: a key, and the end of its repository, which
    /// a registry with a path may precede in another key, or an escape.
    pub(super) fn may_contain_entry(&self, content: &[u8]) -> bool {
        let mut keys = ["repository", "images"].iter();
        if !keys.any(|key| memchr::memmem::find(content, key.as_bytes()).is_some()) {
            return false;
        }
        let mut images = self.rules.images.keys();
        memchr::memchr(b'\\', content).is_some()
            || images.any(|repository| {
                let name = repository.path().rsplit('/').next();
                name.is_some_and(|name| contains_name(content, name))
            })
    }

    /// The image with this repository.
    pub(super) fn image(&self, repository: &Repository) -> Option<usize> {
        self.rules.images.get(repository).copied()
    }

    /// The pins of a file.
    pub(crate) fn scan(&self, content: &[u8], places: &FilePlaces) -> Scan {
        let mut scan = self.finder.scan(content);
        self.rules.add(&self.finder, &mut scan, content, places);
        scan
    }
}

/// The pins and refusals of a place in text.
type TextReader = fn(&Rules, &Finder, usize, &[u8]) -> Vec<Finding>;

fn text_reader(kind: TextKind) -> TextReader {
    match kind {
        TextKind::Marked => marked::find,
    }
}

/// The places that every configuration may have without further settings: `kustomize` and `helm`.
fn standard_places() -> Vec<PinPlace> {
    let place = |name: &str, kind, default_files| PinPlace {
        name: name.to_owned(),
        span: Span { start: 0, end: 0 },
        keys: PlaceSpans::default(),
        kind: PlaceKind::Yaml(kind),
        files: None,
        default_files,
        comment: Some(CommentPolicy::Keep),
    };
    vec![
        place(
            STANDARD_PLACES[0],
            YamlKind::Kustomize,
            DefaultFiles::Kustomizations,
        ),
        place(
            STANDARD_PLACES[1],
            YamlKind::Helm { registry: None },
            DefaultFiles::Values,
        ),
    ]
}

/// The places that `init` searches before there is a configuration.
pub(super) struct StandardPlaces {
    rules: Rules,
}

/// The names of the standard places, by their numbers.
pub(crate) const STANDARD_PLACES: [&str; 2] = ["kustomize", "helm"];

impl StandardPlaces {
    pub(super) fn new() -> Self {
        Self {
            rules: Rules {
                places: standard_places(),
                ..Rules::default()
            },
        }
    }

    /// The places that apply to a file; `exists` checks whether a file exists at a path.
    pub(super) fn places_of(&self, path: &RelPath, exists: &dyn Fn(&Path) -> bool) -> FilePlaces {
        let mut numbers = Vec::new();
        for (number, place) in self.rules.places.iter().enumerate() {
            if place.default_files.matches(path.as_path(), exists) {
                numbers.push(number);
            }
        }
        FilePlaces {
            numbers,
            kustomization: false,
        }
    }

    /// Adds the entries of any repository in a file to `scan`, its whole pins.
    pub(super) fn add(
        &self,
        scan: &mut Scan,
        content: &[u8],
        places: &FilePlaces,
        image: &dyn Fn(Repository) -> Option<usize>,
    ) {
        let mut selected = self.rules.yaml_places();
        selected.retain(|(number, _)| places.numbers.contains(number));
        let file = File {
            content,
            rules: &self.rules,
            kustomization: true,
            image,
            met: RefCell::default(),
            tags: RefCell::default(),
            without_kind: RefCell::default(),
        };
        // A repository has many files of YAML, and only a few may contain a digest.
        if !selected.is_empty()
            && may_contain_digest(content)
            && let Ok(findings) = file.parse(&selected)
        {
            // `1.2@sha256:…` is the tag of an entry, not a repository `1.2`.
            let entries: HashSet<usize> = findings.iter().map(|finding| finding.at).collect();
            scan.pins.retain(|pin| !entries.contains(&pin.offset));
            add_findings(scan, content, findings);
        }
    }
}

impl Rules {
    /// The places that read YAML, by their numbers.
    fn yaml_places(&self) -> Vec<(usize, &YamlKind)> {
        let places = self.places.iter().enumerate();
        let places = places.filter_map(|(number, place)| match &place.kind {
            PlaceKind::Yaml(kind) => Some((number, kind)),
            PlaceKind::Text(_) => None,
        });
        places.collect()
    }

    /// Adds the split pins and refusals of a file.
    fn add(&self, finder: &Finder, scan: &mut Scan, content: &[u8], places: &FilePlaces) {
        let (mut findings, mut parsed) = (Vec::new(), Vec::new());
        for number in &places.numbers {
            match &self.places[*number].kind {
                PlaceKind::Yaml(kind) => parsed.push((*number, kind)),
                // A line without a digest may be refused, so every file is searched.
                PlaceKind::Text(kind) => {
                    scan.has_marks = true;
                    let find = text_reader(*kind);
                    findings.extend(find(self, finder, *number, content));
                }
            }
        }
        for finding in &findings {
            let (place, part) = (finding.place, PlacePart::Entry);
            scan.met.insert(Met { place, part });
        }
        let file = File {
            content,
            rules: self,
            kustomization: places.kustomization,
            image: &|repository| self.images.get(&repository).copied(),
            met: RefCell::default(),
            tags: RefCell::default(),
            without_kind: RefCell::default(),
        };
        if let Some((first, _)) = parsed.first() {
            match file.parse(&parsed) {
                Ok(found) => findings.extend(found),
                Err(fault) => findings.extend(file.unreadable(scan, &findings, *first, &fault)),
            }
        }
        scan.met.extend(file.met.take());
        let mut lines = Lines::new(content);
        for (at, (image, tag)) in file.tags.take() {
            let (line, column) = lines.place(content, at);
            scan.tags.push(TagReference {
                image,
                line,
                column,
                tag: Some(tag),
            });
        }
        for (place, at) in file.without_kind.take() {
            let (line, column) = Lines::new(content).place(content, at);
            scan.without_kind.push(WithoutKind {
                place,
                line,
                column,
            });
        }
        add_findings(scan, content, findings);
    }
}

impl File<'_> {
    /// The findings of the places that read YAML.
    fn parse(&self, places: &[(usize, &YamlKind)]) -> Result<Vec<Finding>, yaml::Fault> {
        let text = std::str::from_utf8(self.content).map_err(|error| yaml::Fault {
            at: error.valid_up_to(),
            reason: "it is not UTF-8".to_owned(),
        })?;
        let mut findings = Vec::new();
        yaml::documents(text, |document| {
            for (place, kind) in places {
                findings.extend(self.findings(document, *place, kind, 0));
            }
        })?;
        Ok(findings)
    }

    /// The findings of a place in a document that is in `depth` strings.
    fn findings(
        &self,
        document: &yaml::Document<'_>,
        place: usize,
        kind: &YamlKind,
        depth: usize,
    ) -> Vec<Finding> {
        let read = document.readers().iter().map(|reader| {
            document.read_as(*reader);
            let entries = self.entries(document, place, kind);
            entry::judge(self, document, place, &entries)
        });
        let mut findings = read.reduce(keys::reconcile).unwrap_or_default();
        if matches!(kind, YamlKind::Helm { .. }) {
            findings.extend(strings::find(self, document, place, kind, depth));
        }
        findings
    }

    /// The entries of a place in a document.
    fn entries(
        &self,
        document: &yaml::Document<'_>,
        place: usize,
        kind: &YamlKind,
    ) -> Vec<entry::Entry> {
        let entries = match kind {
            YamlKind::Kustomize => kustomize::entries(document, self, place),
            YamlKind::Helm { registry } => helm::entries(document, self, registry.as_deref()),
            YamlKind::Keys(rule) => keys::entries(document, self, place, rule),
        };
        if !entries.is_empty() {
            self.meet(place, PlacePart::Entry);
        }
        entries
    }

    /// Notes the tag of an entry without a digest.
    fn note_tag(&self, document: &yaml::Document<'_>, image: usize, field: strings::Field) {
        let text = document.scalar(field.node).unwrap_or_default();
        if let Ok(tag) = Tag::parse(text) {
            let at = document.span(field.node).start;
            self.tags.borrow_mut().insert(at, (image, tag));
        }
    }

    fn meet(&self, place: usize, part: PlacePart) {
        self.met.borrow_mut().insert(Met { place, part });
    }

    /// The image with this repository.
    fn image(&self, repository: &str) -> Option<usize> {
        (self.image)(Repository::parse(Repository::without_scheme(repository)).ok()?)
    }

    fn comments(&self, place: usize) -> CommentPolicy {
        let own = self.rules.places[place].comment;
        own.unwrap_or(self.rules.comments)
    }
}

/// Adds findings to a scan in the order of the file. A digest that two places find belongs to neither.
fn add_findings(scan: &mut Scan, content: &[u8], mut findings: Vec<Finding>) {
    findings.sort_by_key(|finding| finding.at);
    let whole: Vec<usize> = scan.pins.iter().map(|pin| pin.offset).collect();
    let mut lines = Lines::new(content);
    let mut findings = findings.into_iter().peekable();
    while let Some(finding) = findings.next() {
        let Finding { place, at, .. } = finding;
        let (line, column) = lines.place(content, at.min(content.len()));
        let refused = |image, reason| Refused {
            place,
            image,
            line,
            column,
            text: excerpt(&content[at.min(content.len())..]),
            reason,
        };
        let (digest, tag, split, image) = match (finding.kind, finding.image) {
            (FindingKind::Refused(reason), image) => {
                scan.refused.push(refused(image, reason));
                continue;
            }
            (FindingKind::Pin { digest, tag, split }, Some(image)) => (digest, tag, split, image),
            (FindingKind::Pin { .. }, None) => continue,
        };
        let is_same =
            |next: &Finding| next.at == at && matches!(next.kind, FindingKind::Pin { .. });
        let mut foreign = false;
        while let Some(other) = findings.next_if(is_same) {
            foreign |= other.place == place && other.image != Some(image);
            if other.place != place {
                scan.double_matches.push(DoubleMatch {
                    line,
                    column,
                    places: [place, other.place],
                });
            }
        }
        if foreign {
            let reason = "two comments assign this digest to different images";
            scan.refused.push(refused(Some(image), reason.to_owned()));
        }
        // A whole reference in the scalar of an entry is already a pin.
        if whole.binary_search(&at).is_err() {
            scan.pins.push(Pin {
                image,
                line,
                column,
                offset: at,
                tag,
                tag_at: at,
                digest,
                split: Some(split),
                comment: None,
            });
        }
    }
    scan.pins.sort_by_key(|pin| pin.offset);
}

/// A key of a document for a message.
fn key_excerpt(document: &yaml::Document<'_>, key: yaml::Id) -> String {
    excerpt(document.key(key).unwrap_or_default().as_bytes())
}

/// The start of a text, up to a line end or the length that a table shows.
fn excerpt(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .take(120)
        .take_while(|byte| !b"\r\n".contains(byte));
    let text = String::from_utf8_lossy(&bytes[..end.count()]).into_owned();
    text.trim_end().to_owned()
}

/// Whether two YAML files differ only in the scalars that contain an offset of `moved` in the old file, and in
/// the nodes within `added` of the new one.
pub(super) fn same_events(old: &[u8], new: &[u8], moved: &[usize], added: &[Range<usize>]) -> bool {
    match (std::str::from_utf8(old), std::str::from_utf8(new)) {
        (Ok(old), Ok(new)) => yaml::same_events(old, new, moved, added),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
