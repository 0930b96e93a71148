//! Many repositories on GitHub: GraphQL for queries about several repositories, REST for trees.
//!
//! A query that exceeds a limit of GitHub (the response is too large, takes more than ten seconds, or
//! has the error `RESOURCE_LIMITS_EXCEEDED`) is divided until it succeeds. A failure concerns only the
//! repository in the path of the error.

mod blobs;
mod list;
mod survey;

use std::collections::BTreeMap;

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    branches, client,
    graphql::{Response, is_outage},
};
use crate::{
    base::{
        error::{Class, Error},
        http::error_body::GraphqlError,
    },
    forge::{
        Settings, Token,
        fleet::{FileListing, Head, MAX_SURVEY, RepositoryName, Survey, SurveyRequest},
        http::{Failure, Http, Reply, Request},
    },
};

/// The maximum size of a GraphQL response, in bytes.
const MAX_RESPONSE: u64 = 8 * 1024 * 1024;
/// The number of attempts before a query is divided.
const UNDIVIDED_ATTEMPTS: u32 = 2;

/// The repositories of one GitHub.
#[derive(Debug)]
pub(crate) struct GithubFleet {
    http: Http,
}

/// The result for a part of a query.
enum Part<T> {
    Done(T),
    /// A smaller query may succeed.
    Heavy(Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageRow {
    has_next_page: bool,
    end_cursor: Option<String>,
}

/// A GraphQL response: fields by their aliases, and the errors of missing fields.
struct Fields {
    data: Map<String, Value>,
    errors: Vec<GraphqlError>,
    reply: Reply,
}

impl GithubFleet {
    pub(crate) fn new(api: &Url, token: Token, settings: Settings) -> Result<Self, Error> {
        let http = client(api, token, settings)?;
        Ok(Self { http })
    }

    /// Sends a query with this number of parts.
    async fn query(
        &self,
        query: &str,
        variables: &Value,
        what: &str,
        parts: usize,
    ) -> Result<Fields, Failure> {
        let mut request = self.http.graphql(query, variables, what);
        request.max = MAX_RESPONSE;
        request.attempts = (parts > 1).then_some(UNDIVIDED_ATTEMPTS);
        let reply = self.http.send(&request).await?;
        let failure = |error, heavy| Failure {
            error,
            unsure: false,
            heavy,
        };
        if matches!(reply.status.as_u16(), 404 | 405) {
            let reason = "this server does not support GraphQL";
            return Err(failure(Error::unavailable(&request.what, reason), false));
        }
        // A response that exceeds a limit of the parser may succeed in smaller parts.
        let response: Response<Map<String, Value>> = reply
            .expect(&[200])
            .map_err(|error| failure(error, reply.status == 200))?;
        // An error without a path concerns the whole query.
        let error = response.errors.iter().find(|error| !error.path.is_array());
        if let Some(error) = error {
            let message = self.http.clean(&error.message);
            let class = if error.kind == "FORBIDDEN" {
                Class::Denied
            } else {
                Class::Unavailable
            };
            let heavy = is_heavy(error);
            return Err(failure(Error::about(class, &request.what, message), heavy));
        }
        Ok(Fields {
            data: response.data.unwrap_or_default(),
            errors: response.errors,
            reply,
        })
    }

    /// The error of a malformed part of a response.
    fn malformed(&self, what: &str, error: &serde_json::Error) -> Error {
        // The parser quotes the response, which may contain the token.
        let error = self.http.clean(&error.to_string());
        Error::unavailable(what, format!("malformed response: {error}"))
    }

    /// The error of a part of a query; `what`: its purpose.
    fn part_error(&self, what: &str, error: &GraphqlError) -> Error {
        let message = self.http.clean(&error.message);
        match error.kind.as_str() {
            "FORBIDDEN" | "INSUFFICIENT_SCOPES" => Error::about(Class::Denied, what, message)
                .help("give the token access to the repository: `contents: read` and `pull_requests: read`"),
            _ => Error::unavailable(what, message),
        }
    }
}

/// Whether the mode of a file is that of a regular file with any permissions.
fn is_regular(mode: u32) -> bool {
    const KIND: u32 = 0o170_000;
    const REGULAR: u32 = 0o100_000;
    mode & KIND == REGULAR
}

/// A request below a repository.
fn request(repository: &RepositoryName, path: &str, what: &str) -> Request {
    let top = ["repos", &repository.owner, &repository.name];
    let what = format!("GitHub: {what} of {repository}");
    Request::new(Method::GET, top.into_iter().chain(path.split('/')), what)
}

impl Fields {
    /// The errors of a field.
    fn errors_of<'f>(&'f self, alias: &'f str) -> impl Iterator<Item = &'f GraphqlError> {
        self.errors
            .iter()
            .filter(move |error| error.path[0].as_str() == Some(alias))
    }

    /// The first error of a field; an exceeded limit takes precedence.
    fn error_of<'f>(&'f self, alias: &'f str) -> Option<&'f GraphqlError> {
        let heavy = self.errors_of(alias).find(|error| is_heavy(error));
        heavy.or_else(|| self.errors_of(alias).next())
    }
}

/// Whether the query exceeded a limit. Users report partial data with errors of these types, and a
/// message without a type after a timeout.
fn is_heavy(error: &GraphqlError) -> bool {
    let kinds = ["RESOURCE_LIMITS_EXCEEDED", "MAX_NODE_LIMIT_EXCEEDED"];
    kinds.contains(&error.kind.as_str()) || is_outage(error)
}

/// The results of `count` parts, at most `batch_size` of them with one query; a query that exceeds a
/// limit is divided.
async fn in_batches<T: Clone>(
    count: usize,
    batch_size: usize,
    send: impl AsyncFn(&[usize]) -> Result<Vec<Part<T>>, Failure>,
) -> Vec<Result<T, Error>> {
    let all: Vec<usize> = (0..count).collect();
    let mut open: Vec<Vec<usize>> = all
        .chunks(batch_size)
        .rev()
        .map(<[usize]>::to_vec)
        .collect();
    let mut results: BTreeMap<usize, Result<T, Error>> = BTreeMap::new();
    while let Some(batch) = open.pop() {
        let is_divisible = batch.len() > 1;
        let mut heavy = Vec::new();
        match send(&batch).await {
            Ok(parts) => {
                for (number, part) in batch.iter().zip(parts) {
                    match part {
                        Part::Done(result) => drop(results.insert(*number, Ok(result))),
                        Part::Heavy(_) if is_divisible => heavy.push(*number),
                        Part::Heavy(error) => drop(results.insert(*number, Err(error))),
                    }
                }
            }
            Err(failure) if failure.heavy && is_divisible => heavy.clone_from(&batch),
            Err(failure) => {
                for number in &batch {
                    results.insert(*number, Err(failure.error.clone()));
                }
            }
        }
        let half = batch.len().div_ceil(2);
        open.extend(heavy.chunks(half).rev().map(<[usize]>::to_vec));
    }
    results.into_values().collect()
}

impl GithubFleet {
    pub(crate) async fn survey(&self, requests: &[SurveyRequest]) -> Vec<Survey> {
        let surveys = in_batches(requests.len(), MAX_SURVEY, async |batch| {
            self.survey_batch(requests, batch).await
        })
        .await;
        surveys
            .into_iter()
            .map(|survey| survey.unwrap_or_else(Survey::Failed))
            .collect()
    }

    pub(crate) async fn files(
        &self,
        repository: &RepositoryName,
        head: &Head,
    ) -> Result<FileListing, Error> {
        let what = format!("listing the files of {}", head.commit);
        let request = request(repository, &branches::tree_path(head), &what).query("recursive", 1);
        let reply = self.http.send(&request).await?;
        Ok(branches::listing(reply.expect(&[200])?))
    }
}
