//! Values of Helm in strings: `helm.values: |` of Argo CD, the keys of a `ConfigMap` that
//! Flux reads.
//!
//! A string is read like a file. The findings of a literal block scalar are moved to their offsets in
//! the text around it; those of any other string are refused, because its bytes are not its text.
//!
//! Plain YAML scalars that are not text for a reader.
//!
//! The values of entries: fields, which may come from an alias or a merge, digests, and placeholders.

use std::{collections::BTreeSet, ops::Range};

use granit_parser::ScalarStyle;

use super::{
    File, Finding, FindingKind,
    unreadable::value_at,
    yaml::{self, Document, Fault, Id, Kind},
};
use crate::{
    config::YamlKind,
    core::pins::{digests::runs_in, scan::DigestForm},
    oci::{Digest, Tag},
};

/// The maximum number of strings in strings, which bounds the time.
const DEPTH: usize = 4;

/// The strings of one document.
struct Strings<'s> {
    file: &'s File<'s>,
    document: &'s Document<'s>,
    place: usize,
    kind: &'s YamlKind,
    /// The number of strings that contain the document.
    depth: usize,
}

/// The findings in the strings of a document.
pub(super) fn find(
    file: &File<'_>,
    document: &Document<'_>,
    place: usize,
    kind: &YamlKind,
    depth: usize,
) -> Vec<Finding> {
    let strings = Strings {
        file,
        document,
        place,
        kind,
        depth,
    };
    let mut findings = Vec::new();
    for id in document.ids() {
        // Every entry has this key.
        let text = document
            .scalar(id)
            .filter(|text| text.contains("repository"));
        if let Some(text) = text.filter(|text| text.contains(':')) {
            findings.extend(strings.read(id, text));
        }
    }
    findings
}

impl Strings<'_> {
    fn read(&self, id: Id, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        let parsed = if self.depth == DEPTH {
            let reason = format!("it is nested in more than {DEPTH} strings");
            Err(Fault { at: 0, reason })
        } else {
            yaml::documents(text, |nested| {
                found.extend(
                    self.file
                        .findings(nested, self.place, self.kind, self.depth + 1),
                );
            })
        };
        if let Err(fault) = parsed {
            return self.unreadable(id, text, &fault).into_iter().collect();
        }
        if found.is_empty() {
            return found;
        }
        match self.lines(id, text) {
            Ok(lines) => {
                let moved = found.into_iter().map(|one| self.moved(one, id, &lines));
                moved.collect()
            }
            Err(reason) => {
                let at = self.document.span(id).start;
                let refused = |image| Finding::refused(self.place, image, at, reason.clone());
                let images: BTreeSet<_> = found.iter().map(|one| one.image).collect();
                images.into_iter().map(refused).collect()
            }
        }
    }

    /// The lines of a string, or the reason for which its values cannot be changed.
    fn lines(&self, id: Id, text: &str) -> Result<Lines, String> {
        let document = self.document;
        let is_literal = document.node(id).kind == Kind::Scalar(ScalarStyle::Literal);
        if !is_literal || document.node(id).tagged {
            return Err("an entry is in a string of which the bytes are not its text: write it as a mapping, or as a block scalar with `|`".to_owned());
        }
        if let Some(second) = document.duplicate_above(id) {
            let key = super::key_excerpt(document, second);
            return Err(format!(
                "an entry is in a string below the duplicate key `{key}`: readers take the first or the last one"
            ));
        }
        // An encrypted string has no entry.
        if is_signed(document, None) {
            return Err("an entry is in a string of a document that SOPS signed (`sops.mac`), and would not decrypt after a change".to_owned());
        }
        Lines::of(document, id, text).ok_or_else(|| {
            "an entry is in a block scalar of which the lines differ from its text".to_owned()
        })
    }

    /// A finding in a string as one of the text around it.
    fn moved(&self, finding: Finding, id: Id, lines: &Lines) -> Finding {
        let document = self.document;
        let at = lines.offset(finding.at);
        let refused =
            |reason: &str| Finding::refused(self.place, finding.image, at, reason.to_owned());
        let (digest, tag, mut split) = match finding.kind {
            FindingKind::Refused(reason) => return refused(&reason),
            FindingKind::Pin { digest, tag, split } => (digest, tag, split),
        };
        let pointers = document.pointer(id).zip(split.pointer.take());
        let pointer = pointers.map(|(string, own)| string + &own);
        let Some(pointer) = pointer.filter(|pointer| pointer.len() <= yaml::POINTER) else {
            return refused("the keys above this digest are too long");
        };
        split.pointer = Some(pointer);
        split.document = Some(document.number);
        for edit in &mut split.tags {
            edit.at = lines.range(&edit.at);
            edit.scalar = lines.range(&edit.scalar);
        }
        split.comment = split.comment.map(|comment| lines.range(&comment));
        let kind = FindingKind::Pin { digest, tag, split };
        Finding {
            at,
            kind,
            ..finding
        }
    }

    /// The refusal of a string that is not YAML but contains an image and a digest that is no part of
    /// a reference.
    fn unreadable(&self, id: Id, text: &str, fault: &Fault) -> Option<Finding> {
        let mut has_value = false;
        runs_in(text.as_bytes(), 0..text.len(), |run| {
            let at = value_at(text.as_bytes(), &run);
            has_value |= at.is_some_and(|at| !text[..at].ends_with('@'));
        });
        let image = self.file.rules.image_named_in(text.as_bytes())?;
        let reason = format!(
            "this string names the image and holds a digest, but cannot be read as YAML: {}",
            fault.reason
        );
        let at = self.document.span(id).start;
        has_value.then(|| Finding::refused(self.place, Some(image), at, reason))
    }
}

/// The lines of a literal block scalar: the offset of each in its text and in the text around it, after the
/// indentation.
struct Lines(Vec<Line>);

#[derive(Debug, Clone, Copy)]
struct Line {
    inner: usize,
    outer: usize,
}

impl Lines {
    /// `None` if the lines of the source differ from those of the text.
    fn of(document: &Document<'_>, id: Id, text: &str) -> Option<Self> {
        let source = document.text;
        let start = document.span(id).start;
        let mut outer = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let mut outer_lines = source[outer..].split_inclusive('\n');
        let (mut lines, mut inner, mut indent) = (Vec::new(), 0, None);
        for line in text.split_inclusive('\n') {
            let content = line.trim_end_matches('\n');
            if content.trim().is_empty() {
                inner += line.len();
                if indent.is_some() {
                    outer += outer_lines.next()?.len();
                }
                continue;
            }
            let mut source_line = outer_lines.next()?;
            while indent.is_none() && source_line.trim().is_empty() {
                outer += source_line.len();
                source_line = outer_lines.next()?;
            }
            let source_content = source_line.trim_end_matches('\n');
            let source_content = source_content.strip_suffix('\r').unwrap_or(source_content);
            let before = source_content.strip_suffix(content)?;
            let is_indent = *indent.get_or_insert(before.len()) == before.len();
            if !is_indent || before.bytes().any(|byte| byte != b' ') {
                return None;
            }
            lines.push(Line {
                inner,
                outer: outer + before.len(),
            });
            inner += line.len();
            outer += source_line.len();
        }
        Some(Self(lines))
    }

    fn offset(&self, inner: usize) -> usize {
        let after = self.0.partition_point(|line| line.inner <= inner);
        let line = self.0.get(after.saturating_sub(1));
        line.map_or(0, |line| line.outer + inner.saturating_sub(line.inner))
    }

    /// A range within one line.
    fn range(&self, inner: &Range<usize>) -> Range<usize> {
        let start = self.offset(inner.start);
        start..start + inner.len()
    }
}

/// Whether a plain tag is a number, a boolean, null or a date in YAML 1.1 or 1.2.
pub(in crate::core::pins) fn needs_quotes(tag: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "true", "false", "on", "off", "null"];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(tag)) || is_number(tag) || is_date(tag)
}

fn is_number(tag: &str) -> bool {
    if !tag.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let plain = tag.replace('_', "");
    let digits = |digits: &str, radix| {
        !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
    };
    let based = [("0x", 16), ("0X", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .any(|(prefix, radix)| {
            let rest = plain.strip_prefix(prefix);
            rest.is_some_and(|rest| digits(rest, *radix))
        });
    based || plain.parse::<f64>().is_ok()
}

/// `2026-11-21`.
fn is_date(tag: &str) -> bool {
    let parts: Vec<_> = tag.split('-').collect();
    let digits = |part: &str, lengths: &[usize]| {
        lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    matches!(parts.as_slice(), [year, month, day]
        if digits(year, &[4]) && digits(month, &[1, 2]) && digits(day, &[1, 2]))
}

/// The value of a field of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) node: Id,
    pub(super) via: Via,
}

/// The origin of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Via {
    /// Written in the entry.
    Own,
    Alias(Id),
    /// A merge with this key `<<`.
    Merge(Id),
}

impl Via {
    /// The node of the alias or merge key.
    pub(super) fn node(self) -> Option<Id> {
        match self {
            Self::Own => None,
            Self::Alias(node) | Self::Merge(node) => Some(node),
        }
    }
}

/// The value of a key, from the mapping or a merge.
pub(super) fn field(document: &Document<'_>, map: Id, key: &str) -> Option<Field> {
    if let Some(value) = document.written(map, key) {
        return Some(through(document, value));
    }
    let (merge, node) = document.merged(map, key)?;
    let via = Via::Merge(merge);
    Some(Field { node, via })
}

/// A value; aliases are resolved, unless their anchor is missing.
pub(super) fn through(document: &Document<'_>, value: Id) -> Field {
    match document.resolved(value) {
        Some(node) if node != value => Field {
            node,
            via: Via::Alias(value),
        },
        _ => Field {
            node: value,
            via: Via::Own,
        },
    }
}

/// The form of a text where a digest is expected.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A placeholder, or a tag.
    None,
    Digest(Digest, DigestForm),
    Malformed,
}

/// Whether a value is empty or null.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null")
}

/// The registry that some charts put before every repository. It is at the top of the values file, or
/// under the `values` of a resource or of a subchart.
pub(super) fn global_registry<'d>(document: &'d Document<'_>, entry: Id) -> Option<&'d str> {
    let mut above = document.ancestors(entry);
    above.find_map(|map| registry_of(document, document.get(map, "global")?))
}

fn registry_of<'d>(document: &'d Document<'_>, global: Id) -> Option<&'d str> {
    let text = |id: Id| document.scalar(id).filter(|text| !is_null(text));
    let nested = || document.get(document.get(global, "image")?, "registry");
    let first = document.get(global, "imageRegistry").and_then(text);
    first.or_else(|| nested().and_then(text))
}

/// Whether SOPS signed a document as a whole, or only its encrypted values if a part of `entry` is one.
pub(super) fn is_signed(document: &Document<'_>, entry: Option<Id>) -> bool {
    let sops = document.root.and_then(|root| document.get(root, "sops"));
    let Some(sops) = sops.filter(|sops| document.get(*sops, "mac").is_some()) else {
        return false;
    };
    let only = document.get(sops, "mac_only_encrypted");
    let encrypted = |(_, value): (Id, Id)| {
        let text = document.resolved(value).and_then(|id| document.scalar(id));
        text.is_some_and(|text| text.starts_with("ENC["))
    };
    only.and_then(|only| document.scalar(only)) != Some("true")
        || entry.is_some_and(|entry| document.map(entry).any(encrypted))
}

/// The form of a text that must be a digest or a placeholder.
fn digest_shape(text: &str) -> Shape {
    if text.is_empty() || is_placeholder(text) {
        return Shape::None;
    }
    let (hex, form) = match text.strip_prefix("sha256:") {
        Some(hex) => (hex, DigestForm::Prefixed),
        None => (text, DigestForm::Bare),
    };
    let digest = Digest::from_hex(hex);
    digest.map_or(Shape::Malformed, |digest| Shape::Digest(digest, form))
}

/// The form of a text that is a tag, or a digest with its algorithm.
fn tag_shape(text: &str) -> Shape {
    let Some((algorithm, digits)) = text.trim_start().split_once(':') else {
        return Shape::None;
    };
    let named = (1..=32).contains(&algorithm.len())
        && algorithm
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte));
    if !named || !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Shape::None;
    }
    digest_shape(text)
}

/// Whether a template replaces this text before the file is used.
pub(super) fn is_placeholder(text: &str) -> bool {
    let is_bracketed = || {
        let opened = text.split_once('<');
        opened.is_some_and(|(_, rest)| rest.contains('>'))
    };
    text.contains("{{") || text.contains("${") || is_bracketed()
}

/// The meaning of a scalar where a digest or a tag is expected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    /// The form of the whole text as a digest.
    pub(super) digest: Shape,
    /// The form of the whole text in place of a tag.
    pub(super) in_tag: Shape,
    /// The length of the text before an `@`, and the form of the text after it.
    pub(super) suffix: Option<(usize, Shape)>,
    /// Whether the tag is well-formed, a placeholder or empty.
    pub(super) well_formed: bool,
    /// Whether the tag is replaced: an empty tag, null and a placeholder stay.
    pub(super) replaced: bool,
}

impl Content {
    pub(super) fn of(document: &Document<'_>, node: Id) -> Self {
        let Some(text) = document.scalar(node) else {
            return Self::from_collection(document, node);
        };
        let plain = document.node(node).kind == Kind::Scalar(ScalarStyle::Plain);
        let is_null = |text: &str| plain && matches!(text, "~" | "null" | "Null" | "NULL");
        let suffix = text.split_once('@').map(|(before, after)| {
            let shape = match digest_shape(after) {
                // Digits alone after an `@` are no reference.
                Shape::Digest(_, DigestForm::Bare) => Shape::Malformed,
                shape => shape,
            };
            (before.len(), shape)
        });
        let tag = match suffix {
            Some((before, Shape::Digest(..) | Shape::Malformed)) => &text[..before],
            _ => text,
        };
        let filled_in = tag.is_empty() || is_placeholder(tag);
        Self {
            digest: if is_null(text) {
                Shape::None
            } else {
                digest_shape(text)
            },
            in_tag: tag_shape(text),
            suffix,
            well_formed: filled_in || Tag::parse(tag).is_ok(),
            replaced: !filled_in && !is_null(tag),
        }
    }

    /// A list or a mapping, which an unquoted `{{ … }}` is too, or an alias without its anchor.
    fn from_collection(document: &Document<'_>, node: Id) -> Self {
        let text = &document.text[document.span(node).start..];
        let digest = if text.starts_with("{{") {
            Shape::None
        } else {
            Shape::Malformed
        };
        Self {
            digest,
            in_tag: Shape::None,
            suffix: None,
            well_formed: true,
            replaced: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_stays_plain() {
        for tag in [
            "1234e56",
            "0012",
            "yes",
            "No",
            "on",
            "null",
            "1",
            "1.5",
            "1_000",
            "0x1f",
            "0o17",
            "1.",
            "2026-11-21",
            "1e5",
            "1e-5",
            "TRUE",
            "y",
        ] {
            assert!(needs_quotes(tag), "{tag}");
        }
        for tag in [
            "v1",
            "1.2.3",
            "1a",
            "sha-1",
            "main",
            "yesterday",
            "1234e56a",
            "nan",
            "inf",
            "0x",
            "0xg",
            "e5",
            "2026-11",
            "abcd-11-21",
            "20-11-21",
            "_1",
        ] {
            assert!(!needs_quotes(tag), "{tag}");
        }
    }
}
