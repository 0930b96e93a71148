//! Lines of any text with a comment that assigns their digest to an image.

use std::ops::Range;

use memchr::memmem;

use super::{Finding, PREFIX, Rules};
use crate::{
    oci::{Digest, Tag},
    pins::{
        digests::runs_in,
        scan::{Finder, TagEdit},
    },
};

const MARKER: &[u8] = b"repin:";
/// The starts of comments.
const INTRODUCERS: [&[u8]; 5] = [b"#", b"//", b"--", b";", b"/*"];

/// The maximum length of a marked line, in bytes.
const LINE: usize = 8 * 1024;

/// A comment that marks a line.
struct Marker<'c> {
    /// The offset of `repin:`.
    at: usize,
    name: &'c str,
    /// The marked line; `None` if it is too long.
    line: Option<Range<usize>>,
}

/// The pins and refusals of a place of the kind `marked`.
pub(super) fn find(rules: &Rules, finder: &Finder, place: usize, content: &[u8]) -> Vec<Finding> {
    memmem::find_iter(content, MARKER)
        .filter_map(|at| marker(content, at))
        .filter_map(|marker| finding(rules, finder, place, content, &marker))
        .collect()
}

/// The marker at `at`, if it is the only text of a comment at the end of a line.
fn marker(content: &[u8], at: usize) -> Option<Marker<'_>> {
    let near = at.saturating_sub(LINE);
    let start = memchr::memrchr(b'\n', &content[near..at])
        .map(|newline| near + newline + 1)
        .or((near == 0).then_some(0));
    let before = content[start.unwrap_or(near)..at].trim_ascii_end();
    let introducer = INTRODUCERS
        .iter()
        .find(|introducer| before.ends_with(introducer))?;
    let end = line_end(content, at)?;
    let mut text = content[at + MARKER.len()..end].trim_ascii();
    if *introducer == b"/*" {
        text = text.strip_suffix(b"*/")?.trim_ascii_end();
    }
    if text.is_empty()
        || !text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
    {
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

/// The offset of the next line break or the end of the text; `None` if the line is too long.
fn line_end(content: &[u8], at: usize) -> Option<usize> {
    let far = content.len().min(at + LINE);
    let newline = memchr::memchr(b'\n', &content[at..far]);
    let end = newline.map(|newline| at + newline);
    end.or((far == content.len()).then_some(far))
}

fn finding(
    rules: &Rules,
    finder: &Finder,
    place: usize,
    content: &[u8],
    marker: &Marker<'_>,
) -> Option<Finding> {
    let image = rules.names.get(marker.name).copied();
    let refused = |at, reason: String| Some(Finding::refused(place, image, at, reason));
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
        let reason = format!("the line that this comment marks is longer than {LINE} bytes");
        return refused(marker.at, reason);
    };
    let digests = digests_in(content, line);
    let (at, digest) = match digests.as_slice() {
        [one] => *one,
        [] => {
            let reason = "the line that this comment marks holds no digest (sha256:<64 lowercase hex digits>)";
            return refused(marker.at, reason.to_owned());
        }
        [_, (second, _), ..] => {
            let reason = "the line holds more than one digest, and the comment names one image";
            return refused(*second, reason.to_owned());
        }
    };
    if let Some(whole) = finder.image_before(content, at) {
        if whole == image {
            return None;
        }
        let reason = format!(
            "the comment names `{}`, but the digest follows the repository of another image, which an engine would pull",
            marker.name
        );
        return refused(at, reason);
    }
    let tag = tag_before(rules, content, at);
    Some(Finding::pin_in_text(place, image, at, digest, tag))
}

/// Every `sha256:` with 64 digits in a line.
fn digests_in(content: &[u8], line: &Range<usize>) -> Vec<(usize, Digest)> {
    let line_bytes = &content[line.clone()];
    let mut found = Vec::new();
    runs_in(line_bytes, 0..line_bytes.len(), |run| {
        let before = &line_bytes[..run.offset];
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

/// The tag before the `@` of a digest, if it has the form of a revision's tag.
fn tag_before(rules: &Rules, content: &[u8], digest: usize) -> Option<TagEdit> {
    let end = digest.checked_sub(1).filter(|at| content[*at] == b'@')?;
    let length = content[..end]
        .iter()
        .rev()
        .take(Tag::MAX + 1)
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
        .count();
    let at = end - length..end;
    let text = std::str::from_utf8(&content[at.clone()]).ok()?;
    let tag = Tag::parse(text).ok()?;
    rules.revisions.as_ref()?.tag_form.revision_in(text)?;
    Some(TagEdit {
        tag,
        scalar: at.clone(),
        at,
        plain: false,
    })
}
