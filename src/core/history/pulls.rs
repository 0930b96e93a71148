//! Merges that replace the line: `git pull` in a clone with commits of its own merges the branch into them, and the push
//! makes the former line a merged one.
//!
//! git's default message is the only evidence: such a merge has the form of a merged topic branch. So these commits count
//! only where they refuse more.

use std::rc::Rc;

use super::{EntryState, History, HistoryEntry, graph::Graph, provenance::Point};
use crate::{git::ObjectId, oci::Digest};

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
        if let (Some(first), Some(pulled)) = (graph.first_parent(merge), points[merge].pulled) {
            let mut older = graph.reached_by(first);
            for (is_older, is_known) in older.iter_mut().zip(known) {
                *is_older |= is_known;
            }
            next.push((pulled, Rc::new(older)));
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
        {
            digests.push((own, *commit));
        }
    }
    digests
}

/// A set that is not on the line, because a merge by `git pull` replaced its commit.
#[derive(Debug, Clone)]
pub(crate) struct ReplacedSet {
    pub entry: HistoryEntry,
    /// The merge on the line.
    pub merge: ObjectId,
    /// The position of the merge in the line.
    position: usize,
}

impl History {
    /// The sets that merges by `git pull` replaced, newest first, without those of the line.
    pub(crate) fn replaced_sets(&self) -> Vec<ReplacedSet> {
        let (graph, points) = (&self.facts.graph, &self.facts.points);
        let mut sets: Vec<ReplacedSet> = Vec::new();
        for (position, merge) in graph.line.iter().enumerate().skip(self.facts.start).rev() {
            for commit in replaced(graph, points, *merge).into_iter().rev() {
                let mut events = self.events.all.iter();
                let Some(event) = events.find(|event| event.commit == commit) else {
                    continue;
                };
                let is_on_line = self.line_events().any(|line| line.set == event.set);
                let entry = self.entry(event);
                if !is_on_line && sets.iter().all(|known| known.entry.images != entry.images) {
                    sets.push(ReplacedSet {
                        entry,
                        merge: self.facts.commits[*merge].id,
                        position,
                    });
                }
            }
        }
        sets
    }

    /// The replaced sets that may have been current after the set of an entry, and that are not held.
    pub(crate) fn replaced_since(&self, entry: &HistoryEntry) -> Vec<ReplacedSet> {
        let since = self.position_of(entry);
        let mut sets = self.replaced_sets();
        sets.retain(|set| {
            since.is_some_and(|since| set.position > since)
                && self.state(&set.entry) != EntryState::Held
        });
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_have_the_default_message_of_git() {
        for subject in [
            "Merge branch 'main' of github.com:acme/fix",
            "Merge branch 'main' of https://git.example/acme/fix into topic",
            "Merge branch 'main' into topic",
            "Merge remote-tracking branch 'origin/main'",
            "Merge remote-tracking branch 'upstream/main' into topic",
        ] {
            for branch in ["origin/main", "main"] {
                assert!(is_pull(subject.as_bytes(), branch), "{subject} {branch}");
            }
            assert!(!is_pull(subject.as_bytes(), "origin/release"), "{subject}");
        }
        for subject in [
            "Merge branch 'topic'",
            "Merge branch 'topic' into main",
            "Merge remote-tracking branch 'origin/topic'",
            "Merge remote-tracking branch 'main'",
            "Merge pull request #7 from fork/main",
            // A merge request of a fork, as GitLab writes it.
            "Merge branch 'main' into 'main'",
            "Merge branches 'main' and 'topic'",
            "Merge branch 'main",
            "Merge tag 'main'",
            "",
        ] {
            assert!(!is_pull(subject.as_bytes(), "origin/main"), "{subject}");
        }
        let nested = b"Merge remote-tracking branch 'origin/release/1'";
        assert!(is_pull(nested, "origin/release/1"));
        assert!(!is_pull(nested, "origin/1"));
        assert!(!is_pull(b"Merge branch '\xff'", "origin/main"));
    }
}
