//! What only GraphQL can do: many contents in one request, and moving a branch from one commit to
//! another.

use std::fmt::Write as _;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Github,
    pulls::{NO_DRAFTS, USE_READY},
    refusal,
};
use crate::{
    error::{Class, Error},
    forge::{Pull, Repo, State, blob_id, http::Request},
};

/// Contents asked for at once.
const AT_ONCE: usize = 100;

#[derive(Deserialize)]
pub(super) struct Answer {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<Wrong>,
}

#[derive(Deserialize)]
struct Wrong {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
}

impl Wrong {
    /// Whether GitHub failed by itself: an answer with status 200 and without a type, after a timeout
    /// or a defect of GitHub's, as users report it. Whether a mutation was carried out is unknown.
    fn is_outage(&self) -> bool {
        self.kind.is_empty()
            && self
                .message
                .contains("Something went wrong while executing your query")
    }
}

impl Answer {
    /// What was asked for; null where there is none.
    pub(super) fn data(&self) -> &Value {
        self.data.as_ref().unwrap_or(&Value::Null)
    }

    /// The first error's type and text.
    pub(super) fn wrong(&self) -> Option<(&str, &str)> {
        self.errors
            .first()
            .map(|wrong| (wrong.kind.as_str(), wrong.message.as_str()))
    }
}

/// What became of a branch.
pub(super) enum Moved {
    Yes,
    /// It is not where it was, or a rule or a protection refuses it.
    No(Error),
    /// This server does not know the request.
    Unknown,
}

impl Github {
    /// Sends a query that may be sent twice; `None`: the server has no GraphQL.
    pub(super) async fn graphql(
        &self,
        query: &str,
        variables: Value,
        what: &str,
    ) -> Result<Option<Answer>, Error> {
        // Below `/api` on GitHub Enterprise Server, whose REST is below `/api/v3`.
        let base = self.http.base().path().trim_matches('/');
        let mut path = vec![""];
        path.extend(
            base.strip_suffix("v3")
                .unwrap_or(base)
                .split('/')
                .filter(|part| !part.is_empty()),
        );
        path.push("graphql");
        let body = json!({"query": query, "variables": variables});
        let request = Request::new(Method::POST, path, format!("GitHub: {what}"))
            .body(body)
            .harmless();
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
        match answer.errors.iter().find(|wrong| wrong.is_outage()) {
            None => Ok(Some(answer)),
            Some(wrong) => Err(Error {
                begun: writes,
                ..Error::unavailable(format!("GitHub: {what}"), self.http.clean(&wrong.message))
            }),
        }
    }

    pub(super) async fn read_blobs(&self, ids: &[String]) -> Result<Vec<Vec<u8>>, Error> {
        let mut contents = vec![None; ids.len()];
        if ids.len() > 1 {
            for (chunk, ids) in ids.chunks(AT_ONCE).enumerate() {
                let Some(texts) = self.texts(ids).await? else {
                    break;
                };
                for (at, text) in texts.into_iter().enumerate() {
                    // Only text comes this way, and what is not quite UTF-8 comes changed: the name
                    // tells.
                    contents[chunk * AT_ONCE + at] = text
                        .map(String::into_bytes)
                        .filter(|content| blob_id(content, &ids[at]) == ids[at]);
                }
            }
        }
        let mut all = Vec::new();
        for (id, content) in ids.iter().zip(contents) {
            all.push(if let Some(content) = content {
                content
            } else {
                self.read_blob(id).await?
            });
        }
        Ok(all)
    }

    /// Reads something of the repository; a field that the token may not read is null. `None`: the
    /// server does not know what was asked for, or has no GraphQL.
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
        match answer.wrong() {
            Some((_, said)) if said.contains("doesn't exist on type") => Ok(None),
            Some(("FORBIDDEN", said)) => Err(self.denied(what, said)),
            Some((_, said)) => {
                let what = format!("GitHub: {what}");
                Err(Error::unavailable(what, self.http.clean(said)))
            }
            None => {
                let what = format!("GitHub: {what}");
                Err(Error::unavailable(what, "the answer names no repository"))
            }
        }
    }

    async fn texts(&self, ids: &[String]) -> Result<Option<Vec<Option<String>>>, Error> {
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
        let Some(wrong) = answer.errors.first() else {
            return Ok(Moved::Yes);
        };
        if wrong.message.contains("doesn't exist on type")
            || wrong.message.contains("isn't a defined input type")
        {
            return Ok(Moved::Unknown);
        }
        if wrong.kind == "FORBIDDEN" {
            return Err(self.denied(&what, &wrong.message));
        }
        let (what, said) = (format!("GitHub: {what}"), self.http.clean(&wrong.message));
        Ok(Moved::No(Error::about(Class::Refused, what, said)))
    }

    /// Who the token belongs to, as far as GitHub tells; apps have names that end in `[bot]`.
    pub(super) async fn viewer(&self) -> Result<Option<String>, Error> {
        let what = "asking whom the token belongs to";
        let answer = self
            .graphql("query{viewer{login}}", json!({}), what)
            .await?;
        let login = answer.and_then(|answer| answer.data);
        Ok(login.and_then(|data| data["viewer"]["login"].as_str().map(str::to_owned)))
    }

    pub(super) async fn convert(&self, pull: &Pull, state: State) -> Result<(), Error> {
        let (name, to) = match state {
            State::Draft => ("convertPullRequestToDraft", "a draft"),
            State::Ready => ("markPullRequestReadyForReview", "ready for review"),
        };
        let kind = format!("{}{}Input", name[..1].to_ascii_uppercase(), &name[1..]);
        let query = format!("mutation($input:{kind}!){{{name}(input:$input){{clientMutationId}}}}");
        let what = format!("making pull request #{} {to}", pull.number);
        let answer = self
            .graphql(
                &query,
                json!({"input": {"pullRequestId": pull.node}}),
                &what,
            )
            .await?;
        let answer = answer.ok_or_else(|| {
            Error::unavailable(format!("GitHub: {what}"), "this server has no GraphQL")
        })?;
        match answer.errors.first() {
            None => Ok(()),
            Some(wrong) if wrong.kind == "FORBIDDEN" => Err(self.denied(&what, &wrong.message)),
            Some(wrong) => {
                let said = self.http.clean(&wrong.message);
                let no_drafts = said.contains(NO_DRAFTS);
                let error = Error::about(Class::Refused, format!("GitHub: {what}"), said);
                Err(if no_drafts {
                    error.help(USE_READY)
                } else {
                    error
                })
            }
        }
    }

    fn denied(&self, what: &str, said: &str) -> Error {
        let (what, said) = (format!("GitHub: {what}"), self.http.clean(said));
        let error = Error::about(Class::Denied, what, said);
        refusal::archived(&error).unwrap_or_else(|| {
            error.help("the token needs `contents: write` and `pull-requests: write`")
        })
    }
}
