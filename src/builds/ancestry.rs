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
    let mut descendants_of: HashMap<ObjectId, Vec<usize>> = HashMap::new();
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
                descendants: nearest,
            });
            nearest = vec![name];
        }
        if nearest.is_empty() {
            return;
        }
        for parent in commit.parents {
            let known = descendants_of.entry(*parent).or_default();
            known.extend(&nearest);
            known.sort_unstable();
            known.dedup();
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
