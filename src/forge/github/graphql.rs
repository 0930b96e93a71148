//! What only GraphQL offers: many contents in one request, and moving a branch from one commit to
//! another.

use std::fmt::Write as _;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Github, refusal};
use crate::{
    error::{Class, Error},
    forge::{
        Repo,
        http::{Http, Request},
    },
    http::error_body::GraphqlError,
};

/// Contents asked for at once.
pub(super) const AT_ONCE: usize = 100;

#[derive(Deserialize)]
pub(super) struct Answer {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<GraphqlError>,
}

impl Answer {
    /// What was requested; null where it is missing.
    pub(super) fn data(&self) -> &Value {
        self.data.as_ref().unwrap_or(&Value::Null)
    }

    /// What was requested, and all errors.
    pub(super) fn into_parts(self) -> (Option<Value>, Vec<GraphqlError>) {
        (self.data, self.errors)
    }

    /// The first error.
    pub(super) fn first_error(&self) -> Option<&GraphqlError> {
        self.errors.first()
    }
}

/// Whether GitHub failed by itself: a response with status 200 and an error without a type, after a
/// timeout or a defect of GitHub's, as users report it. Whether a mutation was carried out is
/// unknown.
pub(super) fn is_outage(error: &GraphqlError) -> bool {
    error.kind.is_empty()
        && error
            .message
            .contains("Something went wrong while executing your query")
}

/// The outcome of a branch.
pub(super) enum Moved {
    Yes,
    /// It is not where it was, or a rule or a protection refuses it.
    No(Error),
    /// This server does not know the request.
    Unknown,
}

impl Http {
    /// A request of GraphQL that may be sent twice.
    pub(super) fn graphql(&self, query: &str, variables: &Value, what: &str) -> Request {
        // Below `/api` on GitHub Enterprise Server, whose REST is below `/api/v3`.
        let base = self.base().path().trim_matches('/');
        let mut path = vec![""];
        path.extend(
            base.strip_suffix("v3")
                .unwrap_or(base)
                .split('/')
                .filter(|part| !part.is_empty()),
        );
        path.push("graphql");
        let body = json!({"query": query, "variables": variables});
        let request = Request::new(Method::POST, path, format!("GitHub: {what}"));
        let request = request.body(body);
        if query.starts_with("mutation") {
            request.harmless()
        } else {
            request.reading()
        }
    }
}

impl Github {
    /// Sends a query that may be sent twice; `None`: the server has no GraphQL.
    pub(super) async fn graphql(
        &self,
        query: &str,
        variables: Value,
        what: &str,
    ) -> Result<Option<Answer>, Error> {
        let request = self.http.graphql(query, &variables, what);
        // Reading leaves nothing behind.
        let writes = query.starts_with("mutation");
        let reply = self.http.send(&request).await.map_err(|failure| Error {
            begun: failure.unsure && writes,
            ..failure.error
        })?;
        if matches!(reply.status.as_u16(), 404 | 405) {
            return Ok(None);
        }
        let answer: Answer = reply.expect(&[200])?;
        match answer.errors.iter().find(|error| is_outage(error)) {
            None => Ok(Some(answer)),
            Some(error) => Err(Error {
                begun: writes,
                ..Error::unavailable(format!("GitHub: {what}"), self.http.clean(&error.message))
            }),
        }
    }

    /// Sends a mutation that may be sent twice; a server without GraphQL is an error.
    pub(super) async fn mutate(
        &self,
        mutation: &str,
        input: Value,
        what: &str,
    ) -> Result<Answer, Error> {
        let answer = self
            .graphql(mutation, json!({"input": input}), what)
            .await?;
        answer.ok_or_else(|| {
            Error::unavailable(
                format!("GitHub: {what}"),
                "this server does not support GraphQL",
            )
        })
    }

    /// Reads something of the repository; a field that the token may not read is null. `None`: the
    /// server does not know what was requested, or has no GraphQL.
    pub(super) async fn read_of_repository(
        &self,
        query: &str,
        variables: Value,
        what: &str,
    ) -> Result<Option<Value>, Error> {
        let Some(answer) = self.graphql(query, variables, what).await? else {
            return Ok(None);
        };
        let row = &answer.data()["repository"];
        if !row.is_null() {
            return Ok(Some(row.clone()));
        }
        match answer.first_error() {
            Some(error) if error.message.contains("doesn't exist on type") => Ok(None),
            Some(error) if error.kind == "FORBIDDEN" => Err(self.denied(what, &error.message)),
            Some(error) => {
                let what = format!("GitHub: {what}");
                Err(Error::unavailable(what, self.http.clean(&error.message)))
            }
            None => {
                let what = format!("GitHub: {what}");
                Err(Error::unavailable(
                    what,
                    "the response contains no repository",
                ))
            }
        }
    }

    /// The contents of blobs that are text; `None`: the server does not answer the query.
    pub(super) async fn texts(&self, ids: &[String]) -> Result<Option<Vec<Option<String>>>, Error> {
        let mut query = String::from(
            "query($owner:String!,$name:String!){repository(owner:$owner,name:$name){",
        );
        for (at, id) in ids.iter().enumerate() {
            // Names of objects are hexadecimal, so nothing can end the string.
            let id: String = id.chars().filter(char::is_ascii_hexdigit).collect();
            let _ = write!(
                query,
                "b{at}:object(oid:\"{id}\"){{...on Blob{{text isTruncated}}}}"
            );
        }
        query.push_str("}}");
        let variables = json!({"owner": self.owner, "name": self.name});
        let Some(answer) = self.graphql(&query, variables, "reading contents").await? else {
            return Ok(None);
        };
        let Some(data) = answer.data.filter(|_| answer.errors.is_empty()) else {
            return Ok(None);
        };
        let text = |at: usize| {
            data["repository"][format!("b{at}")]["text"]
                .as_str()
                .map(str::to_owned)
        };
        Ok(Some((0..ids.len()).map(text).collect()))
    }

    /// Moves a branch from one commit to another, or not at all.
    pub(super) async fn update_ref(
        &self,
        repo: &Repo,
        branch: &str,
        from: &str,
        to: &str,
    ) -> Result<Moved, Error> {
        let query = "mutation($input:UpdateRefsInput!){updateRefs(input:$input){clientMutationId}}";
        let update = json!({"name": format!("refs/heads/{branch}"), "beforeOid": from, "afterOid": to, "force": true});
        let input = json!({"repositoryId": repo.node, "refUpdates": [update]});
        let what = format!("moving the branch {branch}");
        let Some(answer) = self.graphql(query, json!({"input": input}), &what).await? else {
            return Ok(Moved::Unknown);
        };
        let Some(error) = answer.first_error() else {
            return Ok(Moved::Yes);
        };
        if error.message.contains("doesn't exist on type")
            || error.message.contains("isn't a defined input type")
        {
            return Ok(Moved::Unknown);
        }
        if error.kind == "FORBIDDEN" {
            return Err(self.denied(&what, &error.message));
        }
        let (what, message) = (format!("GitHub: {what}"), self.http.clean(&error.message));
        Ok(Moved::No(Error::about(Class::Refused, what, message)))
    }

    /// A refusal because of a missing permission.
    pub(super) fn denied(&self, what: &str, message: &str) -> Error {
        let (what, message) = (format!("GitHub: {what}"), self.http.clean(message));
        let error = Error::about(Class::Denied, what, message);
        refusal::archived(&error).unwrap_or_else(|| {
            error.help("give the token `contents: write` and `pull-requests: write`")
        })
    }
}
