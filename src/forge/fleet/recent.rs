//! One line of commits from the histories of several files.
//!
//! Pure: what a forge lists for each path goes in, commits with all of the files come out.

use std::collections::{BTreeMap, BTreeSet};

use super::{RECENT, RecentCommit};
use crate::error::Error;

/// The history of one path, the newest commit first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::forge) struct PathHistory {
    pub(in crate::forge) path: String,
    pub(in crate::forge) versions: Vec<PathVersion>,
    /// Whether these are all commits that touched it.
    pub(in crate::forge) whole: bool,
}

/// A commit that touched a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::forge) struct PathVersion {
    pub(in crate::forge) id: String,
    pub(in crate::forge) date: String,
    pub(in crate::forge) author: String,
    pub(in crate::forge) message: String,
    /// The name of the content there; `None`: the path is not a regular file then.
    pub(in crate::forge) content: Option<String>,
}

/// The line of commits that leads to `files` as the head has them: see [`linear`]. `what`: what it was
/// read for.
pub(in crate::forge) fn line_to(
    files: &BTreeMap<String, String>,
    histories: &[PathHistory],
    what: &str,
) -> Result<(Vec<RecentCommit>, bool), Error> {
    let (commits, whole) = linear(histories);
    if commits.first().is_some_and(|commit| commit.files == *files) {
        return Ok((commits, whole));
    }
    let reason = "the history does not lead to the files of the base branch's head";
    Err(Error::unavailable(what, reason))
}

/// The commits of all histories in one order, the newest first, at most [`RECENT`], and whether those
/// are all.
///
/// Every history has the forge's order, so a commit comes once no other history has it further back;
/// of several such commits, the one with the latest date. Histories that contradict one another end
/// where they do.
fn linear(histories: &[PathHistory]) -> (Vec<RecentCommit>, bool) {
    let mut next = vec![0; histories.len()];
    let mut commits = Vec::new();
    while commits.len() < RECENT {
        let heads = || {
            let heads = histories.iter().zip(&next);
            heads.filter_map(|(history, at)| history.versions.get(*at))
        };
        let behind: BTreeSet<&str> = histories
            .iter()
            .zip(&next)
            .flat_map(|(history, at)| history.versions.iter().skip(at + 1))
            .map(|version| version.id.as_str())
            .collect();
        let free = heads().filter(|version| !behind.contains(version.id.as_str()));
        let Some(newest) = free.max_by(|one, other| one.date.cmp(&other.date)) else {
            let whole = heads().next().is_none() && histories.iter().all(|history| history.whole);
            return (commits, whole);
        };
        // A history that ends without its beginning hides what its file was before.
        let ended =
            |(history, at): (&PathHistory, &usize)| *at >= history.versions.len() && !history.whole;
        if histories.iter().zip(&next).any(ended) {
            return (commits, false);
        }
        let files = histories.iter().zip(&next).filter_map(|(history, at)| {
            let content = history.versions.get(*at)?.content.clone()?;
            Some((history.path.clone(), content))
        });
        commits.push(RecentCommit {
            id: newest.id.clone(),
            date: newest.date.clone(),
            author: newest.author.clone(),
            message: newest.message.clone(),
            files: files.collect::<BTreeMap<_, _>>(),
        });
        let id = newest.id.clone();
        for (history, at) in histories.iter().zip(&mut next) {
            if history
                .versions
                .get(*at)
                .is_some_and(|version| version.id == id)
            {
                *at += 1;
            }
        }
    }
    let rest = histories
        .iter()
        .zip(&next)
        .all(|(history, at)| history.whole && *at >= history.versions.len());
    (commits, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions as `ID=CONTENT`, dated by `dates`.
    fn history(path: &str, versions: &[&str], whole: bool) -> PathHistory {
        let version = |text: &&str| {
            let (id, content) = text.split_once('=').unwrap();
            PathVersion {
                id: id.to_owned(),
                date: format!("2026-01-0{}T00:00:00Z", &id[1..]),
                author: String::new(),
                message: format!("message of {id}"),
                content: (!content.is_empty()).then(|| content.to_owned()),
            }
        };
        PathHistory {
            path: path.to_owned(),
            versions: versions.iter().map(version).collect(),
            whole,
        }
    }

    fn shown(histories: &[PathHistory]) -> (Vec<String>, bool) {
        let (commits, whole) = linear(histories);
        let shown = commits.iter().map(|commit| {
            let files: Vec<_> = commit
                .files
                .iter()
                .map(|(path, content)| format!("{path}={content}"))
                .collect();
            format!("{} {}", commit.id, files.join(" "))
        });
        (shown.collect(), whole)
    }

    #[test]
    fn each_commit_has_every_file_as_it_was_then() {
        let a = history("a", &["c4=a2", "c2=a1"], true);
        let b = history("b", &["c4=b3", "c3=b2", "c1=b1"], true);
        let all = ["c4 a=a2 b=b3", "c3 a=a1 b=b2", "c2 a=a1 b=b1", "c1 b=b1"];
        assert_eq!(
            shown(&[a.clone(), b.clone()]),
            (all.map(str::to_owned).to_vec(), true)
        );
        // The beginning of one file is unknown, and with it what the commits before had of it.
        let cut = PathHistory { whole: false, ..a };
        assert_eq!(
            shown(&[cut, b]),
            (all[..3].iter().map(|&s| s.to_owned()).collect(), false)
        );
    }

    #[test]
    fn order_is_the_lists_own_before_that_of_dates() {
        // Of c2 and c9 the clock says otherwise than the listing that has both.
        let a = history("a", &["c2=a2", "c9=a1"], true);
        let b = history("b", &["c9=b1"], true);
        let expected = ["c2 a=a2 b=b1", "c9 a=a1 b=b1"];
        assert_eq!(shown(&[b, a]), (expected.map(str::to_owned).to_vec(), true));
        let a = history("a", &["c1=a2", "c2=a1"], true);
        let b = history("b", &["c2=b2", "c1=b1"], true);
        assert_eq!(shown(&[a, b]), (Vec::new(), false));
    }

    #[test]
    fn deleted_files_are_absent_and_the_number_is_limited() {
        let a = history("a", &["c3=a2", "c2=", "c1=a1"], true);
        let expected = ["c3 a=a2", "c2 ", "c1 a=a1"];
        assert_eq!(shown(&[a]), (expected.map(str::to_owned).to_vec(), true));
        let version = |at: usize| PathVersion {
            id: format!("c{at}"),
            date: String::new(),
            author: String::new(),
            message: String::new(),
            content: Some(format!("a{at}")),
        };
        for (count, whole) in [(RECENT, true), (RECENT + 1, false)] {
            let long = PathHistory {
                path: "a".to_owned(),
                versions: (0..count).map(version).collect(),
                whole: true,
            };
            let (commits, all) = linear(&[long]);
            assert_eq!((commits.len(), all), (RECENT, whole));
        }
    }
}
