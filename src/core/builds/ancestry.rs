//! The ancestry of revisions, from one pass over the commits of a clone.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::{Duration, SystemTime},
};

use crate::git::{Git, GitError, ObjectId, ReachableCommit};

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
    use super::*;
    use crate::git::tests::{commit_at, git, repository};

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
