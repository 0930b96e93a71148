//! GraphQL, for operations that REST does not support. The queries are in `queries/`.

use std::fmt::Write as _;

use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{Github, repository};
use crate::{
    base::{
        error::{Class, Error},
        http::{Effect, error_body::GraphqlError},
    },
    forge::http::{Http, Request},
};

/// The maximum number of contents that one query requests.
pub(super) const MAX_BLOBS: usize = 100;

/// A response. Fields that the token may not read are null, and each has an error.
#[derive(Deserialize)]
pub(super) struct Response<T> {
    pub(super) data: Option<T>,
    #[serde(default = "Vec::new")]
    pub(super) errors: Vec<GraphqlError>,
}

/// The data of a query for a repository.
#[derive(Deserialize)]
pub(super) struct RepositoryData<T> {
    pub(super) repository: Option<T>,
}

/// The data of a blob; every field is null for another kind of object.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlobRow {
    pub(super) byte_size: Option<u64>,
    pub(super) text: Option<String>,
}

/// Whether GitHub failed internally: a response with status 200 and an error without a type, after a
/// timeout or a defect, as users report it. Whether a mutation was carried out is unknown.
pub(super) fn is_outage(error: &GraphqlError) -> bool {
    error.kind.is_empty()
        && error
            .message
            .contains("Something went wrong while executing your query")
}

/// A query with numbered parts. The aliases and variables of a part have the suffix `_` and its
/// number.
#[derive(Default)]
pub(super) struct Batch {
    declarations: String,
    selections: String,
    variables: Map<String, Value>,
}

impl Batch {
    pub(super) fn variable(&mut self, name: &str, kind: &str, value: impl Into<Value>) {
        let _ = write!(self.declarations, "${name}: {kind}, ");
        self.variables.insert(name.to_owned(), value.into());
    }

    /// The variables of the repository with this number.
    pub(super) fn repository(&mut self, number: usize, owner: &str, name: &str) {
        self.variable(&format!("owner_{number}"), "String!", owner);
        self.variable(&format!("name_{number}"), "String!", name);
    }

    /// Adds a part of the selection; `number` replaces the 0 in its aliases and variables.
    pub(super) fn select(&mut self, template: &str, number: usize) {
        let suffix = format!("_{number}");
        for word in template.split_whitespace() {
            self.selections += &word.replace("_0", &suffix);
            self.selections.push(' ');
        }
    }

    /// Adds the selection of a blob.
    pub(super) fn blob(&mut self, number: usize, id: &str) {
        self.variable(&format!("oid_{number}"), "GitObjectID!", id);
        self.select(include_str!("queries/blob.graphql"), number);
    }

    /// The text and the variables of the query.
    pub(super) fn query(self) -> (String, Value) {
        let text = format!(
            "query ({}) {{ {}}}",
            self.declarations.trim_end_matches(", "),
            self.selections
        );
        (text, Value::Object(self.variables))
    }
}

impl Http {
    /// A GraphQL request, which may be sent twice.
    pub(super) fn graphql(&self, query: &str, variables: &Value, what: &str) -> Request {
        // On GitHub Enterprise Server, GraphQL is below `/api` and REST below `/api/v3`.
        let base = self.base().path().trim_matches('/');
        let base = base.strip_suffix("v3").unwrap_or(base);
        let mut path = vec![""];
        path.extend(base.split('/').filter(|segment| !segment.is_empty()));
        path.push("graphql");
        let request = Request::new(Method::POST, path, format!("GitHub: {what}"))
            .body(json!({"query": query, "variables": variables}));
        if query.starts_with("mutation") {
            request.repeatable()
        } else {
            request.read_only()
        }
    }
}

impl Github {
    /// Sends a query or mutation that may be sent twice; `None` if the server has no GraphQL.
    pub(super) async fn graphql<T: DeserializeOwned>(
        &self,
        query: &str,
        variables: Value,
        what: &str,
    ) -> Result<Option<Response<T>>, Error> {
        let request = self.http.graphql(query, &variables, what);
        let is_mutation = request.effect == Effect::Write;
        let reply = self.http.send(&request).await.map_err(|failure| Error {
            may_have_changed: failure.unsure && is_mutation,
            ..failure.error
        })?;
        if matches!(reply.status.as_u16(), 404 | 405) {
            return Ok(None);
        }
        let response: Response<T> = if is_mutation {
            reply.expect_done(&[200])?
        } else {
            reply.expect(&[200])?
        };
        match response.errors.iter().find(|error| is_outage(error)) {
            None => Ok(Some(response)),
            Some(error) => Err(Error {
                may_have_changed: is_mutation,
                ..Error::unavailable(format!("GitHub: {what}"), self.http.clean(&error.message))
            }),
        }
    }

    /// Sends a mutation that may be sent twice; a server without GraphQL is an error.
    pub(super) async fn mutate<T: DeserializeOwned>(
        &self,
        mutation: &str,
        input: Value,
        what: &str,
    ) -> Result<Response<T>, Error> {
        let variables = json!({"input": input});
        match self.graphql(mutation, variables, what).await? {
            Some(response) => Ok(response),
            None => Err(Error::unavailable(
                format!("GitHub: {what}"),
                "this server does not support GraphQL",
            )),
        }
    }

    /// Requests fields of the repository; a field without permission is null. `None` if the server
    /// does not have the requested fields, or no GraphQL.
    pub(super) async fn query_repository<T: DeserializeOwned>(
        &self,
        query: &str,
        mut variables: Value,
        what: &str,
    ) -> Result<Option<T>, Error> {
        variables["owner"] = self.owner.as_str().into();
        variables["name"] = self.name.as_str().into();
        let response: Option<Response<RepositoryData<T>>> =
            self.graphql(query, variables, what).await?;
        let Some(response) = response else {
            return Ok(None);
        };
        if let Some(repository) = response.data.and_then(|data| data.repository) {
            return Ok(Some(repository));
        }
        let Some(error) = response.errors.first() else {
            return Err(Error::unavailable(
                format!("GitHub: {what}"),
                "the response contains no repository",
            ));
        };
        if error.message.contains("doesn't exist on type") {
            return Ok(None);
        }
        if error.kind == "FORBIDDEN" {
            return Err(self.denied(what, &error.message));
        }
        let message = self.http.clean(&error.message);
        Err(Error::unavailable(format!("GitHub: {what}"), message))
    }

    /// The error of a missing permission.
    pub(super) fn denied(&self, what: &str, message: &str) -> Error {
        let (what, message) = (format!("GitHub: {what}"), self.http.clean(message));
        let error = Error::about(Class::Denied, what, message);
        repository::archived(&error).unwrap_or_else(|| error.help(MAY_WRITE))
    }
}

/// The remedy for a token that may not change the repository.
pub(super) const MAY_WRITE: &str = "give the token `contents: write` and `pull-requests: write`";
