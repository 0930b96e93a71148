//! The evidence that a set was promoted: the block `provenance`.

use super::{
    keys::{block, choices, refined_type},
    reader::ErrorCollector,
    types::Branch,
    yaml::Node,
};

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
