//! Digests anywhere in a file, with the reference before each, and references without a digest.
//!
//! Digests are found by their digits in any format and encoding. Whether an occurrence must be
//! reported depends on the file and on the pinned digests, so the callers decide.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    io::{self, Read},
};

use super::{
    digests::{self, Run, Width, runs_in},
    discover::groups::owner_of,
    embedded::EmbeddedNames,
    lines::{Lines, each_block},
    places::marked_image,
    reference::{BEFORE_DIGEST, Reference, continues},
    scan::{PREFIX, Scan, TagReference},
};
use crate::{
    config::Config,
    oci::{
        Digest, Repository, Tag,
        registry::{Mapping, SourceLocation},
    },
};

/// Finds digests and references to the images of a configuration.
#[derive(Debug)]
pub(crate) struct OccurrenceFinder {
    names: HashMap<Repository, Name>,
    /// The images by name.
    images: HashMap<String, usize>,
    embedded: EmbeddedNames,
    owners: HashSet<String>,
}

/// The meaning of a repository in the configuration.
#[derive(Debug, Clone, Copy)]
enum Name {
    /// The repository of an image.
    Image(usize),
    /// The repository that `sources` maps the repository of an image to.
    Mirror(usize),
}

/// A digest in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Occurrence {
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes: the column of the repository, or of the digest if no known repository
    /// precedes it.
    pub column: usize,
    /// The column of the digest: of `sha256:`, or of the first digit.
    pub digest_column: usize,
    /// The offset of the digest in the file.
    pub offset: usize,
    pub digest: Digest,
    /// The name before the digest.
    pub kind: OccurrenceKind,
}

/// The name before a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OccurrenceKind {
    /// The repository of an image: a pin, if the file is one of `files:`.
    Image(usize),
    /// The repository of an image, in text that may change the reference.
    Embedded(usize),
    /// The repository of an image in UTF-16, which is never a pin.
    Utf16Image(usize),
    /// The name that `sources` maps the repository of an image to.
    Mirror(usize, Repository),
    /// A mark assigns the digest to an image, but no place searches the file for marks.
    Marked(usize),
    /// An entry with the image, and the number of the standard place that would find it.
    Entry(usize, usize),
    /// Another repository of the owner of an image.
    SameOwner(Repository),
    /// No known name.
    Bare,
}

/// The maximum length of the text before the digits of a digest.
const CONTEXT: usize = BEFORE_DIGEST + PREFIX.len();
/// The digits of a digest and the bytes after them.
const DIGITS: usize = 64 + 2;
/// The number of bytes around a digit that decide about its digest, in UTF-16.
const OVERLAP: usize = if digests::OVERLAP > 2 * CONTEXT {
    digests::OVERLAP
} else {
    2 * CONTEXT
};
/// The maximum length of a tag, with its colon and the byte after it.
const TAG_CONTEXT: usize = 1 + Tag::MAX + 1;

/// The digests in a file of any size.
#[derive(Debug)]
pub(crate) struct FileDigests {
    pub occurrences: Vec<Occurrence>,
    /// Whether the buffer of the search contains the whole file.
    pub is_buffered: bool,
}

impl OccurrenceFinder {
    /// For the images of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let mut names = HashMap::new();
        for (at, image) in config.images.iter().enumerate() {
            for mirror in mirrors(&config.sources, &image.repository) {
                names.entry(mirror).or_insert(Name::Mirror(at));
            }
        }
        // A repository that is both a mirror and an image is the image.
        for (at, image) in config.images.iter().enumerate() {
            names.insert(image.repository.clone(), Name::Image(at));
        }
        let repositories = config.images.iter().map(|image| &image.repository);
        let images = config.images.iter().map(|image| image.name.clone());
        Self {
            names,
            images: images.zip(0..).collect(),
            embedded: EmbeddedNames::new(repositories.clone()),
            owners: repositories.filter_map(shared_owner).collect(),
        }
    }

    /// The digests in a file that are neither pins nor malformed.
    pub(super) fn other_digests(&self, content: &[u8], scan: &Scan) -> Vec<Occurrence> {
        let Scan {
            pins, malformed, ..
        } = scan;
        let mut lines = Lines::new(content);
        let mut found = Vec::new();
        runs_in(content, 0..content.len(), |run| {
            let prefixed = run.offset.checked_sub(PREFIX.len());
            let mut offsets = prefixed.into_iter().chain([run.offset]);
            let is_pin =
                offsets.any(|offset| pins.binary_search_by_key(&offset, |pin| pin.offset).is_ok());
            let next = malformed.partition_point(|one| one.digest.end <= run.offset);
            let is_malformed = malformed
                .get(next)
                .is_some_and(|one| one.digest.contains(&run.offset));
            if !is_pin && !is_malformed {
                // A refused mark of a place is reported as such.
                let marks = !scan.has_marks;
                found.extend(self.occurrence(content, &run, &mut lines, marks, &|_, _| true));
            }
        });
        found
    }

    /// The digests in a file of any size that `keep` selects.
    pub(crate) fn digests(
        &self,
        reader: impl Read,
        buffer: &mut Vec<u8>,
        keep: impl Fn(&OccurrenceKind, &Digest) -> bool,
    ) -> io::Result<FileDigests> {
        let mut occurrences = Vec::new();
        let is_buffered = each_block(reader, buffer, OVERLAP, |bytes, range, lines| {
            runs_in(bytes, range, |run| {
                occurrences.extend(self.occurrence(bytes, &run, lines, true, &keep));
            });
        })?;
        Ok(FileDigests {
            occurrences,
            is_buffered,
        })
    }

    /// The occurrence of a digest; `marks`: whether a mark may assign it to an image.
    fn occurrence(
        &self,
        bytes: &[u8],
        run: &Run,
        lines: &mut Lines,
        marks: bool,
        keep: &impl Fn(&OccurrenceKind, &Digest) -> bool,
    ) -> Option<Occurrence> {
        let (text, digits) = around(bytes, run.offset, DIGITS, run.width);
        let prefixed = text[..digits].ends_with(PREFIX);
        let digest = digits - if prefixed { PREFIX.len() } else { 0 };
        let named = self.named(&text, digest, run.width);
        let (mut kind, start) = named.unwrap_or((OccurrenceKind::Bare, digest));
        if matches!(kind, OccurrenceKind::SameOwner(_) | OccurrenceKind::Bare)
            && marks
            && let Some(image) = marked_image(&self.images, bytes, run.offset)
        {
            kind = OccurrenceKind::Marked(image);
        }
        if !keep(&kind, &run.digest) {
            return None;
        }
        let start_at = run.offset - (digits - start) * run.width.bytes();
        let digest_at = run.offset - (digits - digest) * run.width.bytes();
        let (line, column) = place(bytes, start_at, run.width, lines);
        Some(Occurrence {
            line,
            column,
            digest_column: column + digest_at - start_at,
            offset: lines.offset(digest_at),
            digest: run.digest,
            kind,
        })
    }

    /// The known name before the digest at `digest`, and its offset.
    fn named(&self, text: &[u8], digest: usize, width: Width) -> Option<(OccurrenceKind, usize)> {
        let reference = reference(text, digest);
        let name = reference
            .as_ref()
            .and_then(|one| self.names.get(&one.repository));
        if let (Some(name), Some(reference)) = (name, &reference) {
            let kind = match (name, width) {
                (Name::Image(image), Width::One) => OccurrenceKind::Image(*image),
                (Name::Image(image), Width::Two) => OccurrenceKind::Utf16Image(*image),
                (Name::Mirror(image), _) => {
                    OccurrenceKind::Mirror(*image, reference.repository.clone())
                }
            };
            return Some((kind, reference.start));
        }
        if let Some(image) = self.embedded.image_before(&text[..digest]) {
            let start = reference.map_or(digest, |reference| reference.start);
            return Some((OccurrenceKind::Embedded(image), start));
        }
        let reference = reference?;
        // The text after the variable in `$REGISTRY/app` or `{{ host }}app` is not a name, and a digest of
        // zeros is an example.
        let is_name = !matches!(reference.before, Some(b'$' | b'}'))
            && !text[digest + PREFIX.len()..].starts_with(&[b'0'; 64]);
        if !(is_name && self.is_same_owner(&reference.repository)) {
            return None;
        }
        let kind = OccurrenceKind::SameOwner(reference.repository);
        Some((kind, reference.start))
    }

    fn is_same_owner(&self, repository: &Repository) -> bool {
        shared_owner(repository).is_some_and(|owner| self.owners.contains(&owner))
    }

    /// The references to images without a digest.
    pub(super) fn tag_references(&self, content: &[u8]) -> Vec<TagReference> {
        let mut lines = Lines::new(content);
        memchr::memchr_iter(b':', content)
            .filter_map(|colon| self.tag_reference(content, colon, &mut lines))
            .collect()
    }

    /// The reference with a tag after the colon at `colon`, unless a digest follows the tag.
    fn tag_reference(&self, bytes: &[u8], colon: usize, lines: &mut Lines) -> Option<TagReference> {
        let width = width_at(bytes, colon);
        let (text, at) = around(bytes, colon, TAG_CONTEXT, width);
        let (image, start, tag) = self.tagged(&text, at)?;
        let begin = colon - (at - start) * width.bytes();
        let (line, column) = place(bytes, begin, width, lines);
        Some(TagReference {
            image,
            line,
            column,
            tag: Some(tag),
        })
    }

    /// The image of the tag after the colon at `colon`, the offset of the reference, and the tag.
    fn tagged(&self, text: &[u8], colon: usize) -> Option<(usize, usize, Tag)> {
        // Most colons in a file of pins precede a digest, not a tag.
        if text[..colon].ends_with(b"@sha256") {
            return None;
        }
        let (tag, rest) = tag_after(text, colon)?;
        // Before a slash there is a port; after `@` there is a digest or a placeholder for one.
        if matches!(rest.first(), Some(b'/' | b':' | b'@' | b'$' | b'{')) {
            return None;
        }
        let reference = Reference::ending_at(text, colon)?;
        let Some(Name::Image(image)) = self.names.get(&reference.repository) else {
            return None;
        };
        // Before the name of a host in a URL, there is another scheme.
        if !matches!(reference.tag, Ok(None))
            || matches!(reference.before, Some(b'$' | b'}'))
            || !reference.is_led_by_image_scheme(text)
        {
            return None;
        }
        // The period of a sentence.
        let tag = Tag::parse(tag.trim_end_matches('.')).ok()?;
        Some((*image, reference.start, tag))
    }
}

/// The reference before a well-formed digest at `digest`.
fn reference(text: &[u8], digest: usize) -> Option<Reference> {
    let end = digest + PREFIX.len() + 64;
    let after = text.get(end..).unwrap_or_default();
    if !text[digest..].starts_with(PREFIX)
        || after.first().is_some_and(u8::is_ascii_alphanumeric)
        || continues(after)
    {
        return None;
    }
    // A reference with a malformed tag is not a pin either.
    Reference::before_digest(text, digest).filter(|reference| reference.tag.is_ok())
}

/// The width of the ASCII character at `at`: the byte after it is zero in UTF-16 of either byte order, if
/// another ASCII character follows.
fn width_at(bytes: &[u8], at: usize) -> Width {
    if bytes.get(at + 1) == Some(&0) {
        Width::Two
    } else {
        Width::One
    }
}

/// The characters of a tag after the colon at `colon`, and the text after them.
fn tag_after(text: &[u8], colon: usize) -> Option<(&str, &[u8])> {
    let rest = &text[colon + 1..];
    let length = rest
        .iter()
        .take(Tag::MAX + 1)
        .take_while(|byte| Tag::has_character(**byte))
        .count();
    if length == 0 {
        return None;
    }
    let (tag, rest) = rest.split_at(length);
    Some((std::str::from_utf8(tag).ok()?, rest))
}

/// The line and column of the character at `at`.
fn place(bytes: &[u8], at: usize, width: Width, lines: &mut Lines) -> (usize, usize) {
    match width {
        Width::One => lines.place(bytes, at),
        // In UTF-16 with the high byte first, `at` is the second byte of the character.
        Width::Two => lines.place_utf16(bytes, at - lines.offset(at) % 2),
    }
}

/// The repositories in registries that `mappings` map a repository to.
pub(super) fn mirrors(mappings: &[Mapping], repository: &Repository) -> Vec<Repository> {
    let mut mirrors = Vec::new();
    for mapping in mappings {
        if let SourceLocation::Registry(endpoint) = &mapping.location
            && let Some(rest) = mapping.prefix.rest_of(repository)
        {
            let mut parts = vec![endpoint.host.as_str(), &endpoint.path, &*rest];
            parts.retain(|part| !part.is_empty());
            mirrors.extend(Repository::parse(&parts.join("/")));
        }
    }
    mirrors
}

/// The owner of a repository; Docker Hub's official images have none.
fn shared_owner(repository: &Repository) -> Option<String> {
    let is_official = repository.official_name().is_some();
    (!is_official).then(|| owner_of(repository))
}

/// The text around the character at `at` as single bytes, and the offset of the character in this
/// text. It has `forward` characters from `at` on, and enough before it for a reference.
fn around(bytes: &[u8], at: usize, forward: usize, width: Width) -> (Cow<'_, [u8]>, usize) {
    let end = bytes.len().min(at + width.bytes() * forward);
    if width == Width::One {
        let begin = at.saturating_sub(CONTEXT);
        return (Cow::Borrowed(&bytes[begin..end]), at - begin);
    }
    let units = bytes[..at].rchunks_exact(2).take(CONTEXT);
    let units = units.take_while(|unit| unit[1] == 0);
    let mut text: Vec<u8> = units.map(|unit| unit[0]).collect();
    text.reverse();
    let begin = text.len();
    text.extend(bytes[at..end].iter().step_by(2));
    (Cow::Owned(text), begin)
}

#[cfg(test)]
mod tests;
