//! The values of entries: fields, which may come from an alias or a merge, digests, and placeholders.

use granit_parser::ScalarStyle;

use super::yaml::{Document, Id, Kind};
use crate::{
    core::pins::scan::DigestForm,
    oci::{Digest, Tag},
};

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
            return Self::of_collection(document, node);
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
    fn of_collection(document: &Document<'_>, node: Id) -> Self {
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
