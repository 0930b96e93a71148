//! An image without a digest, and the bytes that its digest needs.

use std::ops::Range;

use crate::{
    core::pins::reference::{default_at, split_tag},
    oci::{Digest, Repository, Tag},
};

/// An image that a file names without a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpinned {
    /// The offset of `text`.
    pub(crate) at: usize,
    /// 1-based.
    pub(crate) line: usize,
    /// 1-based, in bytes.
    pub(crate) column: usize,
    /// The reference as written, or joined from the keys of an entry.
    pub(crate) text: String,
    pub(crate) origin: Origin,
    pub(crate) kind: UnpinnedKind,
}

/// The part of a file that contains an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Compose,
    /// A manifest of Kubernetes.
    Manifest,
    /// An entry of Helm values.
    Helm,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnpinnedKind {
    Pinnable(TaggedImage),
    /// The reason why the file cannot get a digest there.
    Refused(String),
}

/// A tag, and the place of its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaggedImage {
    pub(crate) repository: Repository,
    /// `latest` if the reference has none.
    pub(crate) tag: Tag,
    pub(crate) insertion: Insertion,
}

impl TaggedImage {
    /// The name that all references to the image have in common.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.repository.canonical(), self.tag)
    }
}

/// The bytes that a digest replaces, and the text around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Insertion {
    pub(crate) at: Range<usize>,
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Insertion {
    /// Directly after a reference that ends at this offset.
    pub(crate) fn after_reference(end: usize) -> Self {
        Self {
            at: end..end,
            before: "@".to_owned(),
            after: String::new(),
        }
    }

    /// Whether the digest gets a key of its own.
    pub(crate) fn adds_key(&self) -> bool {
        self.before.len() > 1
    }

    pub(crate) fn text(&self, digest: &Digest) -> String {
        format!("{}{digest}{}", self.before, self.after)
    }
}

impl Unpinned {
    /// An image at an offset; the line is counted later.
    pub(crate) fn new(at: usize, text: &str, kind: UnpinnedKind) -> Self {
        Self {
            at,
            line: 0,
            column: 0,
            text: text.to_owned(),
            origin: Origin::Other,
            kind,
        }
    }

    /// The reference in a text at an offset. `is_image`: whether a name without a tag is an image, too. `None` if
    /// the text has a digest or is no reference.
    pub(crate) fn in_text(at: usize, text: &str, is_image: bool) -> Option<Self> {
        let range = name_in(text);
        let name = &text[range.clone()];
        if name.contains('@') {
            return None;
        }
        if let Some(reason) = expression(name) {
            let has_tag = is_image || name.contains(':');
            let refused = UnpinnedKind::Refused(reason.to_owned());
            return has_tag.then(|| Self::new(at, text, refused));
        }
        let (repository, tag) = split_tag(name);
        let tag = tag.or(is_image.then_some(LATEST))?;
        let repository = Repository::parse(repository).ok()?;
        let tag = Tag::parse(tag).ok()?;
        // `sha256:HEX` is the ID of an image.
        if repository.as_str() == "sha256" {
            return None;
        }
        let insertion = Insertion::after_reference(at + range.end);
        let kind = UnpinnedKind::Pinnable(TaggedImage {
            repository,
            tag,
            insertion,
        });
        Some(Self::new(at, text, kind))
    }
}

/// The tag of a reference that may contain variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReferenceTag {
    Missing,
    /// A variable is part of it.
    Variable,
    Tag(Tag),
}

/// The repository and the tag of a reference without a digest. A variable in the repository has its default; without one,
/// the repository is unknown.
pub(in crate::core::pins) fn with_defaults(name: &str) -> Option<(Repository, ReferenceTag)> {
    // Neither of these characters is part of a reference.
    const VARIABLE: char = '\u{1}';
    const UNKNOWN: char = '\u{2}';
    let mut expanded = String::new();
    let mut rest = name;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        expanded.push(VARIABLE);
        let variable = &rest[at + 1..];
        let (default, end) = if let Some(inner) = variable.strip_prefix('{') {
            let end = inner.find('}')?;
            let inner = &inner[..end];
            (default_at(inner).map(|default| &inner[default..]), end + 2)
        } else {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            (
                None,
                variable.find(|c| !is_part(c)).unwrap_or(variable.len()),
            )
        };
        match default {
            Some(default) => expanded.push_str(default),
            None => expanded.push(UNKNOWN),
        }
        rest = &variable[end..];
    }
    expanded.push_str(rest);
    let (repository, tag) = split_tag(&expanded);
    let repository = Repository::parse(&repository.replace(VARIABLE, "")).ok()?;
    let tag = match tag {
        None => ReferenceTag::Missing,
        Some(tag) if tag.contains(VARIABLE) => ReferenceTag::Variable,
        Some(tag) => ReferenceTag::Tag(Tag::parse(tag).ok()?),
    };
    Some((repository, tag))
}

/// The tag of a reference without one.
pub(in crate::core::pins) const LATEST: &str = "latest";

/// The range of the reference in a text: after a scheme, or the default of a variable.
pub(in crate::core::pins) fn name_in(text: &str) -> Range<usize> {
    let start = text
        .strip_prefix("docker://")
        .map_or(0, |rest| text.len() - rest.len());
    let name = &text[start..];
    let Some(inner) = name
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
    else {
        return start..text.len();
    };
    match default_at(inner) {
        Some(default) if expression(&inner[default..]).is_none() => {
            let end = text.len() - 1;
            end - inner.len() + default..end
        }
        _ => start..text.len(),
    }
}

/// The reason to refuse a reference that is only complete after a replacement.
fn expression(name: &str) -> Option<&'static str> {
    if name.contains('$') {
        return Some(
            "a variable is part of the reference: write the digest where its value is set",
        );
    }
    let is_template = name.contains("{{") || name.contains("<%");
    is_template.then_some("a template is part of the reference")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, is_image: bool) -> Option<String> {
        let found = Unpinned::in_text(10, text, is_image)?;
        Some(match found.kind {
            UnpinnedKind::Pinnable(image) => {
                let at = image.insertion.at.start - 10;
                format!("{} {} {at}", image.repository, image.tag)
            }
            UnpinnedKind::Refused(reason) => {
                reason.split(' ').take(2).collect::<Vec<_>>().join(" ")
            }
        })
    }

    #[test]
    fn references_without_a_digest_are_found() {
        for (text, expected) in [
            ("nginx:1.27", Some("nginx 1.27 10")),
            ("nginx", Some("nginx latest 5")),
            ("ghcr.io/acme/app:v1", Some("ghcr.io/acme/app v1 19")),
            ("localhost:5000/app", Some("localhost:5000/app latest 18")),
            ("localhost:5000/app:v1", Some("localhost:5000/app v1 21")),
            ("docker://alpine:3", Some("alpine 3 17")),
            ("${IMAGE:-nginx:1.27}", Some("nginx 1.27 19")),
            ("${IMAGE-nginx}", Some("nginx latest 13")),
            ("${IMAGE}", Some("a variable")),
            ("app:${TAG:-v1}", Some("a variable")),
            ("${HOST:-ghcr.io}/app:v1", Some("a variable")),
            ("${IMAGE:-app:${TAG}}", Some("a variable")),
            ("{{ .Values.image }}:v1", Some("a template")),
            ("nginx:1.27@sha256:abc", None),
            ("${IMAGE:-nginx@sha256:abc}", None),
            ("sha256:0123", None),
            ("https://example.org/a.png", None),
            ("Logo file.png", None),
            ("a:b:c", None),
            ("", None),
        ] {
            assert_eq!(found(text, true).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn variables_have_their_defaults_in_a_repository() {
        let tag = |text| ReferenceTag::Tag(Tag::parse(text).unwrap());
        for (name, expected) in [
            ("r.example/a", Some(ReferenceTag::Missing)),
            ("r.example/a:v1", Some(tag("v1"))),
            ("r.example/a:${TAG:-v1}", Some(ReferenceTag::Variable)),
            ("r.example/a:v$TAG", Some(ReferenceTag::Variable)),
            ("${R:-r.example}/a:v1", Some(tag("v1"))),
            ("${R-r.example}/a", Some(ReferenceTag::Missing)),
            ("r.example/${N:-a}:$TAG", Some(ReferenceTag::Variable)),
            ("${R}/a:v1", None),
            ("$R/a:v1", None),
            ("r.example/a${SUFFIX}", None),
            ("r.example/a:${TAG", None),
            ("${R:-${S}}/a", None),
            ("$", None),
            ("", None),
        ] {
            let found = with_defaults(name);
            let expected = expected.map(|tag| (Repository::parse("r.example/a").unwrap(), tag));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn word_of_unknown_purpose_needs_a_tag() {
        assert_eq!(found("nginx:1", false).as_deref(), Some("nginx 1 7"));
        assert_eq!(found("nginx", false), None);
        assert_eq!(found("$IMAGE", false), None);
        assert_eq!(found("app:$TAG", false).as_deref(), Some("a variable"));
    }
}
