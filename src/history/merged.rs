//! What merges brought along: the claims of the commits that are reachable from a merge's other
//! parents but not from its first.

use std::collections::{HashMap, HashSet};

use super::{
    claims::Titles,
    kept::Keep,
    log::{self, Parents},
};
use crate::{
    git::{Git, GitError, ObjectId},
    oci::Revision,
};

/// A merge on the first-parent line.
#[derive(Debug)]
pub(super) struct Merge {
    pub(super) parents: Parents,
}

/// What one merge brought along.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// The revisions claimed, those of the newest commits first; a revision may be there twice.
    pub(super) claims: Vec<Revision>,
    /// Whether the clone was cut off among these commits: then some may be missing, and others may
    /// belong to an older merge.
    pub(super) cut: bool,
}

struct Node {
    parents: Parents,
    claims: Vec<Revision>,
}

/// One [`Brought`] for each of the merges, which come oldest first; one more `git log` for all of
/// them.
///
/// `line` holds every commit of the first-parent line, whose last one is `tip`.
pub(super) fn brought(
    git: &Git,
    merges: &[Merge],
    tip: &ObjectId,
    line: impl IntoIterator<Item = ObjectId>,
    titles: &Titles,
    keep: &Keep,
) -> Result<Vec<Brought>, GitError> {
    let Some(oldest) = merges
        .first()
        .and_then(|merge| merge.parents.first.as_ref())
    else {
        return Ok(Vec::new());
    };
    // A merge's first parent reaches the line below it and all that older merges brought along:
    // whatever was seen.
    let mut seen: HashSet<ObjectId> = line.into_iter().collect();
    let mut nodes = HashMap::new();
    log::all(git, keep, tip, oldest, |commit| seen.contains(commit))?.each(|commit| {
        let claims = titles.claims(commit.said.subject(), &commit.trailers);
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
        .map(|merge| one(git, merge, &nodes, &mut seen))
        .collect())
}

/// Depth first, from the last parent's side to the second's on a stack, so that a side's newest
/// commits come first.
fn one(
    git: &Git,
    merge: &Merge,
    nodes: &HashMap<ObjectId, Node>,
    seen: &mut HashSet<ObjectId>,
) -> Brought {
    let mut brought = Brought::default();
    let mut next: Vec<&ObjectId> = merge.parents.others.iter().rev().collect();
    while let Some(id) = next.pop() {
        // What is not in the log is reachable from the first parent of the oldest merge.
        let Some(node) = nodes.get(id) else { continue };
        if !seen.insert(*id) {
            continue;
        }
        brought.cut |= git.is_boundary(id);
        brought.claims.extend_from_slice(&node.claims);
        next.extend(node.parents.iter().rev());
    }
    brought
}
