//! The scanner: looks for `@`, then a bounded way back for the repository and a bounded way on for
//! the digest.
//!
//! Linear in the size of its input, which it sees once, in chunks.

use std::{
    collections::HashMap,
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use super::{
    chunk::{Lines, Overlap, Window, each_window},
    versions::{self, VersionComment, Versions},
};
use crate::{
    config::{Config, Image},
    oci::{Digest, Repository, Tag, TagError},
};

/// Finds the pins of a set of images.
#[derive(Debug, Clone)]
pub struct Finder {
    images: HashMap<Repository, usize>,
    /// What a comment that names a version looks like; `None` where comments are not looked at.
    versions: Option<Arc<Versions>>,
}

/// One pin in one file. Offsets are 0-based bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Which image, by its place in the configuration.
    pub image: usize,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes, of the repository's first byte, or of a split pin's digest.
    pub column: usize,
    /// Offset of the digest's `sha256:`.
    pub offset: usize,
    /// The tag before the digest, or beside a split one.
    pub tag: Option<Tag>,
    /// The digest.
    pub digest: Digest,
    /// Where a split pin stands; `None` for a whole one.
    pub split: Option<Box<Split>>,
    /// The comment behind a whole pin, if it names a version and the finder looks at comments.
    pub comment: Option<Box<VersionComment>>,
}

/// What a split pin has beside its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The place that it was found by, by its number in the configuration.
    pub place: usize,
    /// Where the digest stands in its document (RFC 6901); `None` for a marked line.
    pub pointer: Option<String>,
    /// The number of that document in the file, from 0.
    pub document: Option<usize>,
    /// The tags that move with it.
    pub tags: Vec<TagEdit>,
    /// The word of the comment behind the digest, where it becomes the tag.
    pub comment: Option<Range<usize>>,
    /// Whether a controller that a comment names writes here, too.
    pub managed: bool,
}

/// A tag that is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagEdit {
    /// What stands there.
    pub tag: Tag,
    /// Its bytes.
    pub at: Range<usize>,
    /// Whether it is a plain scalar, which some tags need quotes in.
    pub plain: bool,
    /// The scalar that it stands in, with its quotes.
    pub scalar: Range<usize>,
}

/// An entry of a place that a reader could take otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The place, by its number in the configuration.
    pub place: usize,
    /// Which image, by its place in the configuration; `None` where a comment names none.
    pub image: Option<usize>,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes.
    pub column: usize,
    /// What stands there.
    pub text: String,
    /// Why it is refused.
    pub why: String,
}

/// A digest that two places find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twice {
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes, of the digest.
    pub column: usize,
    /// Both, by their numbers in the configuration.
    pub places: [usize; 2],
}

/// A digest of a configured image that is none: upper case, cut off, too long, or of another
/// algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Which image, by its place in the configuration.
    pub image: usize,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes, of the repository's first byte.
    pub column: usize,
    /// What stands there from the repository on, cut where no digest can reach; bytes that are not
    /// UTF-8 as U+FFFD.
    pub text: String,
}

/// What one file holds, in the order of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Its pins.
    pub pins: Vec<Pin>,
    /// What would be pins if their digests were right.
    pub malformed: Vec<Malformed>,
    /// Entries of places that are refused.
    pub refused: Vec<Refused>,
    /// Digests that two places find.
    pub twice: Vec<Twice>,
}

impl Scan {
    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty()
            && self.malformed.is_empty()
            && self.refused.is_empty()
            && self.twice.is_empty()
    }
}

/// What the scanner has to see around an `@`.
pub(super) const OVERLAP: Overlap = Overlap {
    back: BACK,
    forward: FORWARD,
};
/// The longest text before `@` that can be a reference with a scheme.
pub(super) const LONGEST: usize = "docker://".len() + Repository::MAX + 1 + Tag::MAX;
/// Bytes kept before the place that the search has reached: a reference and the byte before it.
const BACK: usize = LONGEST + 1;
/// Bytes looked at from `@` on: algorithm, colon, 64 digits and what may be a comment behind them.
const FORWARD: usize = MALFORMED + versions::LONGEST;
/// Bytes of a malformed digest that are shown.
const MALFORMED: usize = 1 + ALGORITHM + 1 + 64 + 1;
/// The longest name of a digest algorithm that is recognized as one.
const ALGORITHM: usize = 32;

impl Finder {
    /// For these images; a pin's `image` is the place in this list.
    pub fn new<'i>(images: impl IntoIterator<Item = &'i Image>) -> Self {
        Self::of(images.into_iter().map(|image| &image.repository))
    }

    /// For these repositories; a pin's `image` is the place in this list.
    pub fn of<'r>(repositories: impl IntoIterator<Item = &'r Repository>) -> Self {
        Self {
            images: repositories.into_iter().cloned().zip(0..).collect(),
            versions: None,
        }
    }

    /// Looks at the comments behind whole pins, too, as this configuration says.
    pub(super) fn with_versions(self, config: &Config) -> Self {
        Self {
            versions: Some(Arc::new(Versions::of(config))),
            ..self
        }
    }

    /// Scans a whole file in memory.
    pub fn scan(&self, content: &[u8]) -> Scan {
        let mut scan = Scan::default();
        let window = Window {
            bytes: content,
            base: 0,
        };
        self.window(
            &window,
            0..content.len(),
            &mut Lines::of(content),
            &mut scan,
        );
        scan
    }

    /// Scans a part of a file.
    pub(super) fn window(
        &self,
        window: &Window<'_>,
        range: Range<usize>,
        lines: &mut Lines,
        scan: &mut Scan,
    ) {
        let mut scanner = Scanner {
            lookup: &mut |name, _| self.images.get(&name).copied(),
            versions: self.versions.as_deref(),
            scan,
        };
        scanner.window(window, range, lines);
    }

    /// The image whose whole pin the digest at `digest` belongs to.
    pub(super) fn image_before(&self, bytes: &[u8], digest: usize) -> Option<usize> {
        let at = digest.checked_sub(1).filter(|at| bytes[*at] == b'@')?;
        let reference = Reference::ending_at(bytes, at)?;
        reference.tag.as_ref().ok()?;
        self.images.get(&reference.repository).copied()
    }

    /// Scans a file as it is read; holds a chunk of it at a time, in `buffer`, which can be used
    /// again.
    pub fn scan_reader(&self, reader: impl Read, buffer: &mut Vec<u8>) -> io::Result<Scan> {
        let mut scan = Scan::default();
        each_window(reader, buffer, OVERLAP, |window, range, lines| {
            self.window(window, range, lines, &mut scan);
        })?;
        Ok(scan)
    }
}

/// Which image a name stands for; it is told the byte before the reference, too.
pub(super) type Lookup<'l> = &'l mut dyn FnMut(Repository, Option<u8>) -> Option<usize>;

/// Scans a file as it is read, for the images that `lookup` knows.
pub(super) fn scan_reader(
    reader: impl Read,
    buffer: &mut Vec<u8>,
    lookup: Lookup<'_>,
) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut scanner = Scanner {
        lookup,
        versions: None,
        scan: &mut scan,
    };
    each_window(reader, buffer, OVERLAP, |window, range, lines| {
        scanner.window(window, range, lines);
    })?;
    Ok(scan)
}

/// One pass over one file.
struct Scanner<'l, 's> {
    lookup: Lookup<'l>,
    versions: Option<&'s Versions>,
    scan: &'s mut Scan,
}

impl Scanner<'_, '_> {
    /// Looks at every `@` in `range` of the window.
    fn window(&mut self, window: &Window<'_>, range: Range<usize>, lines: &mut Lines) {
        let start = range.start;
        for at in memchr::memchr_iter(b'@', &window.bytes[range]) {
            if let Some(hit) = self.hit(window.bytes, start + at) {
                let scan = &mut *self.scan;
                let (line, column) = lines.place(window, hit.start);
                match hit.what {
                    What::Pin(tag, digest) => {
                        let digest_at = start + at + 1;
                        let end = digest_at + digest.to_string().len();
                        let comment = self.versions.and_then(|versions| {
                            versions.behind(&window.bytes[end..], window.base + end)
                        });
                        scan.pins.push(Pin {
                            image: hit.image,
                            line,
                            column,
                            offset: window.base + digest_at,
                            tag,
                            digest,
                            split: None,
                            comment: comment.map(Box::new),
                        });
                    }
                    What::Malformed(text) => scan.malformed.push(Malformed {
                        image: hit.image,
                        line,
                        column,
                        text,
                    }),
                }
            }
        }
    }

    /// What the `@` at `at` is part of, if that is a known image.
    fn hit(&mut self, bytes: &[u8], at: usize) -> Option<Hit> {
        let digest = after(&bytes[at + 1..])?;
        let reference = Reference::ending_at(bytes, at)?;
        let image = (self.lookup)(reference.repository, reference.before)?;
        let start = reference.start;
        let what = match (digest, reference.tag) {
            (After::Digest(digest), Ok(tag)) => What::Pin(tag, digest),
            (After::Malformed | After::Digest(_), _) => {
                What::Malformed(excerpt(&bytes[start..bytes.len().min(at + MALFORMED)]))
            }
        };
        Some(Hit { image, start, what })
    }
}

/// A repository and a tag, as they stand before a digest.
pub(super) struct Reference {
    pub(super) repository: Repository,
    /// The tag, if there is one; or that it is malformed.
    pub(super) tag: Result<Option<Tag>, TagError>,
    /// Where the repository begins.
    pub(super) start: usize,
    /// The byte before the reference.
    pub(super) before: Option<u8>,
}

impl Reference {
    /// The reference that ends where `at` is, if there is one.
    pub(super) fn ending_at(bytes: &[u8], at: usize) -> Option<Self> {
        let reference = before(&bytes[..at])?;
        let named = ["docker://", "oci://"]
            .iter()
            .find_map(|scheme| reference.strip_prefix(*scheme))
            .unwrap_or(reference);
        let slash = named.rfind('/').map_or(0, |slash| slash + 1);
        let colon = named[slash..].find(':').map(|colon| slash + colon);
        let (name, tag) = colon.map_or((named, None), |colon| {
            (&named[..colon], Some(&named[colon + 1..]))
        });
        Some(Self {
            repository: Repository::parse(name).ok()?,
            tag: tag.map(Tag::parse).transpose(),
            start: at - named.len(),
            before: (at - reference.len()).checked_sub(1).map(|at| bytes[at]),
        })
    }
}

struct Hit {
    image: usize,
    start: usize,
    what: What,
}

enum What {
    Pin(Option<Tag>, Digest),
    Malformed(String),
}

enum After {
    Digest(Digest),
    Malformed,
}

/// Reads what follows the `@`; `None` for a placeholder or anything else that is not a digest.
fn after(bytes: &[u8]) -> Option<After> {
    let algorithm = |b: &u8| b.is_ascii_alphanumeric() || b"+._-".contains(b);
    let colon = bytes
        .iter()
        .take(ALGORITHM + 1)
        .take_while(|b| algorithm(b))
        .count();
    if !(1..=ALGORITHM).contains(&colon) || bytes.get(colon) != Some(&b':') {
        return None;
    }
    let digits = &bytes[colon + 1..];
    let length = digits
        .iter()
        .take(65)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    let digest = || {
        let text = std::str::from_utf8(digits.get(..64)?).ok()?;
        Digest::from_hex(text)
            .ok()
            .filter(|_| length == 64 && &bytes[..colon] == b"sha256")
    };
    (length > 0).then(|| digest().map_or(After::Malformed, After::Digest))
}

/// The text that ends where `bytes` end, from its boundary on; `None` if it is empty or longer than
/// any reference.
fn before(bytes: &[u8]) -> Option<&str> {
    let part = |b: &u8| b.is_ascii_alphanumeric() || b"._/:@-".contains(b);
    let length = bytes
        .iter()
        .rev()
        .take(BACK)
        .take_while(|b| part(b))
        .count();
    let reference = std::str::from_utf8(&bytes[bytes.len() - length..]).ok()?;
    (1..=LONGEST).contains(&length).then_some(reference)
}

/// The text of a malformed pin: up to a blank or a quote, and never half of a character.
fn excerpt(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .take_while(|b| !b.is_ascii_whitespace() && !b"\"'`".contains(b));
    let bytes = &bytes[..end.count()];
    let half = bytes.utf8_chunks().last().map_or(0, |chunk| {
        let last = std::str::from_utf8(chunk.invalid());
        let cut = last.is_err_and(|error| error.error_len().is_none());
        if cut { chunk.invalid().len() } else { 0 }
    });
    String::from_utf8_lossy(&bytes[..bytes.len() - half]).into_owned()
}

#[cfg(test)]
mod tests;
