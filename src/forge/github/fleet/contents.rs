//! Contents of several repositories in one query; one by one where GitHub does not show them so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Deserialize;
use serde_json::Value;

use super::{GithubFleet, Part, in_batches, is_heavy, request};
use crate::{
    error::{Class, Error},
    forge::{
        blob_id,
        fleet::{ContentRequest, Contents, FILE_MAX, RepositoryName},
        github::graphql,
        http::Failure,
    },
};

/// One content of a repository.
struct Wanted<'r> {
    /// The place of the request that it belongs to.
    request: usize,
    repository: &'r RepositoryName,
    id: String,
}

/// What a query shows of a content.
#[derive(Clone)]
enum Shown {
    Text(Vec<u8>),
    /// It is not text, or not shown to its end.
    Elsewhere,
    Refused(Error),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct BlobRow {
    byte_size: Option<u64>,
    text: Option<String>,
}

impl Wanted<'_> {
    fn what(&self) -> String {
        format!(
            "GitHub: reading the content {} of {}",
            self.id, self.repository
        )
    }

    fn too_large(&self) -> Error {
        let reason = format!("the file has more than {FILE_MAX} bytes");
        Error::about(Class::Refused, self.what(), reason)
    }

    fn shown(&self, row: BlobRow) -> Shown {
        if row.byte_size.is_some_and(|size| size > FILE_MAX) {
            return Shown::Refused(self.too_large());
        }
        // Only text comes this way; what is cut or not quite UTF-8 has another name.
        match row.text.map(String::into_bytes) {
            Some(text) if blob_id(&text, &self.id) == self.id => Shown::Text(text),
            _ => Shown::Elsewhere,
        }
    }
}

/// The query for some of the contents, and its variables.
fn query(wanted: &[Wanted<'_>], batch: &[usize]) -> (String, BTreeMap<String, Value>) {
    let (mut declared, mut fields) = (String::new(), String::new());
    let mut variables = BTreeMap::new();
    let mut last = None;
    for at in batch {
        let content = &wanted[*at];
        let number = content.request;
        if last != Some(number) {
            if last.is_some() {
                fields.push('}');
            }
            last = Some(number);
            let (owner, name) = (&content.repository.owner, &content.repository.name);
            let _ = write!(declared, "$o{number}:String!,$n{number}:String!,");
            let _ = write!(
                fields,
                "r{number}:repository(owner:$o{number},name:$n{number}){{"
            );
            variables.insert(format!("o{number}"), owner.clone().into());
            variables.insert(format!("n{number}"), name.clone().into());
        }
        // Names of objects are hexadecimal, so nothing can end the string.
        let id: String = content.id.chars().filter(char::is_ascii_hexdigit).collect();
        let _ = write!(
            fields,
            "b{at}:object(oid:\"{id}\"){{...on Blob{{byteSize text}}}} "
        );
    }
    let declared = declared.trim_end_matches(',');
    (format!("query({declared}){{{fields}}}}}"), variables)
}

impl GithubFleet {
    pub(super) async fn read_contents(
        &self,
        requests: &[ContentRequest],
    ) -> Vec<Result<Contents, Error>> {
        let mut wanted = Vec::new();
        for (at, request) in requests.iter().enumerate() {
            let ids: BTreeSet<&String> = request.files.values().collect();
            wanted.extend(ids.into_iter().map(|id| Wanted {
                request: at,
                repository: &request.repository,
                id: id.clone(),
            }));
        }
        let ask = async |batch: &[usize]| self.content_batch(&wanted, batch).await;
        let shown = in_batches(wanted.len(), graphql::AT_ONCE, ask).await;
        let mut contents: Vec<Result<Contents, Error>> =
            requests.iter().map(|_| Ok(Contents::new())).collect();
        for (content, shown) in wanted.iter().zip(shown) {
            let Ok(known) = &mut contents[content.request] else {
                continue;
            };
            let read = match shown {
                Ok(Shown::Text(text)) => Ok(text),
                Ok(Shown::Elsewhere) => self.read_content(content).await,
                Ok(Shown::Refused(error)) | Err(error) => Err(error),
            };
            match read {
                Ok(text) => drop(known.insert(content.id.clone(), text)),
                Err(error) => contents[content.request] = Err(error),
            }
        }
        contents
    }

    async fn content_batch(
        &self,
        wanted: &[Wanted<'_>],
        batch: &[usize],
    ) -> Result<Vec<Part<Shown>>, Failure> {
        let (query, variables) = query(wanted, batch);
        let fields = self
            .query(&query, variables, "reading contents", batch.len())
            .await?;
        let part = |at: &usize| {
            let content = &wanted[*at];
            let (repository, field) = (format!("r{}", content.request), format!("b{at}"));
            let mut errors = fields.errors_of(&repository).filter(|error| {
                let within = error.path[1].as_str();
                within.is_none_or(|within| within == field)
            });
            match errors.next() {
                Some(error) if is_heavy(error) => {
                    Part::Heavy(self.part_error(&content.what(), error))
                }
                Some(error) => {
                    Part::Answered(Shown::Refused(self.part_error(&content.what(), error)))
                }
                None => {
                    let row = fields.data.get(&repository).map(|row| &row[&field]);
                    let row = row.and_then(|row| BlobRow::deserialize(row).ok());
                    Part::Answered(content.shown(row.unwrap_or_default()))
                }
            }
        };
        Ok(batch.iter().map(part).collect())
    }

    async fn read_content(&self, content: &Wanted<'_>) -> Result<Vec<u8>, Error> {
        let path = format!("git/blobs/{}", content.id);
        let mut request = request(content.repository, &path, "reading a content");
        request.what = content.what();
        // In base64, with a line break for every 60 characters.
        request.max = FILE_MAX / 3 * 4 + FILE_MAX / 30;
        let bytes = self.http.content(&request, &content.id).await?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(content.too_large());
        }
        Ok(bytes)
    }
}
