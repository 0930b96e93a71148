//! The words of texts that may be tags, in any format.
//!
//! A tag is a word of a text if neither a letter nor a digit precedes or follows it: punctuation next to a
//! word may be part of a tag or of the text around it. Words are found in the text itself, and in the
//! text without the escapes of JSON, YAML, shells and URLs. A superfluous word protects a version, a missing
//! word deletes one.

use crate::{base::hex::hex_value, config::ABBREVIATIONS, oci::Tag};

/// The maximum length of a word, in bytes: that of a repository. A tag is shorter.
const MAX_WORD: usize = 255;
/// The maximum number of nested escapes, as in JSON in a string of JSON.
const MAX_NESTING: usize = 4;
/// The number of bytes around a word that belong to it, with escapes and in UTF-16.
pub(super) const OVERLAP: usize = 8 * 1024;

/// Whether a word is too common to mean a tag without the name of an image in the same file: fewer than
/// four characters, only letters, or only digits. Seven hexadecimal digits may be a commit.
pub(super) fn is_common(word: &str) -> bool {
    let is_commit =
        word.len() >= *ABBREVIATIONS.start() && word.bytes().all(|b| b.is_ascii_hexdigit());
    let is_plain =
        word.bytes().all(|b| b.is_ascii_alphabetic()) || word.bytes().all(|b| b.is_ascii_digit());
    !is_commit && (word.len() < 4 || is_plain)
}

/// Calls `visit` with every word of a block, and with the offset of its first character in the block. The
/// offsets are in no particular order.
pub(super) fn each_word(block: &[u8], mut visit: impl FnMut(usize, &str)) {
    let mut pending = vec![Form::of(block)];
    if block.contains(&0) {
        pending.extend(utf16_forms(block));
    }
    for mut form in pending {
        for _ in 0..=MAX_NESTING {
            form.each_word(&mut visit);
            match form.unescaped() {
                Some(unescaped) => form = unescaped,
                None => break,
            }
        }
    }
}

/// A block, or a block without its escapes.
struct Form<'b> {
    text: std::borrow::Cow<'b, [u8]>,
    /// The offset in the block of each byte; `None` for the block itself.
    offsets: Option<Vec<usize>>,
}

/// The text in UTF-16 of either byte order, from an even and from an odd offset on.
fn utf16_forms(block: &[u8]) -> Vec<Form<'static>> {
    let mut forms = Vec::new();
    for first in [0, 1] {
        for low in [0, 1] {
            let mut form = Form::empty();
            let units = block.get(first..).unwrap_or_default().chunks_exact(2);
            for (number, unit) in units.enumerate() {
                let is_ascii = unit[1 - low] == 0;
                form.push(if is_ascii { unit[low] } else { b' ' }, first + 2 * number);
            }
            forms.push(form);
        }
    }
    forms
}

impl<'b> Form<'b> {
    fn of(block: &'b [u8]) -> Self {
        Self {
            text: block.into(),
            offsets: None,
        }
    }

    fn empty() -> Self {
        Self {
            text: Vec::new().into(),
            offsets: Some(Vec::new()),
        }
    }

    fn push(&mut self, byte: u8, offset: usize) {
        self.text.to_mut().push(byte);
        self.offsets.get_or_insert_default().push(offset);
    }

    fn offset(&self, at: usize) -> usize {
        self.offsets.as_ref().map_or(at, |offsets| offsets[at])
    }

    fn each_word(&self, visit: &mut impl FnMut(usize, &str)) {
        let text = &*self.text;
        let mut at = 0;
        while let Some(start) = text[at..].iter().position(|byte| Tag::has_character(*byte)) {
            let start = at + start;
            let length = text[start..]
                .iter()
                .position(|byte| !Tag::has_character(*byte));
            at = length.map_or(text.len(), |length| start + length);
            // All characters of a run are ASCII.
            let run = std::str::from_utf8(&text[start..at]).unwrap_or_default();
            words_of(run, |first, word| visit(self.offset(start + first), word));
        }
    }

    /// The text with each escape replaced by its character; `None` if it contains no escape. A character
    /// that no tag contains becomes a space.
    fn unescaped(&self) -> Option<Form<'static>> {
        let text = &*self.text;
        memchr::memchr2(b'\\', b'%', text)?;
        let mut form = Form::empty();
        let mut is_changed = false;
        let mut at = 0;
        while at < text.len() {
            let (byte, length) = match escape(&text[at..]) {
                Some((byte, length)) => (byte, length),
                None => (Some(text[at]), 1),
            };
            is_changed |= length > 1;
            if let Some(byte) = byte {
                form.push(byte, self.offset(at));
            }
            at += length;
        }
        is_changed.then_some(form)
    }
}

/// The character of the escape at the start of a text, `None` for an escaped line break, and the length of the
/// escape.
fn escape(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let code = |from: usize, digits: usize| {
        let code = hex_value(text.get(from..from + digits)?)?;
        Some(u8::try_from(code).ok().filter(u8::is_ascii).unwrap_or(b' '))
    };
    let number = |digits: usize| Some((Some(code(2, digits)?), 2 + digits));
    match *text {
        [b'%', ..] => Some((Some(code(1, 2)?), 3)),
        [b'\\', b'x', ..] => number(2),
        [b'\\', b'u', ..] => number(4),
        [b'\\', b'U', ..] => number(8),
        // A line that continues on the next one, without its indentation.
        [b'\\', b'\n', ..] | [b'\\', b'\r', b'\n', ..] => {
            let rest = &text[1..];
            let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
            Some((None, 1 + blank.count()))
        }
        [b'\\', next, ..] if next.is_ascii_alphanumeric() || next == b'_' => Some((Some(b' '), 2)),
        [b'\\', next, ..] => Some((Some(next), 2)),
        _ => None,
    }
}

/// The words in a run of characters of tags.
fn words_of(run: &str, mut visit: impl FnMut(usize, &str)) {
    let bytes = run.as_bytes();
    let is_inside = |at: usize| bytes[at].is_ascii_alphanumeric();
    for start in 0..bytes.len() {
        let is_start = is_inside(start) || bytes[start] == b'_';
        if !is_start || start > 0 && is_inside(start - 1) {
            continue;
        }
        let mut is_name = false;
        for end in start + 1..=bytes.len().min(start + MAX_WORD) {
            is_name |= is_inside(end - 1);
            if is_name && (end == bytes.len() || !is_inside(end)) {
                visit(start, &run[start..end]);
            }
        }
    }
}

/// The key of kustomize with a text that is appended to the tag.
const SUFFIX_KEY: &[u8] = b"tagSuffix";

/// The suffixes of tags in the entries of kustomize.
pub(super) fn tag_suffixes(block: &[u8]) -> Vec<String> {
    let mut suffixes = Vec::new();
    for at in memchr::memmem::find_iter(block, SUFFIX_KEY) {
        let rest = &block[at + SUFFIX_KEY.len()..];
        let value = rest
            .iter()
            .position(|byte| Tag::has_character(*byte))
            .unwrap_or(rest.len());
        let value = rest[value..].iter().take(Tag::MAX);
        let suffix: Vec<u8> = value
            .copied()
            .take_while(|byte| Tag::has_character(*byte))
            .collect();
        suffixes.extend(
            String::from_utf8(suffix)
                .ok()
                .filter(|suffix| !suffix.is_empty()),
        );
    }
    suffixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_hostile_text_are_bounded() {
        for part in ["_", "a-", "a__", "\\\\", "%5c", "\0a"] {
            let text = part.repeat(16 * 1024 / part.len());
            let mut count = 0;
            each_word(text.as_bytes(), |_, _| count += 1);
            let forms = if part.contains('\0') { 5 } else { 1 };
            let most = forms * (MAX_NESTING + 1) * text.len() * MAX_WORD / 2;
            assert!(count <= most, "{part:?} {count}");
        }
    }

    #[test]
    fn escapes_are_replaced_at_their_offsets() {
        for (text, expected) in [
            (r"a\u0062c", Some(("abc", &[0, 1, 7][..]))),
            (r"\x61\U00000062%63", Some(("abc", &[0, 4, 14]))),
            (r"\/\\\n\t\u00e9", Some(("/\\   ", &[0, 2, 4, 6, 8]))),
            ("a\\\r\n\t b", Some(("ab", &[0, 6]))),
            (r"a\u00zz", None),
            ("100% a%zz", None),
            ("plain", None),
        ] {
            let found = Form::of(text.as_bytes()).unescaped();
            let found = found.map(|form| {
                let offsets = form.offsets.unwrap();
                (String::from_utf8(form.text.into_owned()).unwrap(), offsets)
            });
            let expected = expected.map(|(text, offsets)| (text.to_owned(), offsets.to_vec()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn suffix_of_kustomize_is_found() {
        let text = b"newTag: v1\ntagSuffix: '-x'\n---\n{\"tagSuffix\":\"_y.z\", \"tagSuffix\": ";
        assert_eq!(tag_suffixes(text), ["-x", "_y.z"]);
    }
}
