//! The order of builds: an ancestor after its descendants, otherwise by time.
//!
//! A build is *next* if all of its descendants are listed. Only the times of these builds decide, so
//! along one line of commits, each build is read just before it is listed.
//!
//! The ancestry of revisions, from one pass over the commits of a clone.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::{Duration, SystemTime},
};

use crate::git::{Git, GitError, ObjectId, ReachableCommit};

/// The builds that are not listed yet.
#[derive(Debug, Default)]
pub(crate) struct ListOrder {
    builds: Vec<Ordered>,
    /// The builds whose descendants are all listed.
    next: BTreeSet<usize>,
    /// Whether two builds with a position are in a known order even if neither is an ancestor.
    is_complete: bool,
}

#[derive(Debug, Default, Clone)]
struct Ordered {
    /// The expected position, if versions or commits determine it.
    position: Option<usize>,
    /// The number of nearest descendants that are not listed.
    blockers: usize,
    /// The builds of which this is a nearest descendant.
    ancestors: Vec<usize>,
    /// The time, or that of the commit.
    time: Option<SystemTime>,
    is_timed: bool,
    is_boundary: bool,
}

impl ListOrder {
    /// `is_complete`: whether the ancestry is known completely, unlike in a shallow clone.
    pub(super) fn new(count: usize, is_complete: bool) -> Self {
        Self {
            builds: vec![Ordered::default(); count],
            next: (0..count).collect(),
            is_complete,
        }
    }

    /// Sets the position of a build, the time of its commit, and its nearest descendants.
    pub(super) fn place(
        &mut self,
        build: usize,
        position: usize,
        time: Option<SystemTime>,
        descendants: &[usize],
    ) {
        for descendant in descendants {
            self.builds[*descendant].ancestors.push(build);
        }
        let ordered = &mut self.builds[build];
        (ordered.position, ordered.time) = (Some(position), time);
        ordered.blockers = descendants.len();
        if !descendants.is_empty() {
            self.next.remove(&build);
        }
    }

    /// The builds whose times determine the next one. If there are any, the next `count` builds are read with
    /// them, as far as the batch has at most `limit` builds.
    pub(crate) fn next_batch(&self, count: usize, limit: usize) -> Vec<usize> {
        let mut batch = self.undecided();
        if !batch.is_empty() {
            let mut expected = self.expected(count);
            expected.retain(|build| !batch.contains(build));
            expected.truncate(limit.saturating_sub(batch.len()));
            batch.append(&mut expected);
        }
        batch
    }

    fn undecided(&self) -> Vec<usize> {
        let next = self.next.iter().copied();
        next.filter(|build| !self.builds[*build].is_timed).collect()
    }

    /// The builds that are expected to be the next ones, at most `count`.
    fn expected(&self, count: usize) -> Vec<usize> {
        let mut expected: Vec<usize> = (0..self.builds.len()).collect();
        expected.retain(|build| {
            let build = &self.builds[*build];
            !build.is_timed && build.position.is_some()
        });
        expected.sort_by_key(|build| self.builds[*build].position);
        expected.truncate(count);
        expected
    }

    /// Sets the time of a build; `None` if it has none, then that of its commit counts.
    pub(crate) fn set_time(&mut self, build: usize, time: Option<SystemTime>) {
        let ordered = &mut self.builds[build];
        ordered.is_timed = true;
        ordered.time = time.or(ordered.time);
    }

    /// Marks the current set or that of an open pull request. It follows the builds that may be newer: those
    /// with the same time, and those without a time and a position.
    pub(crate) fn set_boundary(&mut self, build: usize) {
        self.builds[build].is_boundary = true;
    }

    pub(crate) fn is_boundary(&self, build: usize) -> bool {
        self.builds[build].is_boundary
    }

    /// Removes the next build: the latest one, or the first one by position, or the last one by index.
    pub(crate) fn pop(&mut self) -> Option<usize> {
        let latest = self.next.iter().copied().max_by_key(|build| {
            let ordered = &self.builds[*build];
            let position = ordered.position.unwrap_or(usize::MAX);
            let tie = (ordered.is_boundary, position, Reverse(*build));
            (ordered.time, Reverse(tie))
        })?;
        let may_be_newer = |build: &usize| {
            let ordered = &self.builds[*build];
            let is_unordered = ordered.time.is_none() && ordered.position.is_none();
            is_unordered && !ordered.is_boundary
        };
        let next = if self.is_boundary(latest) {
            let newer = self.next.iter().copied().rfind(may_be_newer);
            newer.unwrap_or(latest)
        } else {
            latest
        };
        self.next.remove(&next);
        for ancestor in self.builds[next].ancestors.clone() {
            let ordered = &mut self.builds[ancestor];
            ordered.blockers -= 1;
            if ordered.blockers == 0 {
                self.next.insert(ancestor);
            }
        }
        Some(next)
    }

    /// Whether versions or commits determine the position of a build.
    pub(crate) fn has_position(&self, build: usize) -> bool {
        self.builds[build].position.is_some()
    }

    /// For each build, whether it is older than `newer`; `None` if versions and commits do not determine
    /// it.
    pub(crate) fn older_than(&self, newer: usize) -> Vec<Option<bool>> {
        let is_placed = |build: &Ordered| build.position.is_some();
        let is_known = self.is_complete && is_placed(&self.builds[newer]);
        let mut older: Vec<_> = (self.builds.iter())
            .map(|build| (is_known && is_placed(build)).then_some(false))
            .collect();
        let mut unvisited = vec![newer];
        while let Some(build) = unvisited.pop() {
            for ancestor in &self.builds[build].ancestors {
                if older[*ancestor] != Some(true) {
                    older[*ancestor] = Some(true);
                    unvisited.push(*ancestor);
                }
            }
        }
        older
    }
}

/// A revision that is a commit of the clone.
#[derive(Debug)]
pub(super) struct Node {
    /// The position among all revisions of the clone, newest first.
    pub(super) position: usize,
    /// The committer's time.
    pub(super) date: SystemTime,
    /// The nearest descendants among the revisions.
    pub(super) descendants: Vec<usize>,
}

/// Finds the revisions in `names`, which are commits or their first digits, among the commits of the
/// clone: the newest ones up to `limit`, and each of `related`.
pub(super) fn read(
    git: &Git,
    names: &HashMap<&str, usize>,
    limit: usize,
    related: &BTreeSet<usize>,
) -> Result<HashMap<usize, Node>, GitError> {
    let lengths: BTreeSet<usize> = names.keys().map(|name| name.len()).collect();
    let mut nodes: HashMap<usize, Node> = HashMap::new();
    // For each commit whose children were read, the nearest descendants.
    let mut descendants_of: HashMap<ObjectId, BTreeSet<usize>> = HashMap::new();
    git.each_commit(|commit| {
        let mut nearest = descendants_of.remove(&commit.id).unwrap_or_default();
        let id = commit.id.to_string();
        let mut prefixes = lengths.iter().filter_map(|length| id.get(..*length));
        let name = prefixes.find_map(|prefix| names.get(prefix).copied());
        let position = nodes.len();
        if let Some(name) = name
            && (position < limit || related.contains(&name))
            // If commits share an abbreviation, the newest counts.
            && let Entry::Vacant(entry) = nodes.entry(name)
        {
            entry.insert(Node {
                position,
                date: time(&commit),
                descendants: nearest.into_iter().collect(),
            });
            nearest = [name].into();
        }
        for descendant in nearest {
            for parent in commit.parents {
                let known = descendants_of.entry(*parent).or_default();
                known.insert(descendant);
            }
        }
    })
    .map_err(|error| git.explain(error))?;
    Ok(nodes)
}

fn time(commit: &ReachableCommit<'_>) -> SystemTime {
    let seconds = u64::try_from(commit.seconds).unwrap_or_default();
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::git::tests::{commit_at, git, repository};

    fn second(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn listed(mut order: ListOrder, times: &[u64]) -> Vec<usize> {
        let mut listed = Vec::new();
        loop {
            for build in order.undecided() {
                order.set_time(build, Some(second(times[build])));
            }
            match order.pop() {
                Some(build) => listed.push(build),
                None => return listed,
            }
        }
    }

    #[test]
    fn ancestors_follow_their_descendants() {
        // 0 is an ancestor of 1, and 2 is unrelated.
        let order = || {
            let mut order = ListOrder::new(3, true);
            order.place(1, 0, Some(second(2)), &[]);
            order.place(0, 1, Some(second(1)), &[1]);
            order
        };
        assert_eq!(listed(order(), &[9, 5, 7]), [2, 1, 0]);
        assert_eq!(listed(order(), &[9, 8, 7]), [1, 0, 2]);
        assert_eq!(listed(order(), &[1, 8, 7]), [1, 2, 0]);
        assert_eq!(order().undecided(), [1, 2]);
        assert_eq!(order().expected(2), [1, 0]);
        assert_eq!(order().older_than(1), [Some(true), Some(false), None]);
        assert_eq!(order().older_than(0), [Some(false), Some(false), None]);
    }

    #[test]
    fn build_follows_each_of_its_descendants() {
        let mut order = ListOrder::new(3, true);
        order.place(1, 0, None, &[]);
        order.place(2, 1, None, &[]);
        order.place(0, 2, None, &[1, 2]);
        assert_eq!(listed(order, &[9, 8, 1]), [1, 2, 0]);
    }

    #[test]
    fn only_builds_with_a_position_and_without_a_time_are_expected() {
        let mut order = ListOrder::new(3, true);
        order.place(1, 1, None, &[]);
        order.place(0, 0, None, &[]);
        assert!(order.has_position(0) && !order.has_position(2));
        assert_eq!(order.expected(9), [0, 1]);
        order.set_time(0, None);
        assert_eq!(order.expected(9), [1]);
        assert_eq!(order.older_than(2), [None, None, None]);
    }

    #[test]
    fn batch_is_undecided_builds_and_the_next_ones() {
        let mut order = ListOrder::new(4, true);
        order.place(0, 0, None, &[]);
        for build in 1..4 {
            order.place(build, build, None, &[build - 1]);
        }
        for (count, limit, batch) in [
            (3, 9, &[0, 1, 2][..]),
            (3, 2, &[0, 1]),
            (0, 9, &[0]),
            (3, 0, &[0]),
        ] {
            assert_eq!(order.next_batch(count, limit), batch);
        }
        order.set_time(0, None);
        assert_eq!(order.next_batch(3, 9), [0; 0]);
    }

    #[test]
    fn ancestry_with_many_paths_is_read_once() {
        // A ladder of pairs: each is a descendant of both of the next pair.
        let mut order = ListOrder::new(128, true);
        for build in 2..128 {
            let pair = build / 2 * 2 - 2;
            order.place(build, build, None, &[pair, pair + 1]);
        }
        let found = order.older_than(0);
        assert_eq!(
            found.iter().filter(|older| **older == Some(true)).count(),
            126
        );
    }

    #[test]
    fn equal_times_are_ordered_by_position() {
        let mut order = ListOrder::new(3, true);
        order.place(2, 0, Some(second(1)), &[]);
        order.place(0, 1, Some(second(1)), &[]);
        assert_eq!(listed(order, &[5, 5, 5]), [2, 0, 1]);
        let mut order = ListOrder::new(3, true);
        order.set_boundary(0);
        assert_eq!(listed(order, &[5, 5, 4]), [1, 0, 2]);
    }

    #[test]
    fn builds_that_may_be_newer_precede_a_boundary() {
        let mut order = ListOrder::new(6, true);
        order.place(4, 0, None, &[]);
        order.set_boundary(3);
        order.set_boundary(5);
        for (build, time) in [
            (0, None),
            (1, Some(9)),
            (2, None),
            (3, Some(8)),
            (4, None),
            (5, None),
        ] {
            order.set_time(build, time.map(second));
        }
        let listed: Vec<_> = std::iter::from_fn(|| order.pop()).collect();
        assert_eq!(listed, [1, 2, 0, 3, 4, 5]);
    }

    #[test]
    fn incomplete_ancestry_proves_only_ancestors() {
        let mut order = ListOrder::new(3, false);
        order.place(0, 0, Some(second(1)), &[]);
        order.place(1, 1, Some(second(1)), &[0]);
        order.place(2, 2, Some(second(1)), &[]);
        assert_eq!(order.older_than(0), [None, Some(true), None]);
    }

    #[test]
    fn nearest_named_descendants_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        repository(root);
        let first = commit_at(root, 100, &[]);
        let unnamed = commit_at(root, 200, &[&first]);
        let left = commit_at(root, 300, &[&unnamed]);
        let right = commit_at(root, 400, &[&unnamed]);
        let merge = commit_at(root, 500, &[&left, &right]);
        let last = commit_at(root, 600, &[&merge]);
        git(root, &["update-ref", "HEAD", &last]);
        let repository = Git::open(root).unwrap();
        let names: HashMap<&str, usize> = [&first[..8], &left, &right, &last]
            .into_iter()
            .zip(0..)
            .collect();
        let read = |limit, related: &[usize]| {
            let related = related.iter().copied().collect();
            read(&repository, &names, limit, &related).unwrap()
        };
        let nodes = read(9, &[]);
        let facts = |index: usize| {
            let node = &nodes[&index];
            let date = node.date.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            (node.position, date.as_secs(), node.descendants.clone())
        };
        assert_eq!(facts(3), (0, 600, vec![]));
        assert_eq!(facts(2), (1, 400, vec![3]));
        assert_eq!(facts(1), (2, 300, vec![3]));
        assert_eq!(facts(0), (3, 100, vec![1, 2]));
        // The newest ones, and those that are asked for.
        let found = |nodes: HashMap<usize, Node>| nodes.into_keys().collect::<BTreeSet<_>>();
        assert_eq!(found(read(2, &[])), [2, 3].into());
        assert_eq!(found(read(1, &[0, 1])), [0, 1, 3].into());
        assert_eq!(read(1, &[0])[&0].descendants, [3]);
    }
}
