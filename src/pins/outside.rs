//! What names an image in a file beside its counted pins: digests under a mirror's name, in UTF-16,
//! or by themselves; and references by tag alone.
//!
//! Digests are found by their digits, so that nothing about the format of a file matters. Which of
//! them a person has to see depends on the file and on what is pinned: that is for others to say.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    io::{self, Read},
    ops::Range,
};

use super::{
    chunk::{Lines, Overlap, Window, each_window},
    digests::{self, Run, Width, runs_in},
    discover::groups::owner_of,
    scan::{LONGEST, Reference},
};
use crate::{
    config::{Config, Endpoint, Where},
    oci::{Digest, Repository, Tag},
};

/// Finds what names the images of a configuration.
#[derive(Debug)]
pub struct Lookout {
    names: HashMap<Repository, Name>,
    owners: HashSet<String>,
}

/// What a repository is to the configuration.
#[derive(Debug, Clone, Copy)]
enum Name {
    /// It is an image's.
    Image(usize),
    /// `sources` maps an image's to it.
    Mirror(usize),
}

/// A digest in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes, of the repository's first byte, or of the digest's where none stands before
    /// it.
    pub column: usize,
    /// The same of the digest: of `sha256:`, or of the first digit.
    pub digest_column: usize,
    /// Offset of that in the file.
    pub offset: usize,
    /// What the digits say.
    pub digest: Digest,
    /// What stands before it.
    pub sight: Sight,
}

/// What a digest stands behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// The repository of an image: in a file that is scanned, a pin.
    Image(usize),
    /// The repository of an image, in characters of two bytes, which are never scanned.
    Wide(usize),
    /// A name that `sources` maps an image's repository to.
    Mirror(usize, Repository),
    /// Another repository of an image's owner.
    SameOwner(Repository),
    /// None of these.
    Nothing,
}

/// A reference to an image by tag alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpinned {
    /// Which image, by its place in the configuration.
    pub image: usize,
    /// 1-based.
    pub line: usize,
    /// 1-based, in bytes, of the repository's first byte.
    pub column: usize,
    /// The tag.
    pub tag: Tag,
}

const PREFIX: &str = "sha256:";
/// The longest text before a digest's digits that can be a reference with a scheme, with the byte
/// before it.
const CONTEXT: usize = LONGEST + 1 + PREFIX.len() + 1;
/// A digest's digits and the byte behind them.
const DIGITS: usize = 64 + 1;
/// What the searches must see from the first digit, or from the colon before a tag.
pub(super) const OVERLAP: Overlap = Overlap {
    back: 2 * CONTEXT,
    forward: if digests::FORWARD > 2 * TAG_CONTEXT {
        digests::FORWARD
    } else {
        2 * TAG_CONTEXT
    },
};
/// The longest tag, with its colon and the byte behind it.
const TAG_CONTEXT: usize = 1 + Tag::MAX + 1;

impl Lookout {
    /// For the images of a configuration.
    pub fn new(config: &Config) -> Self {
        let mut names = HashMap::new();
        for (at, image) in config.images.iter().enumerate() {
            for mapping in &config.sources {
                if let (Where::Registry(endpoint), Some(rest)) =
                    (&mapping.place, mapping.prefix.rest_of(&image.repository))
                    && let Ok(mirror) = Repository::parse(&mirror_of(endpoint, &rest))
                {
                    names.entry(mirror).or_insert(Name::Mirror(at));
                }
            }
        }
        // A name that is also configured is that image's own.
        for (at, image) in config.images.iter().enumerate() {
            names.insert(image.repository.clone(), Name::Image(at));
        }
        let repositories = config.images.iter().map(|image| &image.repository);
        let owners = repositories.filter_map(shared_owner).collect();
        Self { names, owners }
    }

    /// Passes on each digest in a file as it is read, and keeps those that `keep` wants, with their
    /// places.
    pub fn look_through(
        &self,
        reader: impl Read,
        buffer: &mut Vec<u8>,
        mut keep: impl FnMut(&Sight, &Digest) -> bool,
    ) -> io::Result<Vec<Sighting>> {
        let mut kept = Vec::new();
        each_window(reader, buffer, OVERLAP, |window, range, lines| {
            self.look(window, range, lines, &mut keep, &mut kept);
        })?;
        Ok(kept)
    }

    /// The same for a part of a file.
    pub(super) fn look(
        &self,
        window: &Window<'_>,
        range: Range<usize>,
        lines: &mut Lines,
        keep: &mut impl FnMut(&Sight, &Digest) -> bool,
        kept: &mut Vec<Sighting>,
    ) {
        runs_in(window.bytes, range, |run| {
            kept.extend(self.sighting(window, &run, lines, keep));
        });
    }

    fn sighting(
        &self,
        window: &Window<'_>,
        run: &Run,
        lines: &mut Lines,
        keep: &mut impl FnMut(&Sight, &Digest) -> bool,
    ) -> Option<Sighting> {
        let (text, digits) = around(window.bytes, run.offset, DIGITS, run.width);
        let prefixed = text[..digits].ends_with(PREFIX.as_bytes());
        let digest = digits - if prefixed { PREFIX.len() } else { 0 };
        let (sight, start) = match self.named(&text, digest, run.width) {
            Some((sight, start)) => (sight, start),
            None => (Sight::Nothing, digest),
        };
        if !keep(&sight, &run.digest) {
            return None;
        }
        let at = run.offset - (digits - start) * run.width.bytes();
        let (line, column) = place(window, at, run.width, lines);
        Some(Sighting {
            line,
            column,
            digest_column: column + (digest - start) * run.width.bytes(),
            offset: window.base + run.offset - (digits - digest) * run.width.bytes(),
            digest: run.digest,
            sight,
        })
    }

    /// What the digest at `digest` stands behind, and where that begins; `None` if that is nothing
    /// to the configuration.
    fn named(&self, text: &[u8], digest: usize, width: Width) -> Option<(Sight, usize)> {
        let digits = digest + PREFIX.len();
        let at = digest.checked_sub(1).filter(|at| text[*at] == b'@')?;
        let ends = |byte: &u8| !byte.is_ascii_alphanumeric();
        if !text[digest..].starts_with(PREFIX.as_bytes()) || !text.get(digits + 64).is_none_or(ends)
        {
            return None;
        }
        let reference = Reference::ending_at(text, at)?;
        // Behind a malformed tag stands no reference, and the scanner counts none.
        if reference.tag.is_err() {
            return None;
        }
        let repository = reference.repository;
        let sight = match (self.names.get(&repository), width) {
            (Some(Name::Image(image)), Width::One) => Sight::Image(*image),
            (Some(Name::Image(image)), Width::Two) => Sight::Wide(*image),
            (Some(Name::Mirror(image)), _) => Sight::Mirror(*image, repository),
            (None, _) => {
                // The rest of `$REGISTRY/app` or `{{ host }}app` is no name, and zeros are an
                // example.
                let is_name = !matches!(reference.before, Some(b'$' | b'}'))
                    && !text[digits..].starts_with(&[b'0'; 64]);
                if !(is_name && self.is_same_owner(&repository)) {
                    return None;
                }
                Sight::SameOwner(repository)
            }
        };
        Some((sight, reference.start))
    }

    fn is_same_owner(&self, repository: &Repository) -> bool {
        shared_owner(repository).is_some_and(|owner| self.owners.contains(&owner))
    }

    /// Every reference to an image by tag alone in a file.
    pub fn unpinned_in(
        &self,
        reader: impl Read,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Vec<Unpinned>> {
        let mut found = Vec::new();
        each_window(reader, buffer, OVERLAP, |window, range, lines| {
            self.unpinned(window, range, lines, &mut found);
        })?;
        Ok(found)
    }

    /// Every reference to an image by tag alone in a part of a file.
    pub(super) fn unpinned(
        &self,
        window: &Window<'_>,
        range: Range<usize>,
        lines: &mut Lines,
        found: &mut Vec<Unpinned>,
    ) {
        let begin = range.start;
        for at in memchr::memchr_iter(b':', &window.bytes[range]) {
            found.extend(self.by_tag(window, begin + at, lines));
        }
    }

    /// The reference whose tag follows the colon at `colon`, if no digest follows the tag.
    fn by_tag(&self, window: &Window<'_>, colon: usize, lines: &mut Lines) -> Option<Unpinned> {
        let bytes = window.bytes;
        // The bytes beside an ASCII character of UTF-16 are zero in either byte order.
        let zero = |at: Option<usize>| at.is_some_and(|at| bytes.get(at) == Some(&0));
        let width = if zero(colon.checked_sub(1)) && zero(colon.checked_add(1)) {
            Width::Two
        } else {
            Width::One
        };
        let (text, at) = around(bytes, colon, TAG_CONTEXT, width);
        let (image, start, tag) = self.tagged(&text, at)?;
        let begin = colon - (at - start) * width.bytes();
        let (line, column) = place(window, begin, width, lines);
        Some(Unpinned {
            image,
            line,
            column,
            tag,
        })
    }

    /// The image whose tag follows the colon at `colon` in `text`, where the reference begins, and
    /// the tag.
    fn tagged(&self, text: &[u8], colon: usize) -> Option<(usize, usize, Tag)> {
        let rest = &text[colon + 1..];
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let length = rest
            .iter()
            .take(Tag::MAX + 1)
            .take_while(|b| part(b))
            .count();
        // A slash: the colon stands before a port; `@`: a digest or a placeholder for one follows.
        if length == 0 || matches!(rest.get(length), Some(b'/' | b':' | b'@' | b'$' | b'{')) {
            return None;
        }
        let before = text[..colon].last()?;
        if !before.is_ascii_alphanumeric() {
            return None;
        }
        let reference = Reference::ending_at(text, colon)?;
        let Some(Name::Image(image)) = self.names.get(&reference.repository) else {
            return None;
        };
        if !matches!(reference.tag, Ok(None)) || matches!(reference.before, Some(b'$' | b'}')) {
            return None;
        }
        // A full stop ends a sentence.
        let tag = std::str::from_utf8(&rest[..length]).ok()?;
        let tag = Tag::parse(tag.trim_end_matches('.')).ok()?;
        Some((*image, reference.start, tag))
    }
}

/// The line and column of the character at `at`.
fn place(window: &Window<'_>, at: usize, width: Width, lines: &mut Lines) -> (usize, usize) {
    match width {
        Width::One => lines.place(window, at),
        // In UTF-16 with the high byte first, that is the character's first.
        Width::Two => lines.place_wide(window, at - (window.base + at) % 2),
    }
}

/// The name under which a mirror has what follows the mapped prefix.
fn mirror_of(endpoint: &Endpoint, rest: &str) -> String {
    let parts = [endpoint.host.as_str(), &endpoint.path, rest];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

/// The owner of a repository; Docker Hub's official images have none.
fn shared_owner(repository: &Repository) -> Option<String> {
    let official = repository.host() == "docker.io" && repository.path().starts_with("library/");
    (!official).then(|| owner_of(repository))
}

/// The text around the character at `at` in single bytes, and where that character is in it: up to
/// `forward` characters from it on, and what a reference may take before it.
fn around(bytes: &[u8], at: usize, forward: usize, width: Width) -> (Cow<'_, [u8]>, usize) {
    let end = bytes.len().min(at + width.bytes() * forward);
    if width == Width::One {
        let begin = at.saturating_sub(CONTEXT);
        return (Cow::Borrowed(&bytes[begin..end]), at - begin);
    }
    let mut text = Vec::new();
    let mut before = at;
    while text.len() < CONTEXT && before >= 2 && bytes[before - 1] == 0 {
        before -= 2;
        text.push(bytes[before]);
    }
    text.reverse();
    let begin = text.len();
    text.extend(bytes[at..end].iter().step_by(2));
    (Cow::Owned(text), begin)
}

#[cfg(test)]
mod tests;
