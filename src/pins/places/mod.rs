//! Split pins: digests of configured images that do not stand behind their repository.
//!
//! Bytes of one file in, pins and refusals out; nothing is read, judged or changed here. A place of
//! the configuration says where such digests may stand: [`kustomize`], [`helm`] and [`keys`] choose
//! the entries of a YAML or JSON document, [`entry`] judges them alike, [`marked`] goes by comments
//! in any text. Whatever a reader of the file could take otherwise than this one is refused.

mod entry;
#[cfg(any(test, fuzzing))]
pub(in crate::pins) mod fuzzing;
mod helm;
mod keys;
mod kustomize;
pub(in crate::pins) mod large;
mod marked;
mod quoting;
mod readers;
mod values;
mod yaml;

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use memchr::memmem;

use super::{
    chunk::{Lines, Window, each_window},
    digests::{Width, runs_in},
    scan::{Finder, Pin, Refused, Scan, Split, Twice},
};
use crate::{
    config::{
        CommentPolicy, Config, Globs, KUSTOMIZATIONS, PinPlace, PlaceKind, RelPath, Revisions,
        looking_into,
    },
    error::Span,
    oci::{Digest, Repository, Tag},
};

pub use large::read_in_ways;
pub(super) use quoting::needs_quotes;

/// The largest file that is parsed, in bytes.
pub(crate) const LARGEST: usize = 4 * 1024 * 1024;

/// Finds whole references and split pins in files.
#[derive(Debug, Clone)]
pub struct FileScanner {
    finder: Finder,
    rules: Option<Arc<Rules>>,
}

/// What is looked for beside whole references.
#[derive(Debug, Default)]
struct Rules {
    places: Vec<PinPlace>,
    /// The files of the configuration that places without their own look into.
    files: Globs,
    /// The names of the images, each at its place in the finder.
    names: HashMap<String, usize>,
    images: HashMap<Repository, usize>,
    /// What a revision looks like; `None` in a first look.
    revisions: Option<Revisions>,
}

/// The places that look into one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Looking {
    /// Their numbers in the configuration.
    places: Vec<usize>,
    /// Whether the file has a name that kustomize looks for.
    kustomization: bool,
}

impl Looking {
    /// Whether no place does.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// A split pin or a refusal before its line and column are known.
#[derive(Debug)]
struct Sight {
    place: usize,
    image: Option<usize>,
    /// Offset of the digest, or of what is refused.
    at: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Pin {
        digest: Digest,
        tag: Option<Tag>,
        split: Box<Split>,
    },
    Refused(String),
}

/// One file as its places see it.
struct File<'f> {
    content: &'f [u8],
    rules: &'f Rules,
    kustomization: bool,
    /// The image whose repository this is.
    image: &'f dyn Fn(Repository) -> Option<usize>,
}

impl FileScanner {
    /// For the images and places of a configuration.
    pub fn new(config: &Config) -> Self {
        Self::of(
            config,
            &config
                .images
                .iter()
                .map(|i| &i.repository)
                .cloned()
                .collect::<Vec<_>>(),
        )
    }

    /// For whole references alone.
    pub fn plain(finder: Finder) -> Self {
        Self {
            finder,
            rules: None,
        }
    }

    /// For the places of `config`; a pin's `image` is the place in `repositories`, which may be those
    /// of another configuration.
    pub fn of(config: &Config, repositories: &[Repository]) -> Self {
        let finder = Finder::of(repositories).with_versions(config);
        if config.places.is_empty() {
            return Self {
                finder,
                rules: None,
            };
        }
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
        };
        Self {
            finder,
            rules: Some(Arc::new(rules)),
        }
    }

    /// The places that look into a scanned file; `exists` tells whether there is a file at a path.
    pub fn looking(&self, path: &RelPath, exists: &dyn Fn(&Path) -> bool) -> Looking {
        let Some(rules) = &self.rules else {
            return Looking::default();
        };
        let name = path.as_path().file_name().and_then(|name| name.to_str());
        Looking {
            places: looking_into(&rules.places, &rules.files, path.as_path(), exists),
            kustomization: name.is_some_and(|name| KUSTOMIZATIONS.contains(&name)),
        }
    }

    /// Every place, for a content whose path is not known.
    pub fn looking_everywhere(&self) -> Looking {
        let places = self.rules.as_ref().map_or(0, |rules| rules.places.len());
        Looking {
            places: (0..places).collect(),
            kustomization: true,
        }
    }

    /// Scans a whole file in memory.
    pub fn scan(&self, content: &[u8], looking: &Looking) -> Scan {
        let rules = self.rules.as_deref().filter(|_| !looking.is_empty());
        if rules.is_some() && content.len() > LARGEST {
            let read = self.scan_parts(content, looking, &mut Vec::new());
            // Bytes in memory can always be read.
            return read.unwrap_or_default();
        }
        let mut scan = self.finder.scan(content);
        if let Some(rules) = rules {
            rules.add(&self.finder, &mut scan, content, looking);
        }
        scan
    }

    /// Scans a file as it is read. One that no place looks into, or that is larger than what is
    /// parsed, is held in memory a chunk at a time, in `buffer`, which can be used again.
    pub fn scan_reader(
        &self,
        mut reader: impl Read,
        looking: &Looking,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Scan> {
        if looking.is_empty() {
            return self.finder.scan_reader(reader, buffer);
        }
        buffer.clear();
        reader
            .by_ref()
            .take(LARGEST as u64 + 1)
            .read_to_end(buffer)?;
        if buffer.len() <= LARGEST {
            return Ok(self.scan(buffer, looking));
        }
        let begun = std::mem::take(buffer);
        self.scan_parts(begun.as_slice().chain(reader), looking, buffer)
    }

    fn scan_parts(
        &self,
        reader: impl Read,
        looking: &Looking,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Scan> {
        let mut stream = self.stream(looking);
        each_window(reader, buffer, looking.overlap(), |window, range, lines| {
            stream.window(window, range, *lines);
        })?;
        Ok(stream.finish())
    }
}

/// What a first look finds.
pub(super) struct FirstLook {
    rules: Rules,
}

/// The number of the place of the kind `kustomize` in a first look; that of the kind `helm` is next.
pub(crate) const KUSTOMIZE: usize = 0;

impl FirstLook {
    pub(super) fn new() -> Self {
        let place = |name: &str, kind| PinPlace {
            name: name.to_owned(),
            at: Span { start: 0, end: 0 },
            kind,
            files: None,
            comment: CommentPolicy::Keep,
        };
        Self {
            rules: Rules {
                places: vec![
                    place("kustomize", PlaceKind::Kustomize),
                    place("helm", PlaceKind::Helm { registry: None }),
                ],
                ..Rules::default()
            },
        }
    }

    /// The entries of any repository at all in a file, before there is a configuration; `scan` is
    /// what it holds of whole references, `exists` tells whether there is a file at a path.
    pub(super) fn add(
        &self,
        scan: &mut Scan,
        path: &RelPath,
        content: &[u8],
        exists: &dyn Fn(&Path) -> bool,
        image: &dyn Fn(Repository) -> Option<usize>,
    ) {
        let places = self.rules.places.iter().enumerate();
        let places: Vec<usize> = places
            .filter(|(_, place)| place.kind.has_name(path.as_path(), exists))
            .map(|(at, _)| at)
            .collect();
        if places.is_empty() || content.len() > LARGEST || !may_hold_digest(content) {
            return;
        }
        let file = File {
            content,
            rules: &self.rules,
            kustomization: places.contains(&KUSTOMIZE),
            image,
        };
        if let Ok(sights) = file.parsed(&places) {
            // `1.2@sha256:…` is the tag of an entry, and no repository `1.2`.
            let entries: HashSet<usize> = sights.iter().map(|sight| sight.at).collect();
            scan.pins.retain(|pin| !entries.contains(&pin.offset));
            place_all(scan, content, sights);
        }
    }
}

impl Rules {
    /// Adds what the places find in a file.
    fn add(&self, finder: &Finder, scan: &mut Scan, content: &[u8], looking: &Looking) {
        let mut sights = Vec::new();
        // A comment that marks a line without a digest is refused wherever it stands.
        self.marked(finder, content, looking, &mut sights);
        if !may_hold_digest(content) {
            place_all(scan, content, sights);
            return;
        }
        let file = File {
            content,
            rules: self,
            kustomization: looking.kustomization,
            image: &|repository| self.images.get(&repository).copied(),
        };
        let parsed: Vec<usize> = looking
            .places
            .iter()
            .copied()
            .filter(|at| !self.is_marked(*at))
            .collect();
        if let Some(first) = parsed.first() {
            match file.parsed(&parsed) {
                Ok(found) => sights.extend(found),
                Err(fault) => sights.extend(file.unreadable(scan, &sights, *first, &fault)),
            }
        }
        place_all(scan, content, sights);
    }

    fn is_marked(&self, place: usize) -> bool {
        self.places[place].kind == PlaceKind::Marked
    }

    fn marked(&self, finder: &Finder, content: &[u8], looking: &Looking, sights: &mut Vec<Sight>) {
        let window = Window {
            bytes: content,
            base: 0,
        };
        for at in &looking.places {
            if self.is_marked(*at) {
                sights.extend(marked::find(self, finder, *at, &window, 0..content.len()));
            }
        }
    }
}

impl File<'_> {
    /// What the places find that read YAML.
    fn parsed(&self, places: &[usize]) -> Result<Vec<Sight>, yaml::Fault> {
        let fault = |at, why: &str| yaml::Fault {
            at,
            why: why.to_owned(),
        };
        let text = std::str::from_utf8(self.content)
            .map_err(|error| fault(error.valid_up_to(), "it is not UTF-8"))?;
        let mut sights = Vec::new();
        yaml::documents(text, |document| {
            let duplicates = document.has_duplicates();
            for at in places {
                let mut found = self.sights(document, *at);
                if duplicates {
                    document.read_as(yaml::Reader::Last);
                    readers::reconcile(&mut found, self.sights(document, *at));
                    document.read_as(yaml::Reader::First);
                }
                sights.extend(found);
            }
        })?;
        Ok(sights)
    }

    /// What a place finds in a document.
    fn sights(&self, document: &yaml::Document<'_>, place: usize) -> Vec<Sight> {
        let entries = match &self.rules.places[place].kind {
            PlaceKind::Kustomize => kustomize::entries(document, self),
            PlaceKind::Helm { registry } => helm::entries(document, self, registry.as_deref()),
            PlaceKind::Keys(rule) => keys::entries(document, self, rule),
            PlaceKind::Marked => Vec::new(),
        };
        entry::judge(self, document, place, &entries)
    }

    /// The refusal of a file that cannot be read, if it names an image and holds a digest that is
    /// not counted.
    fn unreadable(
        &self,
        scan: &Scan,
        sights: &[Sight],
        place: usize,
        fault: &yaml::Fault,
    ) -> Option<Sight> {
        let mut known: Vec<usize> = sights.iter().map(|sight| sight.at).collect();
        known.extend(scan.pins.iter().map(|pin| pin.offset));
        known.sort_unstable();
        let counted = |at: usize| known.binary_search(&at).is_ok();
        let mut uncounted = None;
        runs_in(self.content, 0..self.content.len(), |run| {
            let prefixed = run.width == Width::One && self.content[..run.offset].ends_with(PREFIX);
            if uncounted.is_none() && prefixed && !counted(run.offset - PREFIX.len()) {
                uncounted = Some(run.offset - PREFIX.len());
            }
        });
        let digest = uncounted?;
        let image = self.rules.named_in(self.content)?;
        let before = &self.content[..fault.at.min(self.content.len())];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let why = format!(
            "the file names the image and holds this digest, but cannot be read as YAML: line {line}: {}",
            fault.why
        );
        Some(Sight {
            place,
            image: Some(image),
            at: digest,
            what: What::Refused(why),
        })
    }

    /// The image whose repository this is.
    fn image(&self, repository: &str) -> Option<usize> {
        (self.image)(Repository::parse(repository).ok()?)
    }

    fn comments(&self, place: usize) -> CommentPolicy {
        self.rules.places[place].comment
    }
}

impl Rules {
    /// The first image whose repository a text names, whatever stands between host and path.
    fn named_in(&self, content: &[u8]) -> Option<usize> {
        let images = self.images.iter();
        let images = images.filter(|(repository, _)| large::names(content, Self::path(repository)));
        images.map(|(_, image)| *image).min()
    }

    /// The path of a repository as it is written.
    fn path(repository: &Repository) -> &str {
        let path = repository.path();
        path.strip_prefix("library/").unwrap_or(path)
    }
}

const PREFIX: &[u8] = b"sha256:";

/// Whether `sha256:` or `sha512:` stands in a text, in any case: few files have it, and only those
/// are parsed.
fn may_hold_digest(content: &[u8]) -> bool {
    [b"256:", b"512:"].iter().any(|digits| {
        memmem::find_iter(content, *digits).any(|at| {
            let before = content[..at].last_chunk::<3>();
            before.is_some_and(|before| before.eq_ignore_ascii_case(b"sha"))
        })
    })
}

/// A sight with its line and column.
struct LocatedSight {
    sight: Sight,
    line: usize,
    column: usize,
    /// What stands where something is refused.
    text: String,
}

/// Adds the sights of a file in memory to its scan.
fn place_all(scan: &mut Scan, content: &[u8], sights: Vec<Sight>) {
    if sights.is_empty() {
        return;
    }
    let window = Window {
        bytes: content,
        base: 0,
    };
    merge(scan, locate(&window, Lines::of(content), sights));
}

/// Adds their lines and columns to sights in a window; `lines` are those from its beginning on.
fn locate(window: &Window<'_>, mut lines: Lines, mut sights: Vec<Sight>) -> Vec<LocatedSight> {
    sights.sort_by_key(|sight| sight.at);
    let locate = |sight: Sight| {
        let at = (sight.at - window.base).min(window.bytes.len());
        let (line, column) = lines.place(window, at);
        let text = match sight.what {
            What::Pin { .. } => String::new(),
            What::Refused(_) => excerpt(&window.bytes[at..]),
        };
        LocatedSight {
            sight,
            line,
            column,
            text,
        }
    };
    sights.into_iter().map(locate).collect()
}

/// Adds sights to a scan in the order of the file. A digest that two places find is neither's.
fn merge(scan: &mut Scan, mut sights: Vec<LocatedSight>) {
    sights.sort_by_key(|sight| sight.sight.at);
    let whole: Vec<usize> = scan.pins.iter().map(|pin| pin.offset).collect();
    let mut sights = sights.into_iter().peekable();
    while let Some(located) = sights.next() {
        let (line, column) = (located.line, located.column);
        let Sight {
            place,
            image,
            at,
            what,
        } = located.sight;
        let refused = |image, why| Refused {
            place,
            image,
            line,
            column,
            text: located.text.clone(),
            why,
        };
        let (digest, tag, split, image) = match (what, image) {
            (What::Refused(why), image) => {
                scan.refused.push(refused(image, why));
                continue;
            }
            (What::Pin { digest, tag, split }, Some(image)) => (digest, tag, split, image),
            (What::Pin { .. }, None) => continue,
        };
        let same = |next: &LocatedSight| {
            next.sight.at == at && matches!(next.sight.what, What::Pin { .. })
        };
        let mut foreign = false;
        while let Some(other) = sights.next_if(same) {
            foreign |= other.sight.place == place && other.sight.image != Some(image);
            if other.sight.place != place {
                scan.twice.push(Twice {
                    line,
                    column,
                    places: [place, other.sight.place],
                });
            }
        }
        if foreign {
            let why = "two comments say of this digest that it is of different images";
            scan.refused.push(refused(Some(image), why.to_owned()));
        }
        // A whole reference that an entry's scalar holds is one already.
        if whole.binary_search(&at).is_err() {
            scan.pins.push(Pin {
                image,
                line,
                column,
                offset: at,
                tag,
                digest,
                split: Some(split),
                comment: None,
            });
        }
    }
    scan.pins.sort_by_key(|pin| pin.offset);
}

/// What stands at the beginning of a text, up to a line end or as much as a table shows.
fn excerpt(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .take(120)
        .take_while(|byte| !b"\r\n".contains(byte));
    let text = String::from_utf8_lossy(&bytes[..end.count()]).into_owned();
    text.trim_end().to_owned()
}

/// Whether two contents differ in nothing but scalars that hold an offset of `moved` in the old one;
/// both are YAML.
pub(super) fn same_events(old: &[u8], new: &[u8], moved: &[usize]) -> bool {
    match (std::str::from_utf8(old), std::str::from_utf8(new)) {
        (Ok(old), Ok(new)) => yaml::same_events(old, new, moved),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
