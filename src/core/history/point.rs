//! The facts about a commit: its set, and the claims for which it is evidence.

use super::{claims::Claims, graph::Graph, rules::PastImages, sets::Set, walk::ConfigState};
use crate::oci::Digest;

/// The set of a commit, and the claims for which the commit is evidence.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent facts about a commit"
)]
#[derive(Debug, Clone, Default)]
pub(super) struct Point {
    /// The index of the set; `None` if the content is unknown.
    pub(super) set: Option<usize>,
    /// The digests of every slot; `None` if the content is unknown.
    pub(super) slots: Option<Set>,
    /// The images of the commit's own configuration.
    pub(super) images: PastImages,
    /// The digests that were found in unknown content, each with its slot.
    pub(super) partial_pins: Vec<(usize, Digest)>,
    pub(super) claims: Claims,
    /// Whether a merged commit with the same set has the trailer `Repin-Override`.
    pub(super) has_merged_override: bool,
    /// Whether the commit changed a file with pins.
    pub(super) has_changed_files: bool,
    pub(super) config: ConfigState,
    /// Whether the title is that of a rollback, if earlier commits are unknown.
    pub(super) has_rollback_title: bool,
    /// Whether the commit is a merge that took the set of another parent.
    pub(super) is_taken: bool,
}

impl Point {
    /// Whether the commit records the set.
    pub(super) fn is_record(&self) -> bool {
        !self.claims.revisions.is_empty() || self.claims.is_rollback
    }

    /// Whether the commit promotes digests that may be held, on purpose.
    pub(super) fn is_override(&self) -> bool {
        self.claims.is_override || self.has_merged_override
    }
}

/// The position in the line of the first commit that records the set.
pub(super) fn first_record(graph: &Graph, points: &[Point], is_truncated: bool) -> Option<usize> {
    if is_truncated {
        return Some(0);
    }
    let records = points.iter().zip(&graph.positions);
    let records = records.filter(|(point, _)| point.is_record());
    records.map(|(_, position)| *position).min()
}
