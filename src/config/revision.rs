//! The form of revisions, and where images record them: the block `revision`.

use super::{
    keys::{block, choice, choices},
    tag_template::{RevisionLength, TagForm, TagTemplate},
    types::{Text, text_type},
};
use crate::oci::{
    Pattern, Revision, Tag,
    registry::{RevisionField, RevisionSource},
};

block! {
    /// The form of a revision, and its place in an image.
    pub struct Revisions {
        /// A regular expression for the whole revision, or `semver` for the versions of semver.org.
        pattern: Pattern = "[0-9a-f]{40}",
        /// The tag of a revision. `{revision:N}` is replaced with its first N digits, with N from 7
        /// to 40, and `*` matches any text.
        tag: TagTemplate = "{revision}",
        /// The label, or with `from` the annotation, that must contain the revision on every platform.
        label: Text = "org.opencontainers.image.revision",
        /// Where an image records the revision under the name in `label`: in its `label`, in an
        /// `annotation` of its manifest or index, or in `either`, which must agree if both exist.
        from: RevisionSource = "label",
        /// A promotion of unknown order: `warn`, or refuse it (`require`).
        order: OrderPolicy = "warn",
        /// Whether `newest` selects a pre-release of a version (`pattern: semver`) although the current set is none.
        prerelease: bool = false,
    }
    with |_fields| {
        /// The form of the tags.
        tag_form: TagForm = tag.form(&pattern),
    }
    rules |fields| {
        if let (Some(pattern), Some(tag), Some(node)) = (&pattern, &tag, fields.node("tag"))
            && pattern.is_semver()
            && tag.length() != RevisionLength::Full
        {
            let message = "a version is not abbreviated: write `{revision}`";
            fields.problems.report(node.span, message);
        }
    }
}

text_type!(
    Pattern => Pattern,
    "regular expression or `semver`",
    {"type": "string", "minLength": 1},
    Pattern::parse
);

choices! {
    /// The verdict on a promotion that may be older than the current set.
    pub enum OrderPolicy {
        Warn = "warn",
        Require = "require",
    }
}

choice!(RevisionSource);

impl Revisions {
    /// The field of an image that states its revision.
    pub fn field(&self) -> RevisionField<'_> {
        RevisionField {
            name: &self.label,
            source: self.from,
        }
    }

    /// The tag of a revision; `None` for a pattern with `*`.
    pub fn exact_tag(&self, revision: &Revision) -> Option<Tag> {
        self.tag.tag(revision).ok()?.tag().cloned()
    }
}
