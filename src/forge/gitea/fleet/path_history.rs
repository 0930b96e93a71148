//! The recent history of some files: a listing of the commits of their common directory, and the files
//! of each commit that touched one of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{GiteaFleet, request};
use crate::{
    base::error::Error,
    forge::{
        fleet::{
            Contents, Head, PathHistory, PathVersion, RECENT, RecentHistory, RepositoryName,
            common_directory, merge_up_to,
        },
        http::Paging,
    },
};

#[derive(Deserialize)]
struct CommitRow {
    sha: String,
    commit: CommitText,
    /// The changed files; null if the server does not report them.
    files: Option<Vec<ChangedRow>>,
}

#[derive(Deserialize)]
struct CommitText {
    message: String,
    author: Option<Person>,
    committer: Option<Person>,
}

#[derive(Deserialize, Default)]
struct Person {
    #[serde(default)]
    name: String,
    #[serde(default)]
    date: String,
}

#[derive(Deserialize)]
struct ChangedRow {
    filename: String,
}

impl CommitRow {
    fn touches(&self, path: &str) -> bool {
        let files = self.files.as_ref();
        files.is_none_or(|files| files.iter().any(|file| file.filename == path))
    }

    fn version(&self, content: Option<String>) -> PathVersion {
        let author = self.commit.author.as_ref();
        let committer = self.commit.committer.as_ref();
        PathVersion {
            id: self.sha.clone(),
            date: committer
                .map(|person| person.date.clone())
                .unwrap_or_default(),
            author: author.map(|person| person.name.clone()).unwrap_or_default(),
            message: self.commit.message.clone(),
            content,
        }
    }
}

impl GiteaFleet {
    pub(crate) async fn recent(
        &self,
        repository: &RepositoryName,
        head: &Head,
        files: &BTreeMap<String, String>,
    ) -> Result<RecentHistory, Error> {
        let mut request = request(repository, "commits", "reading the recent history")
            .query("sha", &head.commit)
            .query("stat", false)
            .query("verification", false)
            .query("files", true)
            .query("limit", RECENT)
            .query("page", 1);
        let directory = common_directory(files);
        if !directory.is_empty() {
            request = request.query("path", directory);
        }
        let reply = self.http.send(&request).await?;
        let mut rows: Vec<CommitRow> = reply.expect_list()?;
        let is_complete = !reply.has_more(Paging::Counted, rows.len()) && rows.len() <= RECENT;
        rows.truncate(RECENT);
        let (histories, contents) = self
            .histories(repository, files, &rows, is_complete)
            .await?;
        let recent = merge_up_to(files, &histories, &request.what)?;
        Ok(RecentHistory { contents, ..recent })
    }

    /// The history of each file, and the contents that the head does not contain.
    async fn histories(
        &self,
        repository: &RepositoryName,
        files: &BTreeMap<String, String>,
        rows: &[CommitRow],
        is_complete: bool,
    ) -> Result<(Vec<PathHistory>, Contents), Error> {
        let mut contents = Contents::new();
        let mut histories: Vec<PathHistory> = files
            .keys()
            .map(|path| PathHistory {
                path: path.clone(),
                versions: Vec::new(),
                is_complete,
            })
            .collect();
        for row in rows {
            // The last commit that touched a file left the content that the head contains. Only earlier
            // contents are read.
            let changed_later: Vec<&String> = histories
                .iter()
                .filter(|history| !history.versions.is_empty() && row.touches(&history.path))
                .map(|history| &history.path)
                .collect();
            let mut old_files = if changed_later.is_empty() {
                BTreeMap::new()
            } else {
                self.files_at(repository, &row.sha, &changed_later).await?
            };
            for history in &mut histories {
                if !row.touches(&history.path) {
                    continue;
                }
                let content = if history.versions.is_empty() {
                    files.get(&history.path).cloned()
                } else if let Some(file) = old_files.remove(&history.path) {
                    let known = files.values().any(|id| *id == file.id);
                    if !known && !contents.contains_key(&file.id) {
                        let bytes = match file.content {
                            Some(bytes) => bytes,
                            None => self.read_blob(repository, &file.id).await?,
                        };
                        contents.insert(file.id.clone(), bytes);
                    }
                    Some(file.id)
                } else {
                    None
                };
                history.versions.push(row.version(content));
            }
        }
        // A file that none of these commits touched has one content in all of them.
        if let Some(oldest) = rows.last() {
            for history in histories
                .iter_mut()
                .filter(|history| history.versions.is_empty())
            {
                history.is_complete = false;
                let content = files.get(&history.path).cloned();
                history.versions.push(oldest.version(content));
            }
        }
        Ok((histories, contents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_directory_contains_all_files() {
        let common = |paths: &[&str]| {
            let files = paths.iter().map(|path| ((*path).to_owned(), String::new()));
            common_directory(&files.collect())
        };
        assert_eq!(
            common(&[".github/workflows/a.yml", ".github/workflows/b.yml"]),
            ".github/workflows"
        );
        assert_eq!(common(&["a/b/c", "a/bc/d"]), "a");
        assert_eq!(common(&["a/b/c"]), "a/b/c");
        assert_eq!(common(&["a", "b"]), "");
        assert_eq!(common(&[]), "");
    }
}
