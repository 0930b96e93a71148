//! Values of Helm in strings: `helm.values: |` of Argo CD, the keys of a `ConfigMap` that
//! Flux reads.
//!
//! A string is read like a file. The findings of a literal block scalar are moved to their offsets in
//! the text around it; those of any other string are refused, because its bytes are not its text.

use std::{collections::BTreeSet, ops::Range};

use granit_parser::ScalarStyle;

use super::{
    File, Finding, FindingKind,
    unreadable::value_at,
    values::is_signed,
    yaml::{self, Document, Fault, Id, Kind},
};
use crate::{config::YamlKind, core::pins::digests::runs_in};

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
