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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::git::tests::git;

    /// Makes a commit and returns its id. Commits of the same second are ordered by topology only.
    fn commit(root: &Path, seconds: u64, parents: &[&str]) -> String {
        let empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let date = format!("GIT_COMMITTER_DATE=@{seconds} +0000");
        // `git commit-tree` has no option for the date of the committer.
        let mut command = std::process::Command::new("env");
        command.args([&date, "GIT_AUTHOR_DATE=@0 +0000", "git", "-C"]);
        command.arg(root).args([
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@b",
            "commit-tree",
            "-m",
            "x",
        ]);
        for parent in parents {
            command.args(["-p", parent]);
        }
        let printed = command.arg(empty).output().unwrap();
        assert!(printed.status.success(), "{printed:?}");
        String::from_utf8(printed.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn nearest_named_descendants_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q"]);
        git(root, &["mktree", "--missing"]);
        let first = commit(root, 100, &[]);
        let unnamed = commit(root, 200, &[&first]);
        let left = commit(root, 300, &[&unnamed]);
        let right = commit(root, 400, &[&unnamed]);
        let merge = commit(root, 500, &[&left, &right]);
        let last = commit(root, 600, &[&merge]);
        git(root, &["update-ref", "refs/heads/main", &last]);
        git(root, &["symbolic-ref", "HEAD", "refs/heads/main"]);
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
