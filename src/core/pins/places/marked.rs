//! Lines of any text with a comment that assigns their digest to an image.
//!
//! The aliases and merges through which entries use one scalar.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use memchr::memmem;

use super::{
    Finding, PREFIX, Rules, TextDigest,
    strings::{Field, Via},
    yaml::{Document, Id},
};
use crate::{
    core::pins::{
        digests::{Width, runs_in},
        scan::{DigestForm, Finder, TagEdit},
    },
    oci::Tag,
};

const MARKER: &[u8] = b"repin:";
/// The same in UTF-16, without the last byte in one of the byte orders.
const WIDE_MARKER: &[u8] = b"r\0e\0p\0i\0n\0:";
/// Other spellings of the word before the colon, which a reader would take for a marker.
const SPELLINGS: [&[u8]; 3] = [b"repin", b"Repin", b"REPIN"];

/// The starts of comments that end with their line. `rem` and `dnl` are words.
const LINE_COMMENTS: [&[u8]; 8] = [b"#", b"//", b"--", b";", b"%", b"@rem", b"rem", b"dnl"];
/// The starts of comments at the start of a line only.
const WHOLE_LINES: [&[u8]; 3] = [b"::", b"..", b"!"];
/// The starts and ends of other comments; a start precedes those that it ends with.
const BLOCK_COMMENTS: [(&[u8], &[u8]); 13] = [
    (b"<!--", b"-->"),
    (b"<%--", b"--%>"),
    (b"{{!--", b"--}}"),
    (b"{{- /*", b"*/ -}}"),
    (b"{{/*", b"*/}}"),
    (b"/**", b"*/"),
    (b"/*", b"*/"),
    (b"{#-", b"-#}"),
    (b"{#", b"#}"),
    (b"<#", b"#>"),
    (b"--[[", b"]]"),
    (b"(*", b"*)"),
    (b"{-", b"-}"),
];

/// The maximum length of a marked line, in bytes.
const LINE: usize = 8 * 1024;

/// The maximum distance of a mark in a file that no place searches from its digest, in bytes.
const NEAR: usize = 1024;
/// The maximum number of blanks before the colon.
const MAX_BLANKS: usize = 16;

/// A comment that starts like a marker.
struct Marker<'c> {
    /// The offset of `repin:`.
    at: usize,
    /// The name of the image, or the reason for which the comment is not understood.
    name: Result<&'c str, &'static str>,
    /// The marked line; `None` if it is too long.
    line: Option<Range<usize>>,
}

impl Marker<'_> {
    /// A comment that is refused.
    fn refused(at: usize, reason: &'static str) -> Self {
        let (name, line) = (Err(reason), None);
        Self { at, name, line }
    }
}

/// The start of a comment.
struct Introducer {
    length: usize,
    /// The end of the comment, unless it is that of the line.
    end: Option<&'static [u8]>,
}

/// The pins and refusals of a place of the kind `marked`.
pub(super) fn find(rules: &Rules, finder: &Finder, place: usize, content: &[u8]) -> Vec<Finding> {
    let marked = markers(content);
    let findings = marked.filter_map(|marker| finding(rules, finder, place, content, &marker));
    let wide = wide_markers(content).map(|at| {
        let reason = "this mark is in UTF-16, which repin cannot edit: convert the file to UTF-8";
        Finding::refused(place, None, at, reason)
    });
    findings.chain(wide).collect()
}

/// The offsets of the markers in UTF-16 of either byte order.
fn wide_markers(content: &[u8]) -> impl Iterator<Item = usize> {
    memmem::find_iter(content, WIDE_MARKER).filter(|at| {
        let units = content[..*at].rchunks_exact(2).take(MAX_BLANKS);
        let mut before: Vec<u8> = units.map(|unit| unit[0]).collect();
        before.reverse();
        introducer(before.trim_ascii_end()).is_some()
    })
}

/// The image that a mark in the same or the previous line assigns to the digest at `digest`. `names` are the
/// images by name.
pub(in crate::core::pins) fn marked_image(
    names: &HashMap<String, usize>,
    content: &[u8],
    digest: usize,
) -> Option<usize> {
    let window = digest.saturating_sub(NEAR)..content.len().min(digest + NEAR);
    let (at, text) = (digest - window.start, &content[window]);
    let newline = |before: &[u8]| memchr::memrchr(b'\n', before);
    let line = newline(&text[..at]).unwrap_or(0);
    let above = newline(&text[..line]).map_or(0, |newline| newline + 1);
    let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |newline| at + newline);
    markers(&text[above..end]).find_map(|marker| {
        let is_marked = marker.line.is_some_and(|line| line.contains(&(at - above)));
        let image = names.get(marker.name.ok()?);
        image.copied().filter(|_| is_marked)
    })
}

fn markers(content: &[u8]) -> impl Iterator<Item = Marker<'_>> {
    let words = SPELLINGS.iter().flat_map(move |word| {
        memmem::find_iter(content, *word).map(move |at| (at, at + word.len()))
    });
    words.filter_map(move |(at, end)| marker(content, at, end))
}

/// The marker with its word at `at..end`, if the word and a colon are the start of a comment.
fn marker(content: &[u8], at: usize, end: usize) -> Option<Marker<'_>> {
    let blanks = content[end..].iter().take(MAX_BLANKS);
    let colon = end + blanks.take_while(|byte| **byte == b' ').count();
    if content.get(colon) != Some(&b':') {
        return None;
    }
    let near = at.saturating_sub(LINE);
    let start = memchr::memrchr(b'\n', &content[near..at])
        .map(|newline| near + newline + 1)
        .or((near == 0).then_some(0));
    let before = content[start.unwrap_or(near)..at].trim_ascii_end();
    let Some(introducer) = introducer(before) else {
        let above = content[near..at].trim_ascii_end();
        let above = above.strip_suffix(b"*").unwrap_or(above).trim_ascii_end();
        let is_in_block =
            matches!(before.trim_ascii(), b"" | b"*") && block_comment(above).is_some();
        let reason = "the comment of this mark begins on another line: write it in one line";
        return is_in_block.then(|| Marker::refused(at, reason));
    };
    let line_end = line_end(content, colon);
    let rest = &content[colon + 1..line_end.unwrap_or(content.len().min(colon + LINE))];
    let (mut text, mut after) = (rest, &b""[..]);
    if let Some(end) = introducer.end {
        let Some(length) = memmem::find(rest, end) else {
            let reason = "the comment of this mark does not end on its line";
            return Some(Marker::refused(at, reason));
        };
        (text, after) = (rest[..length].trim_ascii_end(), &rest[length + end.len()..]);
        // `/** … **/` is one comment.
        text = text.strip_suffix(b"*").unwrap_or(text);
    }
    let name = image_name(text);
    if content[at..=colon] != *MARKER {
        // Prose may begin with the name of the program.
        name.ok()?;
        return Some(Marker::refused(at, "a mark is written `repin: NAME`"));
    }
    let alone = before[..before.len() - introducer.length]
        .trim_ascii()
        .is_empty()
        && after.trim_ascii().is_empty();
    let line = match (start, line_end) {
        (Some(_), Some(end)) if alone => {
            let next = (end + 1).min(content.len());
            self::line_end(content, next).map(|end| next..end)
        }
        (Some(start), Some(end)) => Some(start..end),
        _ => None,
    };
    Some(Marker { at, name, line })
}

/// The name in the text of a comment after `repin:`.
fn image_name(text: &[u8]) -> Result<&str, &'static str> {
    let text = text.trim_ascii();
    let is_name = |text: &&str| {
        let mut bytes = text.bytes();
        !text.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let name = std::str::from_utf8(text).ok().filter(is_name);
    name.ok_or("the name of one image must follow `repin:` in this comment, and nothing else")
}

/// The start of a comment at the end of a text.
fn introducer(text: &[u8]) -> Option<Introducer> {
    if let Some(block) = block_comment(text) {
        return Some(block);
    }
    let found = |length| Some(Introducer { length, end: None });
    if let Some(whole) = WHOLE_LINES
        .iter()
        .find(|start| text.trim_ascii() == **start)
    {
        return found(whole.len());
    }
    for start in LINE_COMMENTS {
        let Some(at) = text.len().checked_sub(start.len()) else {
            continue;
        };
        let (before, end) = text.split_at(at);
        let is_word = start[0].is_ascii_alphabetic();
        let continues = match before.last() {
            // The host of a URL follows `://`.
            Some(last) if start == b"//" => *last == b':',
            Some(last) => is_word && (last.is_ascii_alphanumeric() || *last == b'_'),
            None => false,
        };
        if end.eq_ignore_ascii_case(start) && !continues {
            // `##` and `///` start comments as well.
            let more = before
                .iter()
                .rev()
                .take_while(|byte| !is_word && **byte == start[0]);
            return found(start.len() + more.count());
        }
    }
    None
}

fn block_comment(text: &[u8]) -> Option<Introducer> {
    let mut blocks = BLOCK_COMMENTS.iter();
    let (start, end) = blocks.find(|(start, _)| text.ends_with(start))?;
    Some(Introducer {
        length: start.len(),
        end: Some(end),
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
    let name = match marker.name {
        Ok(name) => name,
        Err(reason) => return Some(Finding::refused(place, None, marker.at, reason)),
    };
    let image = rules.names.get(name).copied();
    let refused = |at, reason: String| Some(Finding::refused(place, image, at, reason));
    let Some(image) = image else {
        return refused(
            marker.at,
            format!("the comment names `{name}`, which is not a configured image"),
        );
    };
    let Some(line) = &marker.line else {
        let reason = format!("the line that this comment marks is longer than {LINE} bytes");
        return refused(marker.at, reason);
    };
    let digests = digests_in(content, line);
    let digest = match digests.as_slice() {
        [one] => one,
        [] => {
            let reason = "the line that this comment marks holds no digest (sha256:<64 lowercase hex digits>, or the digits alone)";
            return refused(marker.at, reason.to_owned());
        }
        [_, second, ..] => {
            let reason = "the line holds more than one digest, and the comment names one image";
            return refused(second.at, reason.to_owned());
        }
    };
    if let Some(whole) = finder.image_before(content, digest.at) {
        if whole == image {
            return None;
        }
        let reason = format!(
            "the comment names `{name}`, but the digest follows the repository of another image, which an engine would pull"
        );
        return refused(digest.at, reason);
    }
    let tag = tag_before(rules, content, digest.at);
    Some(Finding::pin_in_text(place, image, digest, tag))
}

/// Every `sha256:` with 64 digits in a line; without one, every word of 64 digits.
fn digests_in(content: &[u8], line: &Range<usize>) -> Vec<TextDigest> {
    let line_bytes = &content[line.clone()];
    let (mut prefixed, mut bare) = (Vec::new(), Vec::new());
    runs_in(line_bytes, 0..line_bytes.len(), |run| {
        let before = &line_bytes[..run.offset];
        let after = line_bytes.get(run.offset + 64);
        let found = |start: &[u8], form| TextDigest {
            at: line.start + start.len(),
            digest: run.digest,
            form,
        };
        if run.width == Width::Two {
            return;
        }
        if let Some(start) = before.strip_suffix(PREFIX) {
            let is_part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            if !is_part(start.last()) && !is_part(after) {
                prefixed.push(found(start, DigestForm::Prefixed));
            }
        } else {
            // Digits after another algorithm, or as a part of a name, are no digest.
            let is_part = |byte: Option<&u8>| {
                byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b":@._+/-%".contains(byte))
            };
            if !is_part(before.last()) && !is_part(after) {
                bare.push(found(before, DigestForm::Bare));
            }
        }
    });
    if prefixed.is_empty() { bare } else { prefixed }
}

/// The tag before the `@` of a digest, if it has the form of a revision's tag.
fn tag_before(rules: &Rules, content: &[u8], digest: usize) -> Option<TagEdit> {
    let end = digest.checked_sub(1).filter(|at| content[*at] == b'@')?;
    let length = content[..end]
        .iter()
        .rev()
        .take(Tag::MAX + 1)
        .take_while(|byte| Tag::has_character(**byte))
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

/// How entries use one scalar.
#[derive(Default)]
pub(super) struct Uses {
    entries: HashSet<Id>,
    /// Whether it is written in one of them.
    pub(super) own: bool,
    /// The aliases and merges through which they use it.
    via: HashSet<Id>,
}

impl Uses {
    pub(super) fn add(&mut self, entry: Id, field: Field) {
        self.entries.insert(entry);
        self.own |= matches!(field.via, Via::Own);
        self.via.extend(field.via.node());
    }

    /// An alias that none of the entries uses: of the scalar or, if it is written in no entry, of the mapping
    /// that contains it.
    pub(super) fn unknown_alias(&self, document: &Document<'_>, scalar: Id) -> Option<Id> {
        let mut aliases = document.aliases_of(scalar).iter();
        let unknown = aliases.find(|alias| !self.via.contains(alias)).copied();
        if unknown.is_some() || self.own {
            return unknown;
        }
        let mapping = document.ancestors(scalar).nth(1)?;
        let is_merged = |alias: Id| {
            // `<<: *mapping` or `<<: [*mapping]`
            let mut above = document.ancestors(alias).skip(1).take(2);
            above.any(|node| self.entries.contains(&node))
        };
        let mut aliases = document.aliases_of(mapping).iter().copied();
        aliases.find(|alias| !is_merged(*alias))
    }
}
