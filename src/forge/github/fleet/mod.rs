//! Many repositories on GitHub: GraphQL where it answers for several at once, REST for trees.
//!
//! A query that is too much for GitHub (a response that is too large, more than ten seconds, or
//! `RESOURCE_LIMITS_EXCEEDED` for a part of it) is divided until it is answered. One repository's
//! failure is never another's: an error belongs to the repository that its path names.

mod contents;
mod list;
mod order;
mod recent;
mod survey;

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    graphql::{Answer, is_outage},
    versioned,
};
use crate::{
    error::{Class, Error},
    forge::{
        Head, Settings, Token,
        fleet::{
            AT_ONCE, ContentRequest, Contents, FileListing, FleetReader, ListQuery, RecentHistory,
            RepositoryList, RepositoryName, Survey, SurveyRequest,
        },
        github::branches,
        http::{Failure, Http, Reply, Request},
    },
    http::error_body::GraphqlError,
};

/// The maximum size of a response about several repositories, in bytes.
const ANSWER_MAX: u64 = 8 * 1024 * 1024;
/// How often a query is sent as it is before it is divided.
const WHOLE_ATTEMPTS: u32 = 2;

/// The repositories of one GitHub.
#[derive(Debug)]
pub struct GithubFleet {
    http: Http,
}

/// What came of a part of a query.
enum Part<T> {
    Answered(T),
    /// A smaller query may do better.
    Heavy(Error),
}

/// Whether a page of a listing is the last.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageRow {
    has_next_page: bool,
    end_cursor: Option<String>,
}

/// A response of GraphQL: fields by their aliases, and what is missing.
struct Fields {
    data: Map<String, Value>,
    errors: Vec<GraphqlError>,
    reply: Reply,
}

impl GithubFleet {
    /// The repositories below the API at `api`; nothing is sent yet.
    pub fn new(api: &Url, token: Token, settings: Settings) -> Result<Self, Error> {
        let http = versioned(Http::new(api, token, "Bearer", settings)?);
        Ok(Self { http })
    }

    /// Sends a query about `parts` things.
    async fn query(
        &self,
        query: &str,
        variables: BTreeMap<String, Value>,
        what: &str,
        parts: usize,
    ) -> Result<Fields, Failure> {
        let variables = Value::Object(variables.into_iter().collect());
        let mut request = self.http.graphql(query, &variables, what);
        request.max = ANSWER_MAX;
        request.attempts = (parts > 1).then_some(WHOLE_ATTEMPTS);
        let reply = self.http.send(&request).await?;
        let failed = |error, heavy| Failure {
            error,
            unsure: false,
            heavy,
        };
        if matches!(reply.status.as_u16(), 404 | 405) {
            let reason = "this server does not support GraphQL";
            return Err(failed(Error::unavailable(&request.what, reason), false));
        }
        // What one repository has may be too much for the reader.
        let answer: Answer = reply.expect(&[200]).map_err(|error| {
            let heavy = reply.status == 200;
            failed(error, heavy)
        })?;
        let (data, errors) = answer.into_parts();
        let whole = errors.iter().find(|error| !error.path.is_array());
        if let Some(error) = whole {
            let denied = error.kind == "FORBIDDEN";
            let message = self.http.clean(&error.message);
            let class = if denied {
                Class::Denied
            } else {
                Class::Unavailable
            };
            let heavy = is_heavy(error);
            return Err(failed(Error::about(class, &request.what, message), heavy));
        }
        let data = match data {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        Ok(Fields {
            data,
            errors,
            reply,
        })
    }

    /// The error of a part of an answer that is not what was asked for.
    fn malformed(&self, what: &str, error: &serde_json::Error) -> Error {
        // What the reader quotes is the server's, who knows the token.
        let error = self.http.clean(&error.to_string());
        Error::unavailable(what, format!("malformed response: {error}"))
    }

    /// The error of a part of a query, `what`: its purpose.
    fn part_error(&self, what: &str, error: &GraphqlError) -> Error {
        let message = self.http.clean(&error.message);
        match error.kind.as_str() {
            "FORBIDDEN" | "INSUFFICIENT_SCOPES" => Error::about(Class::Denied, what, message)
                .help("give the token access to the repository: `contents: read` and `pull_requests: read`"),
            _ => Error::unavailable(what, message),
        }
    }
}

/// Whether a file's mode is that of a regular file, whatever its permissions.
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

    /// The first error of a field; one that says that too much was asked for comes first.
    fn error_of<'f>(&'f self, alias: &'f str) -> Option<&'f GraphqlError> {
        let heavy = self.errors_of(alias).find(|error| is_heavy(error));
        heavy.or_else(|| self.errors_of(alias).next())
    }
}

/// Whether too much was asked for. Reported: partial data with errors of this type, and for what took
/// too long a text without a type.
fn is_heavy(error: &GraphqlError) -> bool {
    let kinds = ["RESOURCE_LIMITS_EXCEEDED", "MAX_NODE_LIMIT_EXCEEDED"];
    kinds.contains(&error.kind.as_str()) || is_outage(error)
}

/// Answers for `count` things, at most `at_once` of them in one query; what is too much is divided.
async fn in_batches<T: Clone>(
    count: usize,
    at_once: usize,
    send: impl AsyncFn(&[usize]) -> Result<Vec<Part<T>>, Failure>,
) -> Vec<Result<T, Error>> {
    let all: Vec<usize> = (0..count).collect();
    let mut open: Vec<Vec<usize>> = all.chunks(at_once).rev().map(<[usize]>::to_vec).collect();
    let mut answers: BTreeMap<usize, Result<T, Error>> = BTreeMap::new();
    while let Some(batch) = open.pop() {
        let divisible = batch.len() > 1;
        let mut heavy = Vec::new();
        match send(&batch).await {
            Ok(parts) => {
                for (at, part) in batch.iter().zip(parts) {
                    match part {
                        Part::Answered(answer) => drop(answers.insert(*at, Ok(answer))),
                        Part::Heavy(_) if divisible => heavy.push(*at),
                        Part::Heavy(error) => drop(answers.insert(*at, Err(error))),
                    }
                }
            }
            Err(failure) if failure.heavy && divisible => heavy.clone_from(&batch),
            Err(failure) => {
                let all = batch.iter().map(|at| (*at, Err(failure.error.clone())));
                answers.extend(all);
            }
        }
        let half = batch.len().div_ceil(2);
        open.extend(heavy.chunks(half).rev().map(<[usize]>::to_vec));
    }
    answers.into_values().collect()
}

#[async_trait(?Send)]
impl FleetReader for GithubFleet {
    fn at_once(&self) -> usize {
        AT_ONCE
    }

    async fn survey(&self, requests: &[SurveyRequest]) -> Vec<Survey> {
        let ask = async |batch: &[usize]| self.survey_batch(requests, batch).await;
        let found = in_batches(requests.len(), AT_ONCE, ask).await;
        let survey = |found: Result<Survey, Error>| found.unwrap_or_else(Survey::Failed);
        found.into_iter().map(survey).collect()
    }

    async fn files(&self, repository: &RepositoryName, head: &Head) -> Result<FileListing, Error> {
        let id = if head.tree.is_empty() {
            &head.commit
        } else {
            &head.tree
        };
        let what = format!("listing the files of {}", head.commit);
        let path = format!("git/trees/{id}");
        let request = request(repository, &path, &what).query("recursive", 1);
        let reply = self.http.send(&request).await?;
        Ok(branches::listing(reply.expect(&[200])?))
    }

    async fn contents(&self, requests: &[ContentRequest]) -> Vec<Result<Contents, Error>> {
        self.read_contents(requests).await
    }

    async fn recent(
        &self,
        repository: &RepositoryName,
        head: &Head,
        files: &BTreeMap<String, String>,
    ) -> Result<RecentHistory, Error> {
        self.read_recent(repository, head, files).await
    }

    async fn is_ancestor(
        &self,
        repository: &RepositoryName,
        older: &str,
        newer: &str,
    ) -> Result<Option<bool>, Error> {
        self.read_order(repository, older, newer).await
    }

    async fn list(&self, query: &ListQuery) -> Result<RepositoryList, Error> {
        self.read_list(query).await
    }
}
