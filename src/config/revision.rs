//! The form of revisions, and where images record them: the block `revision`.
//!
//! The evidence that a set was promoted: the block `provenance`.

use super::{
    keys::{block, choice, choices, refined_type},
    reader::ErrorCollector,
    template::{RevisionLength, TagForm, TagTemplate},
    types::{Branch, Text, text_type},
    yaml::Node,
};
use crate::oci::{
    Pattern, Revision, Tag,
    registry::{RevisionField, RevisionSource, resolve::ImageFacts},
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

    /// The revision that all platforms of an image state.
    pub(crate) fn stated_by(&self, facts: &ImageFacts) -> Option<Revision> {
        let text = facts.common_revision(self.field())?;
        self.pattern.revision_in_label(text).ok()
    }

    /// The tag of a revision; `None` for a pattern with `*`.
    pub fn exact_tag(&self, revision: &Revision) -> Option<Tag> {
        self.tag.tag(revision).ok()?.tag().cloned()
    }
}

block! {
    /// The evidence that a set was promoted.
    pub struct Provenance {
        /// The remote-tracking branch with the history that counts. Absent: `forge.base`, otherwise
        /// the remote's default branch.
        branch: Option<Branch>,
        /// `content`: a commit pins the digests of the set. `title`: its title or trailer also
        /// records the promotion.
        require: RequiredEvidence = ["title", "content"],
    }
}

choices! {
    pub enum Evidence {
        Title = "title",
        Content = "content",
    }
}

impl Provenance {
    /// Whether a commit's title or trailer must record the promotion, in addition to its content.
    pub fn requires_title(&self) -> bool {
        self.require.contains(&Evidence::Title)
    }
}

/// Evidence of a promotion, which includes its content.
pub struct RequiredEvidence;
refined_type!(
    RequiredEvidence => Vec<Evidence>,
    {"contains": {"const": "content"}},
    check_evidence
);

fn check_evidence(evidence: &[Evidence], node: &Node, problems: &ErrorCollector) -> bool {
    let has_content = evidence.contains(&Evidence::Content);
    if !has_content {
        problems.report_hint(
            node.span,
            "`content` is required: a title alone proves nothing",
            "write [title, content] or [content]",
        );
    }
    has_content
}
