//! The contents of files of several repositories with one query; binary contents one by one.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::{GithubFleet, Part, in_batches, is_heavy, request};
use crate::{
    base::error::{Class, Error},
    forge::{
        fleet::{ContentRequest, Contents, MAX_FILE, RepositoryName},
        github::graphql::{Batch, BlobRow, MAX_BLOBS},
        http::Failure,
    },
    git::blob_id,
};

struct WantedBlob<'r> {
    /// The index of its request.
    request: usize,
    repository: &'r RepositoryName,
    id: String,
}

/// The result of a query for a blob.
#[derive(Clone)]
enum BlobResult {
    Text(Vec<u8>),
    /// The blob is not text, or the response contains only a part of it.
    NotInQuery,
    Refused(Error),
}

impl WantedBlob<'_> {
    fn what(&self) -> String {
        format!(
            "GitHub: reading the content {} of {}",
            self.id, self.repository
        )
    }

    fn too_large(&self) -> Error {
        let reason = format!("the file has more than {MAX_FILE} bytes");
        Error::about(Class::Refused, self.what(), reason)
    }

    fn result(&self, row: BlobRow) -> BlobResult {
        if row.byte_size.is_some_and(|size| size > MAX_FILE) {
            return BlobResult::Refused(self.too_large());
        }
        // Text that is truncated or was not valid UTF-8 has another id.
        match row.text.map(String::into_bytes) {
            Some(text) if blob_id(&text, &self.id) == self.id => BlobResult::Text(text),
            _ => BlobResult::NotInQuery,
        }
    }
}

/// The query for some of the contents, and its variables.
fn query(wanted: &[WantedBlob<'_>], batch: &[usize]) -> (String, Value) {
    let mut query = Batch::default();
    let mut last = None;
    for number in batch {
        let blob = &wanted[*number];
        if last != Some(blob.request) {
            if last.is_some() {
                query.select("}", 0);
            }
            last = Some(blob.request);
            query.repository(blob.request, &blob.repository.owner, &blob.repository.name);
            let field = "repository_0: repository(owner: $owner_0, name: $name_0) {";
            query.select(field, blob.request);
        }
        query.blob(*number, &blob.id);
    }
    query.select("}", 0);
    query.query()
}

impl GithubFleet {
    pub(crate) async fn contents(
        &self,
        requests: &[ContentRequest],
    ) -> Vec<Result<Contents, Error>> {
        let mut wanted = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let ids: BTreeSet<&String> = request.files.values().collect();
            wanted.extend(ids.into_iter().map(|id| WantedBlob {
                request: index,
                repository: &request.repository,
                id: id.clone(),
            }));
        }
        let results = in_batches(wanted.len(), MAX_BLOBS, async |batch| {
            self.blob_batch(&wanted, batch).await
        })
        .await;
        let mut contents: Vec<Result<Contents, Error>> =
            requests.iter().map(|_| Ok(Contents::new())).collect();
        for (blob, result) in wanted.iter().zip(results) {
            let Ok(known) = &mut contents[blob.request] else {
                continue;
            };
            let content = match result {
                Ok(BlobResult::Text(text)) => Ok(text),
                Ok(BlobResult::NotInQuery) => self.read_blob(blob).await,
                Ok(BlobResult::Refused(error)) | Err(error) => Err(error),
            };
            match content {
                Ok(content) => drop(known.insert(blob.id.clone(), content)),
                Err(error) => contents[blob.request] = Err(error),
            }
        }
        contents
    }

    async fn blob_batch(
        &self,
        wanted: &[WantedBlob<'_>],
        batch: &[usize],
    ) -> Result<Vec<Part<BlobResult>>, Failure> {
        let (query, variables) = query(wanted, batch);
        let fields = self
            .query(&query, &variables, "reading contents", batch.len())
            .await?;
        let mut parts = Vec::new();
        for number in batch {
            let blob = &wanted[*number];
            let repository = format!("repository_{}", blob.request);
            let field = format!("blob_{number}");
            let mut errors = fields
                .errors_of(&repository)
                .filter(|error| error.path[1].as_str().is_none_or(|name| name == field));
            parts.push(match errors.next() {
                Some(error) if is_heavy(error) => Part::Heavy(self.part_error(&blob.what(), error)),
                Some(error) => {
                    Part::Done(BlobResult::Refused(self.part_error(&blob.what(), error)))
                }
                None => {
                    let row = fields.data.get(&repository).map(|row| &row[&field]);
                    let row = row.and_then(|row| BlobRow::deserialize(row).ok());
                    Part::Done(blob.result(row.unwrap_or_default()))
                }
            });
        }
        Ok(parts)
    }

    async fn read_blob(&self, blob: &WantedBlob<'_>) -> Result<Vec<u8>, Error> {
        let path = format!("git/blobs/{}", blob.id);
        let mut request = request(blob.repository, &path, "reading a blob");
        request.what = blob.what();
        // The content is base64-encoded, with an escaped line break after every 60 characters.
        request.max = MAX_FILE / 3 * 4 + MAX_FILE / 20;
        let bytes = self.http.content(&request, &blob.id).await?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(blob.too_large());
        }
        Ok(bytes)
    }
}
