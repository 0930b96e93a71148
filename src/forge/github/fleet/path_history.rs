//! The recent history of some files: one query for the commits of each path, one for the contents in
//! those commits.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{GithubFleet, PageRow, is_regular};
use crate::{
    base::error::Error,
    forge::{
        fleet::{
            ContentRequest, Contents, Head, PathHistory, PathVersion, RECENT, RecentHistory,
            RepositoryName, merge_up_to,
        },
        github::graphql::Batch,
    },
};

/// The maximum number of paths of one query.
const MAX_PATHS: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryRow {
    page_info: PageRow,
    nodes: Vec<CommitRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommitRow {
    oid: String,
    committed_date: String,
    message: String,
    author: Option<AuthorRow>,
    file: Option<FileRow>,
}

#[derive(Deserialize)]
struct AuthorRow {
    name: Option<String>,
}

#[derive(Deserialize)]
struct FileRow {
    mode: u32,
    oid: String,
}

impl From<CommitRow> for PathVersion {
    fn from(row: CommitRow) -> Self {
        let regular = row.file.filter(|file| is_regular(file.mode));
        Self {
            id: row.oid,
            date: row.committed_date,
            author: row
                .author
                .and_then(|author| author.name)
                .unwrap_or_default(),
            message: row.message,
            content: regular.map(|file| file.oid),
        }
    }
}

/// The query for the histories of some paths, and its variables.
fn query(repository: &RepositoryName, head: &Head, paths: &[&String]) -> (String, Value) {
    let mut query = Batch::default();
    query.variable("owner", "String!", repository.owner.as_str());
    query.variable("name", "String!", repository.name.as_str());
    query.variable("commit", "GitObjectID!", head.commit.as_str());
    query.variable("first", "Int!", RECENT);
    let begin = "repository(owner: $owner, name: $name) { object(oid: $commit) { ... on Commit {";
    query.select(begin, 0);
    for (number, path) in paths.iter().enumerate() {
        query.variable(&format!("path_{number}"), "String!", path.as_str());
        query.select(include_str!("../queries/path_history.graphql"), number);
    }
    query.select("}}}", 0);
    query.query()
}

impl GithubFleet {
    pub(crate) async fn recent(
        &self,
        repository: &RepositoryName,
        head: &Head,
        files: &BTreeMap<String, String>,
    ) -> Result<RecentHistory, Error> {
        let what = format!("GitHub: reading the recent history of {repository}");
        let paths: Vec<&String> = files.keys().collect();
        let mut histories = Vec::new();
        for paths in paths.chunks(MAX_PATHS) {
            let (query, variables) = query(repository, head, paths);
            let fields = self
                .query(&query, &variables, "reading recent history", 1)
                .await?;
            if let Some(error) = fields.error_of("repository") {
                return Err(self.part_error(&what, error));
            }
            let commit = &fields.data.get("repository").unwrap_or(&Value::Null)["object"];
            for (number, path) in paths.iter().enumerate() {
                let row = HistoryRow::deserialize(&commit[format!("history_{number}")])
                    .map_err(|error| self.malformed(&what, &error))?;
                histories.push(PathHistory {
                    path: (*path).clone(),
                    is_complete: !row.page_info.has_next_page,
                    versions: row.nodes.into_iter().map(PathVersion::from).collect(),
                });
            }
        }
        let recent = merge_up_to(files, &histories, &what)?;
        // One path may have several contents, so the ids serve as paths.
        let mut missing = BTreeMap::new();
        for id in recent
            .commits
            .iter()
            .flat_map(|commit| commit.files.values())
        {
            if !files.values().any(|known| known == id) {
                missing.insert(id.clone(), id.clone());
            }
        }
        let mut contents = self
            .contents(&[ContentRequest {
                repository: repository.clone(),
                commit: head.commit.clone(),
                files: missing,
            }])
            .await;
        Ok(RecentHistory {
            contents: contents.pop().unwrap_or_else(|| Ok(Contents::new()))?,
            ..recent
        })
    }
}
