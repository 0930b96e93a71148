//! Repositories of images before a digest in text that hides where the name begins or ends.
//!
//! Such a digest is never a pin, because it cannot be moved safely, but it is reported. A name is found
//! although it is escaped, after another host, after a variable, or separated from the digest by quotes.

use std::{borrow::Cow, collections::HashMap};

use memchr::memmem;

use super::{
    reference::{escape, is_variable},
    scan::PREFIX,
};
use crate::{
    base::text::hex_value,
    oci::{Repository, host_spellings},
};

/// The names of repositories by their last components.
#[derive(Debug, Default)]
pub(super) struct EmbeddedNames(HashMap<String, Vec<Form>>);

/// A spelling of the path of an image's repository.
#[derive(Debug)]
struct Form {
    image: usize,
    hosts: Vec<String>,
    path: String,
    /// Whether the path alone is a name of the repository.
    is_name: bool,
}

/// The maximum length of the text between a name and its digest.
const MAX_BETWEEN: usize = 192;

impl EmbeddedNames {
    /// For these repositories; an image is the index in this list.
    pub(super) fn new<'r>(repositories: impl IntoIterator<Item = &'r Repository>) -> Self {
        let mut names = Self::default();
        for (image, repository) in repositories.into_iter().enumerate() {
            let is_name = repository.is_on_hub();
            let paths = [Some(repository.path()), repository.official_name()];
            for path in paths.into_iter().flatten() {
                let last = path.rsplit('/').next().unwrap_or(path).to_owned();
                names.0.entry(last).or_default().push(Form {
                    image,
                    hosts: host_spellings(repository.host()),
                    path: path.to_owned(),
                    is_name,
                });
            }
        }
        names
    }

    /// The image that the text before a digest names.
    pub(super) fn image_before(&self, text: &[u8]) -> Option<usize> {
        if !may_end_with_name(text) {
            return None;
        }
        let word = last_word(text);
        let decoded = decoded(word);
        let word = last_word(&decoded);
        let word = without_algorithm(word);
        if let Some(name) = word.strip_suffix(b"/manifests/") {
            return self.in_url(name);
        }
        let at = memchr::memrchr(b'@', word)?;
        let between = &word[at + 1..];
        if !between.iter().all(|byte| is_between(*byte)) {
            return None;
        }
        self.at_end(&word[..at])
    }

    /// The image of which the registry's API serves a manifest at `HOST/v2/PATH`.
    fn in_url(&self, url: &[u8]) -> Option<usize> {
        let version = memmem::rfind(url, b"/v2/")?;
        let name = [&url[..version], &url[version + "/v2".len()..]].concat();
        self.at_end(&name)
    }

    /// The image of the last name in a text; only a tag and closing characters may follow it.
    fn at_end(&self, text: &[u8]) -> Option<usize> {
        let mut end = text.len();
        while end > 0 {
            let start = text[..end].iter().rposition(|byte| !is_in_component(*byte));
            let start = start.map_or(0, |at| at + 1);
            let (component, length) = trimmed(&text[start..end]);
            let (named, after) = text.split_at(start + length);
            if !may_follow(after) {
                return None;
            }
            let component = std::str::from_utf8(component).ok();
            let forms = component.and_then(|last| self.0.get(last));
            let mut forms = forms.into_iter().flatten();
            if let Some(form) = forms.find(|form| form.ends(named)) {
                return Some(form.image);
            }
            end = start.saturating_sub(1);
        }
        None
    }
}

impl Form {
    /// Whether a text ends with this name, and not with a longer one.
    fn ends(&self, text: &[u8]) -> bool {
        let Some(before) = text.strip_suffix(self.path.as_bytes()) else {
            return false;
        };
        let Some(registry) = before.strip_suffix(b"/") else {
            let is_part = before.last().is_some_and(|byte| is_in_component(*byte));
            return !is_part && (self.is_name || ends_with_variable(before));
        };
        // One spelling of a host may end with another.
        let is_host = |host: &String| {
            ends_with_ignoring_case(registry, host)
                && is_host_start(&registry[..registry.len() - host.len()], host)
        };
        if self.hosts.iter().any(is_host) {
            return true;
        }
        let is_registry = registry.last().is_some_and(|byte| is_in_component(*byte));
        ends_with_variable(registry) || self.is_name && !is_registry
    }
}

/// Whether a host starts after a text, rather than a longer host.
fn is_host_start(before: &[u8], host: &str) -> bool {
    let label = before.iter().rposition(|byte| !is_in_component(*byte));
    let label = &before[label.map_or(0, |at| at + 1)..];
    let Ok(label) = std::str::from_utf8(label) else {
        return true;
    };
    label.is_empty() || Repository::parse(&format!("{label}{host}/x")).is_err()
}

fn ends_with_ignoring_case(text: &[u8], end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    start.is_some_and(|start| text[start..].eq_ignore_ascii_case(end.as_bytes()))
}

/// Whether a text ends with a variable or a template, which may contain the registry.
fn ends_with_variable(text: &[u8]) -> bool {
    let name = text.iter().rev().take_while(|byte| is_variable(**byte));
    let name = name.count();
    let before = &text[..text.len() - name];
    matches!(
        text.last(),
        Some(b'}' | b')' | b'>' | b'%' | b'"' | b'\'' | b'`')
    ) || name > 0 && before.ends_with(b"$")
}

/// Whether the text after a component may follow a name: it is empty, a tag, or begins with a character
/// that ends the name.
fn may_follow(text: &[u8]) -> bool {
    let is_end = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'/';
    text.first().is_none_or(is_end) && !text.iter().any(|byte| b"/,;|".contains(byte))
}

/// A component without separators at its ends, and the offset of its end.
fn trimmed(text: &[u8]) -> (&[u8], usize) {
    let is_separator = |byte: &&u8| b"._-".contains(byte);
    let end = text.len() - text.iter().rev().take_while(is_separator).count();
    let start = text[..end].iter().take_while(is_separator).count();
    (&text[start..end], end)
}

pub(super) fn is_in_component(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// Whether a byte may be between an `@` and a digest: of a variable, quotes, or an algorithm.
fn is_between(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_${}()\"'`:=?+.-[]\\".contains(&byte)
}

/// Whether a digest after this text may belong to a name, by the last bytes: an `@` in any spelling, or the
/// path of a manifest.
fn may_end_with_name(text: &[u8]) -> bool {
    let near = &text[text.len().saturating_sub(MAX_BETWEEN)..];
    memchr::memchr(b'@', near).is_some()
        || memmem::find(near, b"40").is_some()
        || memmem::find(near, b"64;").is_some()
        || memmem::find(near, b"manifests").is_some()
}

/// The text after the last blank or control character.
fn last_word(text: &[u8]) -> &[u8] {
    let blank = text.iter().rposition(|byte| *byte <= b' ');
    &text[blank.map_or(0, |at| at + 1)..]
}

/// A text without `sha256:` at its end.
fn without_algorithm(text: &[u8]) -> &[u8] {
    text.strip_suffix(PREFIX).unwrap_or(text)
}

/// A text with the characters that escapes of strings, URLs and HTML stand for.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr3(b'\\', b'%', b'&', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = &text[at + 1..];
        let (length, character) = match byte {
            b'\\' => backslash(rest),
            b'%' => hex_escape(rest).unwrap_or((0, b'%')),
            b'&' => entity(rest).unwrap_or((0, b'&')),
            _ => (0, byte),
        };
        decoded.push(character);
        at += 1 + length;
    }
    Cow::Owned(decoded)
}

/// The length and the character of an escape after its backslash. A string in a string has more
/// backslashes.
fn backslash(text: &[u8]) -> (usize, u8) {
    let more = text.iter().take_while(|byte| **byte == b'\\').count();
    let text = &text[more..];
    match (escape(text), text.first()) {
        (Some((length, character)), _) => (more + length, character),
        (None, Some(byte)) if byte.is_ascii_punctuation() => (more + 1, *byte),
        _ => (more, b'\\'),
    }
}

/// The length and the character of an escape in a URL.
fn hex_escape(text: &[u8]) -> Option<(usize, u8)> {
    Some((2, u8::try_from(hex_value(text.get(..2)?)?).ok()?))
}

/// The length and the character of a numeric reference in HTML or XML.
fn entity(text: &[u8]) -> Option<(usize, u8)> {
    let end = text.iter().take(8).position(|byte| *byte == b';')?;
    let number = std::str::from_utf8(text[..end].strip_prefix(b"#")?).ok()?;
    let character = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u8::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    Some((end + 1, character))
}
