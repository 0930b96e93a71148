//! Finds secrets in bytes, in all their encodings.
//!
//! The search is for the secret and its base64, in the text and in the text decoded from JSON and
//! percent-encoding. It therefore does not depend on the characters that a server encodes.

use super::formats;
use crate::base::hex::hex_value;
use std::cell::LazyCell;

/// The minimum length of a secret that is hidden by its value. A shorter one occurs in other text by
/// chance: hiding it would make messages unreadable, and show where it occurs.
const MIN_SECRET: usize = 4;
/// The minimum length of base64 that is recognized as a part of a secret; shorter text is
/// ambiguous.
const PIECE: usize = 6;
/// The maximum length of an encoded character, such as `\u0022`.
const GROWTH: usize = 6;
/// The characters of base64 around a piece: one at each end, and the padding.
const AROUND: usize = 4;

/// The alphabets (RFC 4648, sections 4 and 5); they differ in the last two characters.
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The encodings of secrets. They have no `Debug`.
#[derive(Default, Clone)]
pub(crate) struct Forms(Vec<Form>);

#[derive(Clone, PartialEq, Eq)]
struct Form {
    bytes: Vec<u8>,
    /// Whether the previous character of base64 contains bits of the secret.
    before: bool,
    /// Whether the next character does, and padding may follow.
    after: bool,
}

impl Forms {
    /// Adds a secret in all its encodings. A secret shorter than `MIN_SECRET` is ignored.
    pub(crate) fn add(&mut self, secret: &[u8]) {
        if secret.len() < MIN_SECRET {
            return;
        }
        self.push(Form {
            bytes: secret.to_vec(),
            before: false,
            after: false,
        });
        for alphabet in [STANDARD, URL_SAFE] {
            for form in in_base64(secret, alphabet) {
                self.push(form);
            }
        }
    }

    fn push(&mut self, form: Form) {
        if !self.0.contains(&form) {
            self.0.push(form);
        }
    }

    /// The maximum length of an encoded secret, or of a credential in a known format.
    pub(crate) fn longest(&self) -> usize {
        let mut longest = formats::MAX_SECRET;
        for form in &self.0 {
            longest = longest.max((form.bytes.len() + AROUND) * GROWTH);
        }
        longest
    }

    /// Marks each byte that belongs to a secret, or to a credential in a known format.
    pub(crate) fn mask(&self, bytes: &[u8]) -> Vec<bool> {
        let mut mask = vec![false; bytes.len()];
        formats::mark(bytes, &mut mask);
        let views = LazyCell::new(|| View::all(bytes));
        for form in &self.0 {
            for view in &*views {
                form.mark(view, &mut mask);
            }
        }
        mask
    }

    /// Replaces each secret with `***`.
    pub(crate) fn redact(&self, bytes: &[u8]) -> Vec<u8> {
        starred(bytes, &self.mask(bytes))
    }
}

/// Replaces each run of masked bytes with `***`.
pub(crate) fn starred(bytes: &[u8], mask: &[bool]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (index, byte) in bytes.iter().enumerate() {
        if !mask[index] {
            out.push(*byte);
        } else if index == 0 || !mask[index - 1] {
            out.extend(b"***");
        }
    }
    out
}

impl Form {
    /// Marks all occurrences, including overlapping ones.
    fn mark(&self, view: &View, mask: &mut [bool]) {
        let finder = memchr::memmem::Finder::new(&self.bytes);
        let mut from = 0;
        while let Some(at) = view.bytes.get(from..).and_then(|rest| finder.find(rest)) {
            let (mut start, mut end) = (from + at, from + at + self.bytes.len());
            from = start + 1;
            if self.before && start > 0 && is_base64(view.bytes[start - 1]) {
                start -= 1;
            }
            if self.after {
                end += usize::from(view.bytes.get(end).copied().is_some_and(is_base64));
                let padding = view.bytes[end..].iter().take(2);
                end += padding.take_while(|byte| **byte == b'=').count();
            }
            mask[view.source[start].0..view.source[end - 1].1].fill(true);
        }
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// The base64 of a secret: encoded separately, and as a part of a longer text, at each of the three
/// offsets in a group. In a longer text, the characters at both ends also contain bits of the
/// neighbors.
fn in_base64(secret: &[u8], alphabet: &[u8; 64]) -> Vec<Form> {
    let mut forms = Vec::new();
    if secret.len() < PIECE {
        let mut bytes = encoded(secret, alphabet);
        // The base64 of one or two bytes is too short to be recognized without padding.
        bytes.resize(bytes.len().max(4), b'=');
        forms.push(Form {
            bytes,
            before: false,
            after: true,
        });
    }
    for offset in 0..3 {
        let shifted = [&[0; 2][..offset], secret].concat();
        let whole = encoded(&shifted, alphabet);
        // The characters that contain only bits of the secret.
        let from = (8 * offset).div_ceil(6);
        let to = 8 * shifted.len() / 6;
        if to >= from + PIECE {
            forms.push(Form {
                bytes: whole[from..to].to_vec(),
                before: offset > 0,
                after: 8 * shifted.len() % 6 != 0,
            });
        }
    }
    forms
}

/// Base64 without padding.
fn encoded(bytes: &[u8], alphabet: &[u8; 64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0, |bits, (at, byte)| {
            bits | usize::from(*byte) << (16 - 8 * at)
        });
        out.extend((0..=group.len()).map(|at| alphabet[bits >> (18 - 6 * at) & 63]));
    }
    out
}

/// Decoded bytes, each with its range in the original.
struct View {
    bytes: Vec<u8>,
    /// The start and the end in the original.
    source: Vec<(usize, usize)>,
}

impl View {
    /// The original bytes.
    fn original(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            source: (0..bytes.len()).map(|index| (index, index + 1)).collect(),
        }
    }

    /// The original bytes, and their different decodings.
    fn all(bytes: &[u8]) -> Vec<Self> {
        let mut views = vec![Self::original(bytes)];
        views.extend(views[0].read(b'\\', json_escape));
        for index in 0..views.len() {
            // A form encodes a space as `+`, and a plus sign with a percent sign.
            let form = views[index].read(b'+', |_| Some((1, vec![b' '])));
            let percent = views[index].read(b'%', percent_escape);
            if let Some(form) = form {
                views.extend(form.read(b'%', percent_escape));
                views.push(form);
            }
            views.extend(percent);
        }
        views
    }

    /// Decodes each sequence that begins with `mark`; `None` if the view has no `mark`. `decode`
    /// returns the length of the sequence and its value.
    fn read(&self, mark: u8, decode: impl Fn(&[u8]) -> Option<(usize, Vec<u8>)>) -> Option<Self> {
        memchr::memchr(mark, &self.bytes)?;
        let (mut bytes, mut source) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < self.bytes.len() {
            let decoded = if self.bytes[at] == mark {
                decode(&self.bytes[at..])
            } else {
                None
            };
            let (length, value) = decoded.unwrap_or_else(|| (1, vec![self.bytes[at]]));
            let range = (self.source[at].0, self.source[at + length - 1].1);
            source.extend(value.iter().map(|_| range));
            bytes.extend(value);
            at += length;
        }
        Some(Self { bytes, source })
    }
}

/// Decodes percent-encoded text.
pub(super) fn percent_decoded(text: &str) -> String {
    match View::original(text.as_bytes()).read(b'%', percent_escape) {
        Some(view) => String::from_utf8_lossy(&view.bytes).into_owned(),
        None => text.to_owned(),
    }
}

/// `%2F` (RFC 3986, section 2.1).
fn percent_escape(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    Some((3, vec![u8::try_from(hex_value(text.get(1..3)?)?).ok()?]))
}

/// `\"` or `\u002f` (RFC 8259, section 7), and `\u{2f}` as in Rust and in repin's output.
fn json_escape(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    let byte = match text.get(1)? {
        c @ (b'"' | b'\\' | b'/' | b'\'') => *c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'u' => return unicode_escape(text),
        _ => return None,
    };
    Some((2, vec![byte]))
}

fn unicode_escape(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    let utf8 = |c: char| c.to_string().into_bytes();
    if text.get(2) == Some(&b'{') {
        let end = text.iter().take(10).position(|byte| *byte == b'}')?;
        let c = char::from_u32(hex_value(&text[3..end])?)?;
        return Some((end + 1, utf8(c)));
    }
    let unit = |at: usize| u16::try_from(hex_value(text.get(at..at + 4)?)?).ok();
    let first = unit(2)?;
    if let Some(c) = char::from_u32(first.into()) {
        return Some((6, utf8(c)));
    }
    let second = unit(8).filter(|_| text[6..8] == *b"\\u")?;
    let c = char::decode_utf16([first, second]).next()?.ok()?;
    Some((12, utf8(c)))
}

/// The text with `***` in place of each credential in a known format.
pub(crate) fn redacted(text: &str) -> String {
    String::from_utf8_lossy(&Forms::default().redact(text.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
    };

    use super::*;

    fn without(secret: &str, text: &str) -> String {
        let mut forms = Forms::default();
        forms.add(secret.as_bytes());
        String::from_utf8(forms.redact(text.as_bytes())).unwrap()
    }

    #[test]
    fn base64_is_found_at_every_offset() {
        // High bytes distinguish the alphabets; some secrets share a `+`, `/`, `-` or `_` with the
        // text before them.
        for secret in [
            "s3cret",
            "pass?>word~~",
            "päß~wörd>?>",
            "abcde",
            "€uro-s",
            "😀s3",
        ] {
            for before in ["", "u", "s", "us", "so", "use", "user:", "x-access-token:"] {
                for after in ["", "a", "bc", "def"] {
                    let text = format!("{before}{secret}{after}");
                    for form in [
                        STANDARD.encode(&text),
                        STANDARD_NO_PAD.encode(&text),
                        URL_SAFE.encode(&text),
                        URL_SAFE_NO_PAD.encode(&text),
                    ] {
                        let shown = without(secret, &format!("sent <{form}>"));
                        assert!(shown.contains("***"), "{secret} {text} {form}: {shown}");
                        // No character with a bit of the secret remains, and all characters without
                        // one do.
                        let known = before.len() / 3 * 4 + before.len() % 3;
                        let left = shown.find("***").unwrap() - "sent <".len();
                        assert_eq!(left, known, "{text} {form}: {shown}");
                        let right = shown.len() - shown.rfind("***").unwrap() - "***>".len();
                        let trailing = form.len() - (8 * (before.len() + secret.len())).div_ceil(6);
                        let known = if after.is_empty() { 0 } else { trailing };
                        assert_eq!(right, known, "{text} {form}: {shown}");
                    }
                }
            }
        }
    }

    #[test]
    fn truncated_base64_is_found_exactly() {
        for before in ["u", "us"] {
            let text = STANDARD_NO_PAD.encode(format!("{before}s3cret-s3cret"));
            // The first character after the cut contains only bits of the secret.
            let cut = &text[(8 * before.len()).div_ceil(6)..];
            assert_eq!(without("s3cret-s3cret", cut), "***");
            assert_eq!(without("s3cret-s3cret", &format!("<{cut}>")), "<***>");
        }
    }

    #[test]
    fn encoded_short_secrets_are_found() {
        for secret in ["abcd", "abcde", "abcdef"] {
            let form = STANDARD.encode(secret);
            assert_eq!(without(secret, &format!("<{form}>")), "<***>", "{secret}");
        }
        assert_eq!(without("zzzz", "more text"), "more text");
        // A shorter secret occurs in other text by chance.
        for secret in ["a", "ab", "abc"] {
            let text = format!("<abc>, {}", STANDARD.encode(secret));
            assert_eq!(without(secret, &text), text, "{secret}");
        }
    }

    #[test]
    fn json_and_percent_encodings_are_found() {
        let secret = "p/s \"ö+\\%&";
        for form in [
            r#"p/s "ö+\%&"#,
            "p%2Fs+%22%C3%B6%2B%5C%25%26",
            "p%2fs%20%22%c3%b6%2b%5c%25%26",
            "p/s%20%22ö+%5C%25&",
            "%70%2F%73%20%22%C3%B6%2B%5C%25%26",
            r#"p\/s \"ö+\\%&"#,
            r#"p/s \"\u00f6+\\%\u0026"#,
            r"p\u002Fs\u0020\u0022\u00F6\u002B\u005C\u0025\u0026",
            r"p/s \u{22}ö+\\%&",
        ] {
            assert_eq!(without(secret, &format!("<{form}>")), "<***>", "{form}");
        }
        assert_eq!(without("pass word", "<pass+word>"), "<***>");
        let lines = "a\nb\rc\td\u{8}e\u{c}f";
        assert_eq!(without(lines, r"<a\nb\rc\td\be\ff>"), "<***>");
        // A malformed escape is not decoded.
        assert_eq!(without("a\nb", "<a%+Ab>"), "<a%+Ab>");
        let text = r"<a\ud83d..de00b>";
        assert_eq!(without("a😀b", text), text);
        assert_eq!(
            without("a😀b", r"a\ud83d\ude00b \ud83d \u{} %zz %"),
            r"*** \ud83d \u{} %zz %"
        );
        // Base64 in a URL, and in JSON that escapes the slash.
        let text = STANDARD.encode("u:???>>>~~~");
        let url = text
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        assert_eq!(without("u:???>>>~~~", &format!("<{url}>")), "<***>");
        let json = text.replace('/', "\\/");
        assert_eq!(without("u:???>>>~~~", &format!("<{json}>")), "<***>");
    }

    #[test]
    fn repeated_secrets_and_plain_text_are_searched_once() {
        let mut forms = Forms::default();
        forms.add(b"s3cret");
        let count = forms.0.len();
        forms.add(b"s3cret");
        assert_eq!(forms.0.len(), count);
        assert_eq!(View::all(b"plain").len(), 1);
        assert_eq!(View::all(b"%70lain").len(), 2);
    }

    #[test]
    fn credential_in_a_known_format_is_redacted_without_a_secret() {
        let key = concat!("AK", "IAIOSFODNN7EXAMPLE");
        assert_eq!(without("", &format!("key {key} of x")), "key *** of x");
    }

    #[test]
    fn overlapping_and_empty_secrets_are_redacted() {
        assert_eq!(without("abba", "xabbabbax"), "x***x");
        assert_eq!(without("", "abc"), "abc");
        let mut forms = Forms::default();
        assert_eq!(forms.longest(), formats::MAX_SECRET);
        forms.add(&[b'x'; formats::MAX_SECRET]);
        assert!(forms.longest() > formats::MAX_SECRET);
        let mut forms = Forms::default();
        forms.add(b"p/ss");
        forms.add(b"p/ss w");
        assert_eq!(forms.redact(b"p/ss w, p/ss"), b"***, ***");
    }
}
