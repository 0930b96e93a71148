//! The search for whole pins: at each `@`, the repository before it and the digest after it.
//!
//! The search is linear in the size of the file.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use memchr::memmem;

use super::{
    lines::Lines,
    reference::{Reference, continues, defaults, escaped_at},
    version_comments::{VersionComment, VersionComments},
};
use crate::{
    config::{Config, Image},
    oci::{Digest, Repository, Tag},
};

/// Finds the whole pins of a set of images.
#[derive(Debug, Clone)]
pub(crate) struct Finder {
    images: HashMap<Repository, usize>,
    /// `None`: comments are ignored.
    version_comments: Option<Arc<VersionComments>>,
}

/// One pin in one file. Offsets are 0-based bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// The index of the image in the configuration.
    pub image: usize,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes: the column of the repository, or of the digest of a split pin.
    pub column: usize,
    /// The offset of the digest: of `sha256:`, or of the first digit.
    pub offset: usize,
    /// The tag before the digest, or next to a split one.
    pub tag: Option<Tag>,
    /// The offset of the tag of a whole pin.
    pub tag_at: usize,
    pub digest: Digest,
    /// `None` for a whole pin.
    pub split: Option<Box<Split>>,
    /// The comment after a whole pin that contains a version.
    pub comment: Option<Box<VersionComment>>,
}

/// The parts of a split pin next to its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    /// The number of the place in the configuration.
    pub place: usize,
    pub form: DigestForm,
    /// The location of the digest in its document (RFC 6901); `None` for a marked line.
    pub pointer: Option<String>,
    /// The number of the document in the file, from 0.
    pub document: Option<usize>,
    /// The tags that move with the digest.
    pub tags: Vec<TagEdit>,
    /// The word of the comment after the digest, if it becomes the tag.
    pub comment: Option<Range<usize>>,
    /// Whether a comment shows that a controller also writes this entry.
    pub managed: bool,
}

/// The text of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DigestForm {
    /// `sha256:` and the digits.
    Prefixed,
    /// The digits alone.
    Bare,
}

impl DigestForm {
    /// The number of bytes of a digest.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Prefixed => Digest::TEXT_LENGTH,
            Self::Bare => Digest::TEXT_LENGTH - PREFIX.len(),
        }
    }

    pub(super) fn text(self, digest: &Digest) -> String {
        match self {
            Self::Prefixed => digest.to_string(),
            Self::Bare => digest.hex(),
        }
    }
}

impl Pin {
    pub(super) fn form(&self) -> DigestForm {
        let split = self.split.as_ref();
        split.map_or(DigestForm::Prefixed, |split| split.form)
    }

    /// The bytes of the digest.
    pub(super) fn digest_range(&self) -> Range<usize> {
        self.offset..self.offset + self.form().length()
    }
}

/// A tag that is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagEdit {
    /// The current tag.
    pub tag: Tag,
    /// The bytes of the tag.
    pub at: Range<usize>,
    /// Whether the scalar is plain: some tags need quotes in it.
    pub plain: bool,
    /// The scalar that contains the tag, with its quotes.
    pub scalar: Range<usize>,
}

/// A reference to an image without a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagReference {
    /// The index of the image in the configuration.
    pub image: usize,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes: the column of the repository, or of the tag of an entry.
    pub column: usize,
    /// `None` if a variable is part of it.
    pub tag: Option<Tag>,
}

/// An entry of a place that another reader of the file could understand differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The number of the place in the configuration.
    pub place: usize,
    /// The index of the image in the configuration; `None` if a comment contains no image.
    pub image: Option<usize>,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes.
    pub column: usize,
    /// The text at this position.
    pub text: String,
    pub reason: String,
}

/// A part of a place of the configuration that a file contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Met {
    /// The number of the place in the configuration.
    pub place: usize,
    pub part: PlacePart,
}

/// The parts of a place that select something in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PlacePart {
    /// The entries, or the marks.
    Entry,
    Registry,
    Repository,
    Tag,
    Digest,
}

/// The images of a file that kustomize does not take for a kustomization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WithoutKind {
    /// The number of the place in the configuration.
    pub place: usize,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes.
    pub column: usize,
}

/// A digest that two places find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DoubleMatch {
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes: the column of the digest.
    pub column: usize,
    /// The numbers of the places in the configuration.
    pub places: [usize; 2],
}

/// A malformed digest after a configured repository: upper case, too short, too long, or of another
/// algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The index of the image in the configuration.
    pub image: usize,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes: the column of the repository.
    pub column: usize,
    /// The bytes of the malformed digest.
    pub digest: Range<usize>,
    /// The text from the repository on, up to the length of the longest reference. Invalid UTF-8 is
    /// replaced by U+FFFD.
    pub text: String,
}

/// The pins and problems of one file, in the order of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    pub pins: Vec<Pin>,
    /// Malformed pins.
    pub malformed: Vec<Malformed>,
    /// Entries of places that are refused.
    pub refused: Vec<Refused>,
    pub double_matches: Vec<DoubleMatch>,
    /// The tags of entries of places without a digest.
    pub tags: Vec<TagReference>,
    pub met: BTreeSet<Met>,
    pub without_kind: Vec<WithoutKind>,
    /// Whether a place searched the file for marks.
    pub has_marks: bool,
}

impl Scan {
    /// Whether the file is free of pins and problems.
    pub(crate) fn is_empty(&self) -> bool {
        self.pins.is_empty()
            && self.malformed.is_empty()
            && self.refused.is_empty()
            && self.double_matches.is_empty()
            && self.tags.is_empty()
            && self.met.is_empty()
            && self.without_kind.is_empty()
    }
}

/// The algorithm before the digits.
pub(super) const PREFIX: &[u8] = b"sha256:";
/// The maximum number of bytes of a malformed digest in a message.
const MAX_EXCERPT: usize = MAX_ALGORITHM + 1 + 64 + 1;
/// The maximum length of the name of a digest algorithm.
const MAX_ALGORITHM: usize = 32;

impl Finder {
    /// For these images; a pin's `image` is the index in this list.
    pub(crate) fn for_images<'i>(images: impl IntoIterator<Item = &'i Image>) -> Self {
        Self::for_repositories(images.into_iter().map(|image| &image.repository))
    }

    /// For these repositories; a pin's `image` is the index in this list.
    pub(crate) fn for_repositories<'r>(
        repositories: impl IntoIterator<Item = &'r Repository>,
    ) -> Self {
        Self {
            images: repositories.into_iter().cloned().zip(0..).collect(),
            version_comments: None,
        }
    }

    /// Also finds the comments after whole pins that contain a version.
    pub(super) fn with_version_comments(self, config: &Config) -> Self {
        Self {
            version_comments: Some(Arc::new(VersionComments::new(config))),
            ..self
        }
    }

    /// The whole pins of a file.
    pub(crate) fn scan(&self, content: &[u8]) -> Scan {
        let comments = self.version_comments.as_deref();
        scan_with(content, comments, &mut |repository, _| {
            self.images.get(&repository).copied()
        })
    }

    /// The image of the whole pin with a digest at `offset`.
    pub(super) fn image_before(&self, bytes: &[u8], offset: usize) -> Option<usize> {
        let reference = Reference::before_digest(bytes, offset)?;
        reference.tag.as_ref().ok()?;
        self.images.get(&reference.repository).copied()
    }
}

/// Returns the image of a repository; receives the byte before the reference as well.
pub(super) type Lookup<'l> = &'l mut dyn FnMut(Repository, Option<u8>) -> Option<usize>;

/// The end of an escaped `@` and the start of a digest after it.
const ESCAPED: &[u8] = b"40sha256:";

/// The whole pins of the images that `lookup` knows.
pub(super) fn scan_with(
    content: &[u8],
    comments: Option<&VersionComments>,
    lookup: Lookup<'_>,
) -> Scan {
    let mut scan = Scan::default();
    let mut lines = Lines::new(content);
    let mut add = |at: usize, end: usize| {
        let digest = end + defaults(&content[end..]);
        if let Some(suffix) = parse_suffix(&content[digest..])
            && let Some(reference) = Reference::ending_at(content, at)
            && let Some(image) = lookup(reference.repository.clone(), reference.before)
        {
            let (line, column) = lines.place(content, reference.start);
            let candidate = ReferenceMatch {
                image,
                line,
                column,
                reference,
                digest,
                suffix,
            };
            scan.add(content, candidate, comments);
        }
    };
    // An escaped `@` is rare. The end of the file follows the last `@`, so that no escape is left over.
    let mut escapes = memmem::find_iter(content, ESCAPED).peekable();
    for at in memchr::memchr_iter(b'@', content).chain([content.len()]) {
        while let Some(escape) = escapes.next_if(|escape| *escape < at) {
            if let Some(at) = escaped_at(&content[..escape + 2]) {
                add(at, escape + 2);
            }
        }
        if at < content.len() {
            add(at, at + 1);
        }
    }
    scan
}

/// A reference to an image, and the text after it.
struct ReferenceMatch {
    image: usize,
    line: usize,
    column: usize,
    reference: Reference,
    /// The offset of the digest.
    digest: usize,
    suffix: Suffix,
}

impl Scan {
    /// Adds the pin of an image or a malformed one.
    fn add(
        &mut self,
        content: &[u8],
        candidate: ReferenceMatch,
        comments: Option<&VersionComments>,
    ) {
        let ReferenceMatch {
            image,
            line,
            column,
            reference,
            digest: at,
            suffix,
        } = candidate;
        match (suffix, reference.tag) {
            (Suffix::Digest(digest), Ok(tag)) => {
                let end = at + Digest::TEXT_LENGTH;
                let comment = comments.and_then(|comments| comments.after(content, end));
                self.pins.push(Pin {
                    image,
                    line,
                    column,
                    offset: at,
                    tag,
                    tag_at: reference.tag_at,
                    digest,
                    split: None,
                    comment: comment.map(Box::new),
                });
            }
            (Suffix::Malformed, _) | (Suffix::Digest(_), Err(_)) => {
                let end = content.len().min(at + MAX_EXCERPT);
                let (text, length) = excerpt(&content[reference.start..end]);
                self.malformed.push(Malformed {
                    image,
                    line,
                    column,
                    digest: at..reference.start + length,
                    text,
                });
            }
        }
    }
}

/// The text after an `@`.
enum Suffix {
    Digest(Digest),
    Malformed,
}

/// Parses the text after the `@`; `None` for a placeholder or anything else that is not a digest.
fn parse_suffix(bytes: &[u8]) -> Option<Suffix> {
    let colon = bytes
        .iter()
        .take(MAX_ALGORITHM + 1)
        .take_while(|b| b.is_ascii_alphanumeric() || b"+._-".contains(b))
        .count();
    if !(1..=MAX_ALGORITHM).contains(&colon) || bytes.get(colon) != Some(&b':') {
        return None;
    }
    let digits = &bytes[colon + 1..];
    let length = digits
        .iter()
        .take(65)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    if length == 0 {
        return None;
    }
    if length != 64 || &bytes[..colon] != b"sha256" {
        return Some(Suffix::Malformed);
    }
    if continues(&digits[64..]) {
        return Some(Suffix::Malformed);
    }
    let text = std::str::from_utf8(&digits[..64]).ok();
    let digest = text.and_then(|text| Digest::from_hex(text).ok());
    Some(digest.map_or(Suffix::Malformed, Suffix::Digest))
}

/// The text of a malformed pin, up to a blank or a quote, without a part of a character at its end, and its
/// length in bytes.
fn excerpt(bytes: &[u8]) -> (String, usize) {
    let end = bytes
        .iter()
        .take_while(|b| !b.is_ascii_whitespace() && !b"\"'`".contains(b));
    let bytes = &bytes[..end.count()];
    let last = bytes
        .utf8_chunks()
        .last()
        .map_or(&[][..], |chunk| chunk.invalid());
    let incomplete = match std::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    };
    let text = String::from_utf8_lossy(&bytes[..bytes.len() - incomplete]);
    (text.into_owned(), bytes.len())
}

#[cfg(test)]
mod tests;
