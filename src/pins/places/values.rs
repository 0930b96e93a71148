//! What entries are made of: values that aliases and merges may bring, digests, and placeholders.

use granit_parser::ScalarStyle;

use super::{
    PREFIX,
    yaml::{Document, Id, Kind},
};
use crate::oci::{Digest, Tag};

/// A scalar, or whatever else stands there, as an entry comes to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) node: Id,
    pub(super) via: Via,
}

/// How an entry comes to a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Via {
    /// It is written out.
    Own,
    /// By an alias, which is this node.
    Alias(Id),
    /// By a merge, whose `<<` is this node.
    Merge(Id),
}

impl Via {
    /// The alias or merge key.
    pub(super) fn node(self) -> Option<Id> {
        match self {
            Self::Own => None,
            Self::Alias(node) | Self::Merge(node) => Some(node),
        }
    }
}

/// The value of a key: written in the mapping, or brought by a merge.
pub(super) fn field(document: &Document<'_>, map: Id, key: &str) -> Option<Field> {
    if let Some(value) = document.written(map, key) {
        return through(document, value);
    }
    let (merge, node) = document.merged(map, key)?;
    let via = Via::Merge(merge);
    Some(Field { node, via })
}

/// A value, aliases followed.
pub(super) fn through(document: &Document<'_>, value: Id) -> Option<Field> {
    let node = document.resolved(value)?;
    let via = if node == value {
        Via::Own
    } else {
        Via::Alias(value)
    };
    Some(Field { node, via })
}

/// What a text is as a digest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A placeholder, or anything else that is none.
    None,
    Digest(Digest),
    Malformed,
}

/// The registry that some charts put before every repository. It stands beside the values: at the top
/// of their file, under the `values` of a resource, or of a chart within the chart.
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

/// What a text is as a digest: the same rule as behind a repository.
pub(super) fn shape(text: &str) -> Shape {
    if is_placeholder(text) || text.contains(['@', '/']) {
        return Shape::None;
    }
    let Some((algorithm, digits)) = text.trim_start().split_once(':') else {
        return Shape::None;
    };
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte);
    let named = (1..=32).contains(&algorithm.len()) && algorithm.bytes().all(part);
    if !named || !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Shape::None;
    }
    let hex = text.as_bytes().strip_prefix(PREFIX);
    let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
    hex.and_then(|hex| Digest::from_hex(hex).ok())
        .map_or(Shape::Malformed, Shape::Digest)
}

/// Whether something else is filled in here before the file is read.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.contains("{{") || text.contains("${") || text.starts_with('<') && text.ends_with('>')
}

/// What a scalar is where a digest or a tag is expected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    /// The whole text.
    pub(super) whole: Shape,
    /// The bytes before an `@`, and what stands behind it.
    pub(super) behind: Option<(usize, Shape)>,
    /// Whether what stands where the tag does may stand beside a digest.
    pub(super) fine: bool,
    /// Whether that is a tag which gets the new one: an empty or null one and a placeholder stay.
    pub(super) replaced: bool,
}

impl Content {
    pub(super) fn of(document: &Document<'_>, node: Id) -> Option<Self> {
        let text = document.scalar(node)?;
        let behind = text.split_once('@');
        let behind = behind.map(|(before, after)| (before.len(), shape(after)));
        let tag = match behind {
            Some((before, Shape::Digest(_) | Shape::Malformed)) => &text[..before],
            _ => text,
        };
        let filled_in = tag.is_empty() || is_placeholder(tag);
        let plain = document.node(node).kind == Kind::Scalar(ScalarStyle::Plain);
        let null = plain && matches!(tag, "~" | "null" | "Null" | "NULL");
        Some(Self {
            whole: shape(text),
            behind,
            fine: filled_in || Tag::parse(tag).is_ok(),
            replaced: !filled_in && !null,
        })
    }
}
