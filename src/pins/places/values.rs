//! What entries are made of: values that aliases and merges may bring, digests, placeholders, and
//! the comments behind them.

use std::ops::Range;

use super::{
    PREFIX,
    yaml::{Document, Id},
};
use crate::oci::Digest;

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
    lookup(document, map, key, 0)
}

fn lookup(document: &Document<'_>, map: Id, key: &str, depth: usize) -> Option<Field> {
    let entries = document.map(map);
    if let Some((_, value)) = entries
        .iter()
        .find(|(name, _)| document.scalar(*name) == Some(key))
    {
        let node = document.resolved(*value)?;
        let via = if node == *value {
            Via::Own
        } else {
            Via::Alias(*value)
        };
        return Some(Field { node, via });
    }
    // Of the mappings that are merged, the first that has the key counts.
    if depth > 16 {
        return None;
    }
    let merges = entries
        .iter()
        .filter(|(name, _)| document.scalar(*name) == Some("<<"));
    for (merge, value) in merges {
        let target = document.resolved(*value)?;
        let several = document.list(target).iter();
        let several = several.filter_map(|item| document.resolved(*item));
        for map in std::iter::once(target).chain(several) {
            if let Some(Field { node, .. }) = lookup(document, map, key, depth + 1) {
                let via = Via::Merge(*merge);
                return Some(Field { node, via });
            }
        }
    }
    None
}

/// What a text is as a digest.
pub(super) enum Shape {
    /// A placeholder, or anything else that is none.
    None,
    Digest(Digest),
    Malformed,
}

/// The registry that some charts put before every repository.
pub(super) fn global_registry<'d>(document: &'d Document<'_>) -> Option<&'d str> {
    let global = document.get(document.root?, "global")?;
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

/// The text of the comment at the end of the line that a scalar ends in, behind its `#`.
pub(super) fn comment_behind(document: &Document<'_>, scalar: Id) -> Option<Range<usize>> {
    let from = document.span(scalar).end;
    let text = document.text.get(from..)?;
    let line = text.lines().next().unwrap_or_default();
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') if at > 0 && before.is_whitespace() => {
                return Some(from + at + 1..from + line.len());
            }
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            _ => {}
        }
        before = c;
    }
    None
}
