//! The claims of merged commits: those that are reachable from the other parents of a merge but not from
//! its first parent.

use std::collections::{HashMap, HashSet};

use super::{
    claims::Titles,
    log::{self, Parents},
};
use crate::{
    git::{Git, GitError, ObjectId},
    oci::Revision,
};

/// The claims of the commits that one merge merged.
#[derive(Debug, Default)]
pub(super) struct MergedClaims {
    /// The claimed revisions, those of the newest commits first, possibly repeated.
    pub(super) claims: Vec<Revision>,
    /// Whether a shallow clone ends in these commits: some may be missing, and others may belong to an
    /// older merge.
    pub(super) is_truncated: bool,
}

struct Node {
    parents: Parents,
    claims: Vec<Revision>,
}

/// Finds the claims of each merge with one `git log` for all merges. `merges` are the parents of each
/// merge, oldest first; `line` contains every commit of the first-parent line up to `tip`.
pub(super) fn merged_claims(
    git: &Git,
    merges: &[&Parents],
    tip: &ObjectId,
    line: impl IntoIterator<Item = ObjectId>,
    titles: &Titles,
) -> Result<Vec<MergedClaims>, GitError> {
    let Some(oldest) = merges.first().and_then(|merge| merge.first.as_ref()) else {
        return Ok(Vec::new());
    };
    // The first parent of a merge reaches the line before it and the commits of older merges: all
    // commits that were visited before.
    let mut visited: HashSet<ObjectId> = line.into_iter().collect();
    let mut nodes = HashMap::new();
    log::commits_between(git, oldest, tip)?.each(|commit| {
        let claims = titles.claims(commit.info.subject(), &commit.trailers);
        nodes.insert(
            commit.id,
            Node {
                parents: commit.parents,
                claims,
            },
        );
        Ok(())
    })?;
    Ok(merges
        .iter()
        .map(|merge| claims_of(git, merge, &nodes, &mut visited))
        .collect())
}

/// Visits the merged commits depth first, so that the newest commits of each parent come first.
fn claims_of(
    git: &Git,
    merge: &Parents,
    nodes: &HashMap<ObjectId, Node>,
    visited: &mut HashSet<ObjectId>,
) -> MergedClaims {
    let mut merged = MergedClaims::default();
    let mut next: Vec<&ObjectId> = merge.others.iter().rev().collect();
    while let Some(id) = next.pop() {
        // A commit that is not in the log is reachable from the first parent of the oldest merge.
        let Some(node) = nodes.get(id) else { continue };
        if !visited.insert(*id) {
            continue;
        }
        merged.is_truncated |= git.is_boundary(id);
        merged.claims.extend_from_slice(&node.claims);
        next.extend(node.parents.iter().rev());
    }
    merged
}
