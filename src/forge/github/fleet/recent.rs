//! The recent history of some files: one query for the commits of each, one for the contents that
//! those commits had.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{GithubFleet, PageRow, is_regular};
use crate::{
    error::Error,
    forge::{
        Head,
        fleet::{
            ContentRequest, Contents, FleetReader as _, PathHistory, PathVersion, RECENT,
            RecentHistory, RepositoryName, line_to,
        },
    },
};

/// Paths whose histories are read with one query.
const PATHS: usize = 20;

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
fn query(
    repository: &RepositoryName,
    head: &Head,
    paths: &[&String],
) -> (String, BTreeMap<String, Value>) {
    let (mut declared, mut fields) = (String::new(), String::new());
    let mut variables = BTreeMap::from([
        ("o".to_owned(), json!(repository.owner)),
        ("n".to_owned(), json!(repository.name)),
        ("c".to_owned(), json!(head.commit)),
    ]);
    for (at, path) in paths.iter().enumerate() {
        let _ = write!(declared, ",$p{at}:String!");
        let _ = write!(
            fields,
            "h{at}:history(first:{RECENT},path:$p{at}){{pageInfo{{hasNextPage}} \
             nodes{{oid committedDate message author{{name}} file(path:$p{at}){{mode oid}}}}}} "
        );
        variables.insert(format!("p{at}"), json!(path));
    }
    let query = format!(
        "query($o:String!,$n:String!,$c:GitObjectID!{declared}){{repository(owner:$o,name:$n){{object(oid:$c){{...on Commit{{{fields}}}}}}}}}"
    );
    (query, variables)
}

impl GithubFleet {
    pub(super) async fn read_recent(
        &self,
        repository: &RepositoryName,
        head: &Head,
        files: &BTreeMap<String, String>,
    ) -> Result<RecentHistory, Error> {
        let what = format!("GitHub: reading the recent history of {repository}");
        let paths: Vec<&String> = files.keys().collect();
        let mut histories = Vec::new();
        for paths in paths.chunks(PATHS) {
            let (query, variables) = query(repository, head, paths);
            let fields = self
                .query(&query, variables, "reading recent history", 1)
                .await?;
            if let Some(error) = fields.error_of("repository") {
                return Err(self.part_error(&what, error));
            }
            let commit = &fields.data.get("repository").unwrap_or(&Value::Null)["object"];
            for (at, path) in paths.iter().enumerate() {
                let row = HistoryRow::deserialize(&commit[format!("h{at}")])
                    .map_err(|error| self.malformed(&what, &error))?;
                histories.push(PathHistory {
                    path: (*path).clone(),
                    whole: !row.page_info.has_next_page,
                    versions: row.nodes.into_iter().map(PathVersion::from).collect(),
                });
            }
        }
        let (commits, whole) = line_to(files, &histories, &what)?;
        let older = commits.iter().flat_map(|commit| &commit.files);
        let older = older.filter(|(path, id)| files.get(*path) != Some(id));
        // Several contents of one path: the name stands for the path, too.
        let missing: BTreeMap<String, String> = older
            .map(|(_, id)| (id.clone(), id.clone()))
            .filter(|(id, _)| !files.values().any(|known| known == id))
            .collect();
        let mut contents = self
            .contents(&[ContentRequest {
                repository: repository.clone(),
                commit: head.commit.clone(),
                files: missing,
            }])
            .await;
        Ok(RecentHistory {
            commits,
            whole,
            contents: contents.pop().unwrap_or_else(|| Ok(Contents::new()))?,
        })
    }
}
