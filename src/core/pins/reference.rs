//! The reference before a digest or a tag, however the text around it continues.
//!
//! A word is the longest text that could be a reference. Text that is no part of a name is removed from its
//! start: a scheme or transport, the name of a variable with a default, an escape in a string, and marks of
//! Markdown and HTML. Whatever remains is the reference, or there is none.

use std::{borrow::Cow, ops::Range};

use crate::{
    base::text::hex_value,
    oci::{Repository, Tag, TagError},
};

/// The repository and the tag before a digest.
pub(super) struct Reference {
    pub(super) repository: Repository,
    /// `None` without a tag, and if a variable supplies it.
    pub(super) tag: Result<Option<Tag>, TagError>,
    /// The offset of the tag.
    pub(super) tag_at: usize,
    /// The offset of the repository.
    pub(super) start: usize,
    /// The text of the same word before the repository, such as `docker://`.
    pub(super) lead: Range<usize>,
    /// The byte before the word.
    pub(super) before: Option<u8>,
}

/// The maximum length of the text of a word before the repository, such as `ostree-unverified-registry:`.
const MAX_LEAD: usize = 64;
/// The maximum length of a word.
pub(super) const MAX_REFERENCE: usize = MAX_LEAD + Repository::MAX + 1 + Tag::MAX;
/// The maximum length of a tag with a variable, and of the names of variables before a digest.
const MAX_VARIABLE: usize = 128;
/// The maximum length of an escaped `@`.
const MAX_AT: usize = 16;
/// The maximum length of the text before a digest that decides about its reference.
pub(super) const BEFORE_DIGEST: usize = MAX_REFERENCE + 2 * MAX_VARIABLE + MAX_AT + 4;

/// The schemes and transports before images, of which a name may have no host.
const IMAGE_SCHEMES: [&str; 7] = [
    "docker",
    "docker-image",
    "docker-daemon",
    "oci",
    "oras",
    "containers-storage",
    "ostree-unverified-registry",
];

impl Reference {
    /// The reference before the digest at `digest`.
    pub(super) fn before_digest(bytes: &[u8], digest: usize) -> Option<Self> {
        Self::ending_at(bytes, at_before(bytes, digest)?)
    }

    /// The reference before `at`.
    pub(super) fn ending_at(bytes: &[u8], at: usize) -> Option<Self> {
        if let Some(colon) = variable_tag(&bytes[..at]) {
            let word = Word::ending_at(bytes, colon)?;
            return word.reference(word.default()..word.text.len(), Ok(None), at);
        }
        let word = Word::ending_at(bytes, at)?;
        let from = word.default();
        let slash = word.text.rfind('/').map_or(0, |slash| slash + 1).max(from);
        let Some(colon) = word.text[slash..].find(':').map(|colon| slash + colon) else {
            return word.reference(from..word.text.len(), Ok(None), at);
        };
        let tag = &word.text[colon + 1..];
        let tag_at = at - tag.len();
        // A tag with an escape differs from its bytes.
        if !bytes[..tag_at].ends_with(b":") || bytes[tag_at..at].contains(&b'\\') {
            return None;
        }
        let tag = Tag::parse(tag).map(Some);
        word.reference(from..colon, tag, tag_at)
    }

    /// Whether the word before the repository is a scheme of images or the default of a variable.
    pub(super) fn is_led_by_image_scheme(&self, bytes: &[u8]) -> bool {
        let lead = &bytes[self.lead.clone()];
        let lead = lead.strip_suffix(b"//").unwrap_or(lead);
        let scheme = lead.strip_suffix(b":").unwrap_or(lead);
        lead.is_empty()
            || lead.ends_with(b"-")
            || IMAGE_SCHEMES.iter().any(|known| known.as_bytes() == scheme)
    }
}

/// A text of the characters of references, with `\/` as `/`.
struct Word<'b> {
    text: Cow<'b, str>,
    /// The offset of the word.
    start: usize,
    /// The bytes of the word.
    bytes: &'b [u8],
    /// The byte before the word.
    before: Option<u8>,
    /// Whether `${` precedes the word.
    is_in_variable: bool,
}

impl<'b> Word<'b> {
    /// The word before `at`; `None` if it is empty or longer than any reference.
    fn ending_at(bytes: &'b [u8], at: usize) -> Option<Self> {
        let mut start = word_start(bytes, at);
        let mut before = None;
        // An escaped character is a part of the name; an escape such as `\n` ends before the name.
        while at - start <= MAX_REFERENCE && bytes[..start].ends_with(b"\\") {
            let escaped = &bytes[start..at];
            match escaped.first() {
                None | Some(b'/' | b'.' | b'_' | b'-' | b':') => {
                    start = word_start(bytes, start - backslashes(&bytes[..start]));
                }
                Some(_) => {
                    if let Some((length, character)) = escape(escaped) {
                        if is_in_reference(character) {
                            return None;
                        }
                        start += length;
                        before = Some(character);
                    }
                    break;
                }
            }
        }
        if !(1..=MAX_REFERENCE).contains(&(at - start)) {
            return None;
        }
        let word = std::str::from_utf8(&bytes[start..at]).ok()?;
        let text = if word.contains('\\') {
            Cow::Owned(word.replace('\\', ""))
        } else {
            Cow::Borrowed(word)
        };
        Some(Self {
            text,
            start,
            bytes: &bytes[start..at],
            before: before.or_else(|| bytes[..start].last().copied()),
            is_in_variable: bytes[..start].ends_with(b"${"),
        })
    }

    /// The offset in the file of the character at `at` in the text.
    fn offset(&self, at: usize) -> usize {
        let characters = self.bytes.iter().enumerate();
        let mut characters = characters.filter(|(_, byte)| **byte != b'\\');
        let found = characters.nth(at).map(|(offset, _)| offset);
        self.start + found.unwrap_or(self.bytes.len())
    }

    /// The offset of the default of a variable after `${`; 0 for any other word.
    fn default(&self) -> usize {
        if self.is_in_variable {
            default_at(&self.text).unwrap_or(0)
        } else {
            0
        }
    }

    /// The reference with the name at `name`, of which the start may be other text.
    fn reference(
        &self,
        name: Range<usize>,
        tag: Result<Option<Tag>, TagError>,
        tag_at: usize,
    ) -> Option<Reference> {
        let (skipped, known) = lead(&self.text[name.clone()]);
        let start = name.start + skipped;
        let text = &self.text[start..name.end];
        // A variable or a template may supply the registry, and a user precedes an `@`.
        let is_whole = known && (start > 0 || !matches!(self.before, Some(b'$' | b'}' | b'@')));
        if !is_whole && !Repository::begins_with_host(text) {
            return None;
        }
        let repository = Repository::parse(text).ok()?;
        let start = self.offset(start);
        Some(Reference {
            repository,
            tag,
            tag_at,
            start,
            lead: self.start..start,
            before: self.before,
        })
    }
}

/// The length of the text before a repository, and whether the repository may be without a host.
fn lead(name: &str) -> (usize, bool) {
    let is_scheme = |text: &str| {
        let last = text.rsplit([':', '/']).next();
        last.is_some_and(|last| IMAGE_SCHEMES.contains(&last))
    };
    let (mut start, mut known) = (0, true);
    if let Some(at) = name.rfind("://") {
        (start, known) = (at + 3, is_scheme(&name[..at]));
    }
    while let Some(colon) = name[start..].find(':').map(|colon| start + colon) {
        let after = &name[colon + 1..];
        let path = after.trim_start_matches(|c: char| c.is_ascii_digit());
        if path.len() < after.len() && path.starts_with('/') {
            // It is a port.
            break;
        }
        (start, known) = (colon + 1, is_scheme(&name[..colon]));
    }
    let rest = &name[start..];
    if let Some(after) = rest.strip_prefix("//") {
        return (name.len() - after.len(), false);
    }
    // `_` in Markdown, `<!--` in HTML.
    let after = rest.trim_start_matches('_');
    let after_dashes = after.trim_start_matches('-');
    if after.len() - after_dashes.len() >= 2 {
        return (name.len() - after_dashes.len(), false);
    }
    (name.len() - after.len(), known)
}

/// The start of the characters of a reference before `at`; more than any reference has are not counted.
fn word_start(bytes: &[u8], at: usize) -> usize {
    let word = bytes[..at].iter().rev().take(MAX_REFERENCE + 1);
    at - word.take_while(|byte| is_in_reference(**byte)).count()
}

fn is_in_reference(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._/:-".contains(&byte)
}

/// The offset after `NAME:-` or `NAME-` at the start of a text.
pub(super) fn default_at(text: &str) -> Option<usize> {
    let name = text.bytes().take_while(|byte| is_variable(*byte)).count();
    let rest = &text[name..];
    let default = rest.strip_prefix(':').unwrap_or(rest).strip_prefix('-')?;
    (name > 0).then(|| text.len() - default.len())
}

/// A name without its tag, and the tag. A colon before a slash belongs to a host with a port.
pub(super) fn split_tag(name: &str) -> (&str, Option<&str>) {
    let slash = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[slash..].split_once(':') {
        Some((path, tag)) => (&name[..slash + path.len()], Some(tag)),
        None => (name, None),
    }
}

pub(super) fn is_variable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The number of backslashes at the end of a text: a string in a string escapes them again.
fn backslashes(bytes: &[u8]) -> usize {
    let word = bytes.iter().rev().take(MAX_AT);
    word.take_while(|byte| **byte == b'\\').count()
}

/// The length of an escape of JSON, YAML or TOML after its backslash, and its character (a blank for each control
/// character, and for each one beyond ASCII).
pub(super) fn escape(text: &[u8]) -> Option<(usize, u8)> {
    let digits = match text.first()? {
        b'n' | b't' | b'r' | b'b' | b'f' | b'v' | b'a' | b'e' | b'0' | b'N' | b'L' | b'P' => {
            return Some((1, b' '));
        }
        b'x' => 2,
        b'u' => 4,
        b'U' => 8,
        _ => return None,
    };
    let code = hex_value(text.get(1..=digits)?)?;
    let character = u8::try_from(code).ok().filter(u8::is_ascii_graphic);
    Some((1 + digits, character.unwrap_or(b' ')))
}

/// The offset of the `@` before the digest at `digest`: directly before it, as an escape, or before variables
/// of which the digest is the default.
fn at_before(bytes: &[u8], digest: usize) -> Option<usize> {
    let before = &bytes[..digest];
    match before.last()? {
        b'@' => Some(digest - 1),
        b'0' => escaped_at(before),
        b'-' | b'=' => {
            let near = digest.saturating_sub(MAX_VARIABLE);
            let at = near + memchr::memrchr(b'@', &before[near..])?;
            (at + 1 + defaults(&before[at + 1..]) == digest).then_some(at)
        }
        _ => None,
    }
}

/// The offset of an escaped `@` at the end of a text: `\u0040` or `\x40`.
pub(super) fn escaped_at(bytes: &[u8]) -> Option<usize> {
    let escape = [&b"u0040"[..], b"x40"];
    let before = escape
        .iter()
        .find_map(|escape| bytes.strip_suffix(*escape))?;
    match backslashes(before) {
        0 => None,
        count => Some(before.len() - count),
    }
}

/// The length of the variables at the start of a text of which the rest is the default, as in `${D:-`.
pub(super) fn defaults(text: &[u8]) -> usize {
    let mut length = 0;
    while let Some(rest) = text[length..].strip_prefix(b"${") {
        let name = rest
            .iter()
            .take(MAX_VARIABLE)
            .take_while(|byte| is_variable(**byte))
            .count();
        let operator = &rest[name..];
        let operator = operator.strip_prefix(b":").unwrap_or(operator);
        if name == 0 || !matches!(operator.first(), Some(b'-' | b'=')) {
            break;
        }
        length += 2 + rest.len() - operator.len() + 1;
    }
    if length > MAX_VARIABLE { 0 } else { length }
}

/// The offset of the colon before a tag that contains a variable or a template, at the end of a text.
fn variable_tag(bytes: &[u8]) -> Option<usize> {
    let floor = bytes.len().saturating_sub(MAX_VARIABLE);
    let (mut at, mut has_variable) = (bytes.len(), false);
    while at > floor {
        let last = bytes[at - 1];
        let opening = match last {
            b':' => return has_variable.then_some(at - 1),
            b'$' => None,
            b'}' => Some(b'{'),
            b')' => Some(b'('),
            b'>' => Some(b'<'),
            b'%' => Some(b'%'),
            _ if is_variable(last) || b".-".contains(&last) => {
                at -= 1;
                continue;
            }
            _ => return None,
        };
        has_variable = true;
        let end = at;
        at = match opening {
            Some(opening) => opened(&bytes[floor..at], opening, last)? + floor,
            None => at - 1,
        };
        let within = &bytes[at..end];
        let is_variable = match last {
            b')' => bytes[..at].ends_with(b"$"),
            b'>' => !within.contains(&b'/'),
            _ => true,
        };
        if !is_variable {
            return None;
        }
    }
    None
}

/// The offset of the bracket that the last byte of a text closes, in the same line.
fn opened(bytes: &[u8], opening: u8, closing: u8) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().rev() {
        if *byte == b'\n' {
            return None;
        }
        if *byte == opening && (opening != closing || at + 1 < bytes.len()) {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        } else if *byte == closing {
            depth += 1;
        }
    }
    None
}

/// Whether the text after a digest continues the reference: a digest ends a reference, so `:TAG` or another
/// `@` after it is malformed.
pub(super) fn continues(after: &[u8]) -> bool {
    match after {
        [b'@', ..] => true,
        [b':', next, ..] => is_variable(*next) || matches!(next, b'$' | b'{'),
        _ => false,
    }
}
