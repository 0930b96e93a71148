//! Merges that replace the line: `git pull` in a clone with commits of its own merges the branch into them, and the push
//! makes the former line a merged one.
//!
//! git's default message is the only evidence: such a merge has the form of a merged topic branch. So these commits count
//! only where they refuse more.

use std::rc::Rc;

use super::{graph::Graph, provenance::Point};
use crate::oci::Digest;

/// Whether the subject of a merge is that with which git merges the branch with this short name, such as `origin/main`.
pub(super) fn is_pull(subject: &[u8], branch: &str) -> bool {
    let Ok(subject) = std::str::from_utf8(subject) else {
        return false;
    };
    let Some((kind, rest)) = subject.split_once(" '") else {
        return false;
    };
    let Some((merged, target)) = rest.split_once('\'') else {
        return false;
    };
    let without_remote = |name: &str| name.split_once('/').map(|(_, name)| name.to_owned());
    let merged = match kind {
        "Merge branch" => Some(merged.to_owned()),
        "Merge remote-tracking branch" => without_remote(merged),
        _ => None,
    };
    // GitLab quotes the target: the branch of a fork may have the same name.
    merged.is_some_and(|merged| {
        let is_same = merged == branch || without_remote(branch).as_ref() == Some(&merged);
        is_same && !target.starts_with(" into '")
    })
}

/// The commits of the former line that a merge by `git pull` replaced, oldest first, with those that its own merges by
/// `git pull` had replaced.
pub(super) fn replaced(graph: &Graph, points: &[Point], merge: usize) -> Vec<usize> {
    let mut commits = Vec::new();
    let mut next = Vec::new();
    let add = |merge: usize, known: &[bool], next: &mut Vec<(usize, Rc<Vec<bool>>)>| {
        let pulled = graph.other_parents(merge).first();
        if let (true, Some(first), Some(pulled)) =
            (points[merge].is_pull, graph.first_parent(merge), pulled)
        {
            let mut older = graph.reached_by(first);
            for (is_older, is_known) in older.iter_mut().zip(known) {
                *is_older |= is_known;
            }
            next.push((*pulled, Rc::new(older)));
        }
    };
    add(merge, &[], &mut next);
    while let Some((commit, older)) = next.pop() {
        if older[commit] {
            continue;
        }
        commits.push(commit);
        if let Some(first) = graph.first_parent(commit) {
            next.push((first, Rc::clone(&older)));
        }
        add(commit, &older, &mut next);
    }
    commits.reverse();
    commits
}

/// The digests that a slot got in replaced commits, oldest first, if the last commit has `pinned`.
pub(super) fn digests<'p>(
    graph: &Graph,
    points: &'p [Point],
    replaced: &[usize],
    slot: usize,
    pinned: &[Digest],
) -> Vec<(&'p Vec<Digest>, usize)> {
    let shown = |commit: usize| {
        let slots = points[commit].slots.as_ref()?;
        slots.0.get(slot).filter(|_| points[commit].shows(slot))
    };
    let last = replaced.last().and_then(|last| shown(*last));
    if last.map(Vec::as_slice) != Some(pinned) {
        return Vec::new();
    }
    let mut digests: Vec<(&Vec<Digest>, usize)> = Vec::new();
    for commit in replaced {
        if let Some(own) = shown(*commit)
            && graph.first_parent(*commit).and_then(shown) != Some(own)
            && digests.last().is_none_or(|(last, _)| *last != own)
        {
            digests.push((own, *commit));
        }
    }
    digests
}
