//! Contents: several at once where the server can, else one by one.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;

use super::{GiteaFleet, request};
use crate::{
    error::{Class, Error},
    forge::{
        blob_id,
        fleet::{ContentRequest, Contents, FILE_MAX, RepositoryName},
        http::Request,
    },
};

/// Files of one request: what servers show at most by default.
const FILES: usize = 30;

#[derive(Deserialize)]
struct FileRow {
    #[serde(default)]
    path: String,
    sha: String,
    encoding: Option<String>,
    content: Option<String>,
}

/// A file at a commit.
pub(super) struct FileAt {
    pub(super) id: String,
    /// Its content; `None` where the server leaves it out.
    pub(super) content: Option<Vec<u8>>,
}

impl FileRow {
    /// The content, if it is there and the one that its name stands for.
    fn bytes(&self) -> Option<Vec<u8>> {
        if self.encoding.as_deref() != Some("base64") {
            return None;
        }
        let text = self.content.as_ref()?;
        let text: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(text).ok()?;
        (blob_id(&bytes, &self.sha) == self.sha).then_some(bytes)
    }
}

impl GiteaFleet {
    pub(super) async fn read_contents(&self, request: &ContentRequest) -> Result<Contents, Error> {
        let mut contents = Contents::new();
        let version = self.version().await?;
        let all: Vec<(&String, &String)> = request.files.iter().collect();
        if all.len() > 1 && (version.shows_files() || version.shows_blobs()) {
            for files in all.chunks(FILES) {
                let rows = if version.shows_files() {
                    let paths: Vec<&String> = files.iter().map(|(path, _)| *path).collect();
                    self.rows(&files_at(&request.repository, &request.commit, &paths))
                        .await?
                } else {
                    let ids: Vec<&str> = files.iter().map(|(_, id)| id.as_str()).collect();
                    self.rows(&blobs(&request.repository, &ids)).await?
                };
                let wanted = |row: &FileRow| files.iter().any(|(_, id)| **id == row.sha);
                for row in rows.into_iter().filter(wanted) {
                    if let Some(bytes) = row.bytes() {
                        contents.insert(row.sha, bytes);
                    }
                }
            }
        }
        for id in request.files.values() {
            if !contents.contains_key(id) {
                let bytes = self.read_blob(&request.repository, id).await?;
                contents.insert(id.clone(), bytes);
            }
        }
        match contents
            .values()
            .find(|bytes| bytes.len() as u64 > FILE_MAX)
        {
            Some(_) => Err(too_large(&request.repository)),
            None => Ok(contents),
        }
    }

    /// What a commit has at some paths; a path that is missing there, or no file, is left out.
    pub(super) async fn files_at(
        &self,
        repository: &RepositoryName,
        commit: &str,
        paths: &[&String],
    ) -> Result<BTreeMap<String, FileAt>, Error> {
        let mut files = BTreeMap::new();
        let mut add = |path: String, row: FileRow| {
            let content = row.bytes();
            let id = row.sha;
            files.insert(path, FileAt { id, content });
        };
        if self.version().await?.shows_files() {
            for paths in paths.chunks(FILES) {
                let rows = self.rows(&files_at(repository, commit, paths)).await?;
                let wanted = |row: &FileRow| paths.iter().any(|path| **path == row.path);
                for row in rows.into_iter().filter(wanted) {
                    add(row.path.clone(), row);
                }
            }
            return Ok(files);
        }
        for path in paths {
            let request = request(repository, &format!("contents/{path}"), "reading a file");
            let found: Option<FileRow> = self
                .http
                .find(&request.query("ref", commit), &[404])
                .await?;
            if let Some(row) = found {
                add((*path).clone(), row);
            }
        }
        Ok(files)
    }

    /// The rows of a response; none if the server refuses, since each file can be read by itself.
    async fn rows(&self, request: &Request) -> Result<Vec<FileRow>, Error> {
        let reply = self.http.send(request).await?;
        if reply.status.is_client_error() {
            return Ok(Vec::new());
        }
        let rows: Vec<Option<FileRow>> = reply.expect_list()?;
        Ok(rows.into_iter().flatten().collect())
    }

    pub(super) async fn read_blob(
        &self,
        repository: &RepositoryName,
        id: &str,
    ) -> Result<Vec<u8>, Error> {
        let mut request = request(repository, &format!("git/blobs/{id}"), "reading a content");
        // In base64.
        request.max = FILE_MAX / 3 * 4 + 64 * 1024;
        self.http.content(&request, id).await
    }
}

fn too_large(repository: &RepositoryName) -> Error {
    let what = format!("Gitea: reading the files of {repository}");
    let reason = format!("a file has more than {FILE_MAX} bytes");
    Error::about(Class::Refused, what, reason)
}

fn files_at(repository: &RepositoryName, commit: &str, paths: &[&String]) -> Request {
    let mut request = request(repository, "file-contents", "reading files");
    request.method = reqwest::Method::POST;
    request
        .reading()
        .query("ref", commit)
        .body(json!({"files": paths}))
}

fn blobs(repository: &RepositoryName, ids: &[&str]) -> Request {
    request(repository, "git/blobs", "reading contents").query("shas", ids.join(","))
}
