//! The claims for which commits are evidence.

use super::{
    claims::Claims,
    events::Point,
    graph::Graph,
    sets::{Set, Sets},
    walk::Commit,
};

/// Combines sets and claims.
///
/// A message is evidence only if its commit changes pins or adds the configuration. That of a merged
/// commit is evidence for the merge only if the merge pins its set.
pub(super) fn points(graph: &Graph, commits: &[Commit], found: &mut Sets) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::with_capacity(commits.len());
    for (index, commit) in commits.iter().enumerate() {
        let is_evidence = found.has_changed[index] || commit.added.is_some();
        let set = found.by_commit[index];
        let mut others = graph.other_parents(index).iter();
        points.push(Point {
            set,
            partial_pins: found.partial_pins.remove(&index).unwrap_or_default(),
            claims: if is_evidence {
                commit.claims.clone()
            } else {
                Claims::default()
            },
            has_rollback_title: false,
            is_taken: set.is_some() && others.any(|other| found.by_commit[*other] == set),
        });
    }
    for (merge, merged) in graph.line.iter().zip(&graph.merged) {
        if !found.has_changed[*merge] && commits[*merge].added.is_none() {
            continue;
        }
        let mut claims = points[*merge].claims.clone();
        for commit in merged {
            let point = &points[*commit];
            let is_pinned = match (point.set, points[*merge].set) {
                (Some(set), Some(merge)) => is_part(&found.distinct[set], &found.distinct[merge]),
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if is_pinned {
                claims.extend(&point.claims);
            }
        }
        points[*merge].claims = claims;
    }
    points
}

/// Whether a merge pins the digests of a merged set. It may pin further images, which its other parent
/// added.
fn is_part(merged: &Set, merge: &Set) -> bool {
    let mut images = merged.0.iter().zip(&*merge.0);
    !merged.is_empty() && images.all(|(merged, merge)| merged.is_empty() || merged == merge)
}
