//! The last commits that touched some files: GitLab's history of a path contains no contents, so the common
//! directory is listed at each of its commits.

use std::collections::{BTreeMap, BTreeSet};

use super::{CommitRow, GitlabFleet};
use crate::{
    base::error::Error,
    forge::{
        fleet::{
            Contents, Head, RECENT, RecentCommit, RecentHistory, RepositoryName, common_directory,
        },
        http::Paging,
    },
};

impl GitlabFleet {
    /// The commits of the first-parent line that touched the common directory of the files, each with its
    /// files.
    pub(crate) async fn recent(
        &self,
        repository: &RepositoryName,
        head: &Head,
        files: &BTreeMap<String, String>,
    ) -> Result<RecentHistory, Error> {
        let directory = common_directory(files);
        let path = ["repository", "commits"];
        let mut request = self
            .request(repository, &path, "reading the recent history")
            .await?
            .query("ref_name", &head.commit)
            .query("first_parent", true)
            .query("per_page", RECENT)
            .query("page", 1);
        if !directory.is_empty() {
            request = request.query("path", &directory);
        }
        let reply = self.http.send(&request).await?;
        let rows: Vec<CommitRow> = reply.expect(&[200])?;
        let is_complete = !reply.has_more(Paging::NextPage, rows.len()) && rows.len() <= RECENT;
        let mut commits = Vec::new();
        for row in rows.into_iter().take(RECENT) {
            let files = self.files_at(repository, &row.id, &directory, files);
            commits.push(RecentCommit {
                files: files.await?,
                id: row.id,
                date: row.committed_date.unwrap_or_default(),
                author: row.author_name.unwrap_or_default(),
                message: row.message,
            });
        }
        if commits.first().is_none_or(|commit| commit.files != *files) {
            let reason = "the history does not lead to the files of the base branch's head";
            return Err(Error::unavailable(&request.what, reason));
        }
        keep_changes(&mut commits, is_complete);
        let additions = additions(&commits, is_complete);
        let mut contents = Contents::new();
        let known: BTreeSet<&String> = files.values().collect();
        for id in commits.iter().flat_map(|commit| commit.files.values()) {
            if !known.contains(id) && !contents.contains_key(id) {
                contents.insert(id.clone(), self.blob(repository, id).await?);
            }
        }
        Ok(RecentHistory {
            commits,
            is_complete,
            additions,
            contents,
        })
    }

    /// Those of `files` that exist at a commit.
    async fn files_at(
        &self,
        repository: &RepositoryName,
        commit: &str,
        directory: &str,
        files: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Error> {
        // A single file is its own directory, which cannot be listed.
        let directory = if files.contains_key(directory) {
            directory.rsplit_once('/').map_or("", |(parent, _)| parent)
        } else {
            directory
        };
        let nested = files.keys().any(|path| {
            let below = path.strip_prefix(directory).unwrap_or(path);
            below.trim_start_matches('/').contains('/')
        });
        let entries = self.tree(repository, commit, directory, nested).await?;
        let regular = entries
            .into_iter()
            .filter(|entry| entry.mode.starts_with("100") && files.contains_key(&entry.path));
        Ok(regular.map(|entry| (entry.path, entry.id)).collect())
    }
}

/// The commits that added a file. Without the older history, the oldest commit added none.
fn additions(commits: &[RecentCommit], is_complete: bool) -> BTreeSet<String> {
    let mut additions = BTreeSet::new();
    for (at, commit) in commits.iter().enumerate() {
        let added = match commits.get(at + 1) {
            Some(older) => commit
                .files
                .keys()
                .any(|path| !older.files.contains_key(path)),
            None => is_complete && !commit.files.is_empty(),
        };
        if added {
            additions.insert(commit.id.clone());
        }
    }
    additions
}

/// Removes the commits that touched only other files of the directory.
fn keep_changes(commits: &mut Vec<RecentCommit>, is_complete: bool) {
    commits.reverse();
    commits.dedup_by(|newer, older| newer.files == older.files);
    if is_complete && commits.first().is_some_and(|first| first.files.is_empty()) {
        commits.remove(0);
    }
    commits.reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(id: &str, files: &[(&str, &str)]) -> RecentCommit {
        RecentCommit {
            id: id.to_owned(),
            date: String::new(),
            author: String::new(),
            message: String::new(),
            files: files
                .iter()
                .map(|(path, id)| ((*path).to_owned(), (*id).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn only_commits_of_the_files_remain() {
        let all = [
            commit("c4", &[("a", "2"), ("b", "1")]),
            commit("c3", &[("a", "1"), ("b", "1")]),
            commit("c2", &[("a", "1")]),
            commit("c1", &[("a", "1")]),
        ];
        for (is_complete, added) in [(true, vec!["c1", "c3"]), (false, vec!["c3"])] {
            let mut commits = all.to_vec();
            keep_changes(&mut commits, is_complete);
            let additions = additions(&commits, is_complete);
            assert_eq!(additions.into_iter().collect::<Vec<_>>(), added);
            let ids: Vec<_> = commits.iter().map(|commit| &*commit.id).collect();
            assert_eq!(ids, ["c4", "c3", "c1"]);
        }
    }
}
