//! The contents of files: with one request if the server supports that, otherwise one by one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;

use super::{GiteaFleet, request};
use crate::{
    base::error::{Class, Error},
    forge::{
        fleet::{ContentRequest, Contents, MAX_FILE, RepositoryName},
        http::Request,
    },
    git::blob_id,
};

/// The maximum number of files of one request: the default limit of servers.
const MAX_FILES: usize = 30;

#[derive(Deserialize)]
struct FileRow {
    sha: String,
    encoding: Option<String>,
    content: Option<String>,
}

impl FileRow {
    /// The content, verified by its id.
    fn bytes(&self) -> Option<Vec<u8>> {
        if self.encoding.as_deref() != Some("base64") {
            return None;
        }
        let text: String = self.content.as_ref()?.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(text).ok()?;
        (blob_id(&bytes, &self.sha) == self.sha).then_some(bytes)
    }
}

impl GiteaFleet {
    pub(crate) async fn read_contents(&self, request: &ContentRequest) -> Result<Contents, Error> {
        let mut contents = Contents::new();
        let version = self.version().await?;
        let all: Vec<(&String, &String)> = request.files.iter().collect();
        if all.len() > 1 && (version.lists_files() || version.lists_blobs()) {
            for files in all.chunks(MAX_FILES) {
                let rows = if version.lists_files() {
                    let paths: Vec<&String> = files.iter().map(|(path, _)| *path).collect();
                    self.rows(&files_at(&request.repository, &request.commit, &paths))
                        .await?
                } else {
                    let ids: Vec<&str> = files.iter().map(|(_, id)| id.as_str()).collect();
                    self.rows(&blobs(&request.repository, &ids)).await?
                };
                for row in rows {
                    let is_requested = files.iter().any(|(_, id)| **id == row.sha);
                    if let Some(bytes) = row.bytes().filter(|_| is_requested) {
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
        if contents.values().any(|bytes| bytes.len() as u64 > MAX_FILE) {
            let what = format!("Gitea: reading the files of {}", request.repository);
            let reason = format!("a file has more than {MAX_FILE} bytes");
            return Err(Error::about(Class::Refused, what, reason));
        }
        Ok(contents)
    }

    /// The rows of a response; none if the server refuses, because each file can be read separately.
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
        let mut request = request(repository, &format!("git/blobs/{id}"), "reading a blob");
        // The content is base64-encoded.
        request.max = MAX_FILE / 3 * 4 + 64 * 1024;
        self.http.content(&request, id).await
    }
}

fn files_at(repository: &RepositoryName, commit: &str, paths: &[&String]) -> Request {
    let mut request = request(repository, "file-contents", "reading files");
    request.method = reqwest::Method::POST;
    request
        .read_only()
        .query("ref", commit)
        .body(json!({"files": paths}))
}

fn blobs(repository: &RepositoryName, ids: &[&str]) -> Request {
    request(repository, "git/blobs", "reading contents").query("shas", ids.join(","))
}
