//! Lines of any text with a comment that says whose their digest is.

use std::ops::Range;

use memchr::memmem;

use super::{PREFIX, Rules, Sight, What};
use crate::{
    oci::{Digest, Tag},
    pins::{
        chunk::{Overlap, Window},
        digests::runs_in,
        scan::{Finder, Split, TagEdit},
    },
};

const MARKER: &[u8] = b"repin:";
/// What a comment that ends with its line begins with.
const INTRODUCERS: [&[u8]; 5] = [b"#", b"//", b"--", b";", b"/*"];

/// Bytes before a comment, and of the line below it, in which the digest may stand.
const LINE: usize = 8 * 1024;
/// What the search has to see around a comment.
pub(super) const OVERLAP: Overlap = Overlap {
    back: 2 * LINE,
    forward: 2 * LINE + 2,
};

/// A comment that marks a line.
struct Marker<'c> {
    /// Offset of `repin:`.
    at: usize,
    name: &'c str,
    /// The line that it marks; `None` if it is longer than a line may be.
    line: Option<Range<usize>>,
}

/// The pins and refusals of a place of the kind `marked`, by the comments in a part of a file.
pub(super) fn find(
    rules: &Rules,
    finder: &Finder,
    place: usize,
    window: &Window<'_>,
    range: Range<usize>,
) -> Vec<Sight> {
    let content = window.bytes;
    // A comment that begins in the range may end behind it.
    let end = content.len().min(range.end + MARKER.len() - 1);
    let found = memmem::find_iter(&content[range.start..end], MARKER);
    let markers = found.filter_map(|at| marker(content, range.start + at));
    let mut sights: Vec<_> = markers
        .filter_map(|marker| sight(rules, finder, place, content, &marker))
        .collect();
    for sight in &mut sights {
        sight.shift(window.base);
    }
    sights
}

impl Sight {
    /// Turns offsets in a window into those in its file.
    fn shift(&mut self, base: usize) {
        self.at += base;
        if let What::Pin { split, .. } = &mut self.what {
            for edit in &mut split.tags {
                for range in [&mut edit.at, &mut edit.scalar] {
                    *range = range.start + base..range.end + base;
                }
            }
        }
    }
}

/// The marker at `at`, if a comment at the end of its line holds nothing else.
fn marker(content: &[u8], at: usize) -> Option<Marker<'_>> {
    let near = at.saturating_sub(LINE);
    let start = memchr::memrchr(b'\n', &content[near..at]).map(|newline| near + newline + 1);
    let start = start.or((near == 0).then_some(0));
    let before = content[start.unwrap_or(near)..at].trim_ascii_end();
    let introducer = INTRODUCERS
        .iter()
        .find(|introducer| before.ends_with(introducer))?;
    let end = line_end(content, at)?;
    let mut text = content[at + MARKER.len()..end].trim_ascii();
    if *introducer == b"/*" {
        text = text.strip_suffix(b"*/")?.trim_ascii_end();
    }
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    if text.is_empty() || !text.iter().all(part) {
        return None;
    }
    let alone = before[..before.len() - introducer.len()]
        .trim_ascii()
        .is_empty();
    let line = if alone && start.is_some() {
        let next = (end + 1).min(content.len());
        line_end(content, next).map(|end| next..end)
    } else {
        start.map(|start| start..end)
    };
    Some(Marker {
        at,
        name: std::str::from_utf8(text).ok()?,
        line,
    })
}

/// Where the line break behind `at` is, or the end of the text; `None` if that is too far.
fn line_end(content: &[u8], at: usize) -> Option<usize> {
    let far = content.len().min(at + LINE);
    let newline = memchr::memchr(b'\n', &content[at..far]);
    let end = newline.map(|newline| at + newline);
    end.or((far == content.len()).then_some(far))
}

fn sight(
    rules: &Rules,
    finder: &Finder,
    place: usize,
    content: &[u8],
    marker: &Marker<'_>,
) -> Option<Sight> {
    let image = rules.names.get(marker.name).copied();
    let refused = |at: usize, why: String| {
        Some(Sight {
            place,
            image,
            at,
            what: What::Refused(why),
        })
    };
    let Some(image) = image else {
        return refused(
            marker.at,
            format!(
                "the comment names `{}`, which is not a configured image",
                marker.name
            ),
        );
    };
    let Some(line) = &marker.line else {
        let why = format!("the line that this comment marks is longer than {LINE} bytes");
        return refused(marker.at, why);
    };
    let digests = digests_in(content, line);
    let (at, digest) = match digests.as_slice() {
        [one] => *one,
        [] => {
            let why = "the line that this comment marks holds no digest (sha256:<64 lowercase hex digits>)";
            return refused(marker.at, why.to_owned());
        }
        [_, (second, _), ..] => {
            let why = "the line holds more than one digest, and the comment names one image";
            return refused(*second, why.to_owned());
        }
    };
    if let Some(whole) = finder.image_before(content, at) {
        if whole == image {
            return None;
        }
        let why = format!(
            "the comment names `{}`, but the digest stands behind the repository of another image, which an engine would pull",
            marker.name
        );
        return refused(at, why);
    }
    let tag = tag_before(rules, content, at);
    Some(Sight {
        place,
        image: Some(image),
        at,
        what: What::Pin {
            digest,
            tag: tag.as_ref().map(|edit| edit.tag.clone()),
            split: Box::new(Split {
                place,
                pointer: None,
                document: None,
                tags: tag.into_iter().collect(),
                comment: None,
                managed: false,
            }),
        },
    })
}

/// Every `sha256:` with 64 digits in a line.
fn digests_in(content: &[u8], line: &Range<usize>) -> Vec<(usize, Digest)> {
    let line_bytes = &content[line.clone()];
    let mut found = Vec::new();
    runs_in(line_bytes, 0..line_bytes.len(), |run| {
        let before = &line_bytes[..run.offset];
        // Digits of two bytes go on there.
        let after = line_bytes.get(run.offset + 64);
        let ends = after.is_none_or(|byte| !byte.is_ascii_alphanumeric());
        if before.ends_with(PREFIX) && ends {
            let at = line.start + run.offset - PREFIX.len();
            let begins = at
                .checked_sub(1)
                .is_none_or(|before| !content[before].is_ascii_alphanumeric());
            if begins {
                found.push((at, run.digest));
            }
        }
    });
    found
}

/// The tag that stands before the `@` of a digest, if a revision has such a tag.
fn tag_before(rules: &Rules, content: &[u8], digest: usize) -> Option<TagEdit> {
    let end = digest.checked_sub(1).filter(|at| content[*at] == b'@')?;
    let part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let length = content[..end]
        .iter()
        .rev()
        .take(Tag::MAX + 1)
        .take_while(part)
        .count();
    let at = end - length..end;
    let text = std::str::from_utf8(&content[at.clone()]).ok()?;
    let tag = Tag::parse(text).ok()?;
    rules.revisions.as_ref()?.of_tag(text)?;
    Some(TagEdit {
        tag,
        scalar: at.clone(),
        at,
        plain: false,
    })
}
