//! The commits that only one of two revisions has, from listings of a forge.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::git::{CommitRange, RangeCommit};

/// The commits that only one of two revisions has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// The forge does not have one of the revisions, or does not show the repository.
    Unknown,
    /// The revisions have no common ancestor.
    Unrelated,
    Commits {
        added: CommitRange,
        removed: CommitRange,
    },
}

#[derive(Deserialize)]
pub(in crate::forge) struct RangeRow {
    sha: String,
    commit: RangeCommitRow,
}

#[derive(Deserialize)]
struct RangeCommitRow {
    message: String,
    author: Option<AuthorRow>,
}

#[derive(Deserialize)]
struct AuthorRow {
    name: Option<String>,
}

impl From<RangeRow> for RangeCommit {
    fn from(row: RangeRow) -> Self {
        let author = row.commit.author.and_then(|author| author.name);
        let subject = row.commit.message.lines().next().unwrap_or_default();
        Self::new(&row.sha, subject, author.as_deref().unwrap_or("unknown"))
    }
}

/// The rows as a range whose newest commit is `newer`, whichever end they begin with. Without that commit they are
/// not the newest, and the range lists none.
pub(in crate::forge) fn range(
    rows: Vec<impl Into<RangeCommit>>,
    newer: &str,
    count: u64,
) -> CommitRange {
    let mut commits: Vec<RangeCommit> = rows.into_iter().map(Into::into).collect();
    if commits.last().is_some_and(|commit| commit.id == newer) {
        commits.reverse();
    }
    if commits.first().is_none_or(|commit| commit.id != newer) {
        commits.clear();
    }
    let is_complete = commits.len() as u64 == count;
    let authors: BTreeSet<&str> = commits.iter().map(|commit| &*commit.author).collect();
    CommitRange {
        count,
        authors: is_complete.then_some(authors.len()),
        commits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ids: &[&str]) -> Vec<RangeRow> {
        let row = |id: &&str| RangeRow {
            sha: (*id).to_owned(),
            commit: RangeCommitRow {
                message: format!("subject of {id}\n\nbody"),
                author: None,
            },
        };
        ids.iter().map(row).collect()
    }

    #[test]
    fn rows_in_both_orders_are_listed_newest_first() {
        for ids in [["a", "b", "c"], ["c", "b", "a"]] {
            let range = range(rows(&ids), "c", 3);
            let listed: Vec<_> = range.commits.iter().map(|commit| &*commit.id).collect();
            assert_eq!(listed, ["c", "b", "a"]);
            assert_eq!(range.commits[0].subject, "subject of c");
            assert_eq!(range.authors, Some(1));
        }
    }

    #[test]
    fn oldest_commits_are_not_listed() {
        let oldest = range(rows(&["a", "b"]), "z", 300);
        assert_eq!((oldest.count, oldest.authors), (300, None));
        assert!(oldest.commits.is_empty());
        let newest = range(rows(&["y", "z"]), "z", 300);
        assert_eq!((newest.commits.len(), newest.authors), (2, None));
    }
}
