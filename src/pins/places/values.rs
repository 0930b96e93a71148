//! The values of entries: fields, which may come from an alias or a merge, digests, and placeholders.

use granit_parser::ScalarStyle;

use super::yaml::{Document, Id, Kind};
use crate::oci::{Digest, Tag};

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
        return through(document, value);
    }
    let (merge, node) = document.merged(map, key)?;
    let via = Via::Merge(merge);
    Some(Field { node, via })
}

/// A value; aliases are resolved.
pub(super) fn through(document: &Document<'_>, value: Id) -> Option<Field> {
    let node = document.resolved(value)?;
    let via = if node == value {
        Via::Own
    } else {
        Via::Alias(value)
    };
    Some(Field { node, via })
}

/// The form of a text where a digest is expected.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Not a digest, for example a placeholder.
    None,
    Digest(Digest),
    Malformed,
}

/// The registry that some charts put before every repository. It is at the top of the values file, or
/// under the `values` of a resource or of a subchart.
pub(super) fn global_registry<'d>(document: &'d Document<'_>, entry: Id) -> Option<&'d str> {
    let mut above = document.ancestors(entry);
    above.find_map(|map| registry_of(document, document.get(map, "global")?))
}

fn registry_of<'d>(document: &'d Document<'_>, global: Id) -> Option<&'d str> {
    let text = |id: Id| {
        let text = document.scalar(id)?;
        (!matches!(text, "" | "~" | "null")).then_some(text)
    };
    let nested = || document.get(document.get(global, "image")?, "registry");
    let first = document.get(global, "imageRegistry").and_then(text);
    first.or_else(|| nested().and_then(text))
}

/// The form of a text as a digest, by the same rule as after a repository.
pub(super) fn shape(text: &str) -> Shape {
    if is_placeholder(text) || text.contains(['@', '/']) {
        return Shape::None;
    }
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
    let hex = text.strip_prefix("sha256:");
    let digest = hex.and_then(|hex| Digest::from_hex(hex).ok());
    digest.map_or(Shape::Malformed, Shape::Digest)
}

/// Whether a template replaces this text before the file is used.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.contains("{{") || text.contains("${") || text.starts_with('<') && text.ends_with('>')
}

/// The meaning of a scalar where a digest or a tag is expected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    /// The form of the whole text.
    pub(super) whole: Shape,
    /// The length of the text before an `@`, and the form of the text after it.
    pub(super) suffix: Option<(usize, Shape)>,
    /// Whether the tag is well-formed, a placeholder or empty.
    pub(super) well_formed: bool,
    /// Whether the tag is replaced: an empty tag, null and a placeholder stay.
    pub(super) replaced: bool,
}

impl Content {
    pub(super) fn of(document: &Document<'_>, node: Id) -> Option<Self> {
        let text = document.scalar(node)?;
        let suffix = text
            .split_once('@')
            .map(|(before, after)| (before.len(), shape(after)));
        let tag = match suffix {
            Some((before, Shape::Digest(_) | Shape::Malformed)) => &text[..before],
            _ => text,
        };
        let filled_in = tag.is_empty() || is_placeholder(tag);
        let plain = document.node(node).kind == Kind::Scalar(ScalarStyle::Plain);
        let null = plain && matches!(tag, "~" | "null" | "Null" | "NULL");
        Some(Self {
            whole: shape(text),
            suffix,
            well_formed: filled_in || Tag::parse(tag).is_ok(),
            replaced: !filled_in && !null,
        })
    }
}
