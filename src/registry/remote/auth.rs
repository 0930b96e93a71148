//! Authorizations: who a repository is asked as, once found out and then kept for the run.
//!
//! A registry states its requirements in its first 401, so no separate request is needed.
//! Concurrent requests for one repository share one token; a failure is not retried in the same
//! run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;
use tokio::sync::Mutex as AsyncMutex;

use super::{
    address::{host_of, is_private, shown},
    challenge::{Bearer, Challenge, Trust, realm},
    credentials::{Book, Credentials, Kind, Lookup},
    http::{Body, Call, Http, Reply},
    request_error::RequestError,
};
use crate::{http::Deadline, untrusted::plain};

/// The largest answer of a token server, in bytes.
const TOKEN_MAX: u64 = 64 * 1024;
/// Who repin is to token servers.
const CLIENT: &str = "repin";

/// What is asked of which repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// The registry's root, with a slash at its end.
    pub(super) registry: Url,
    /// The host that the credentials are filed under.
    pub(super) host: String,
    /// The repository's name.
    pub(super) repository: String,
    /// `pull` or `delete`.
    pub(super) action: &'static str,
}

/// What a request is made with.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) header: HeaderValue,
    /// As whom; without secrets.
    pub(super) who: String,
    number: u64,
}

#[derive(Debug, Default)]
struct Slot {
    ticket: Option<Ticket>,
    failed: Option<RequestError>,
    issued: u64,
}

/// The authorizations of a run.
#[derive(Debug)]
pub(super) struct Auth {
    book: Book,
    slots: Mutex<HashMap<Scope, Arc<AsyncMutex<Slot>>>>,
}

/// Docker's token servers say `token`, OAuth 2.0's `access_token`; some both.
#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
}

impl Auth {
    pub(super) fn new(book: Book) -> Self {
        Self {
            book,
            slots: Mutex::default(),
        }
    }

    fn slot(&self, scope: &Scope) -> Arc<AsyncMutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(scope.clone()).or_default())
    }

    /// What is known already; waits for a token that is being fetched.
    pub(super) async fn current(&self, scope: &Scope) -> Result<Option<Ticket>, RequestError> {
        let slot = self.slot(scope);
        let slot = slot.lock().await;
        match &slot.failed {
            Some(error) => Err(error.clone()),
            None => Ok(slot.ticket.clone()),
        }
    }

    /// A ticket that answers a 401 to a request that was made with `used`.
    pub(super) async fn answer(
        &self,
        scope: &Scope,
        used: Option<&Ticket>,
        challenge: &Challenge,
        http: &Http,
        until: Deadline,
    ) -> Result<Ticket, RequestError> {
        let slot = self.slot(scope);
        let mut slot = slot.lock().await;
        if let Some(error) = &slot.failed {
            return Err(error.clone());
        }
        // Another request was faster.
        if let Some(ticket) = slot
            .ticket
            .as_ref()
            .filter(|ticket| used.is_none_or(|used| used.number < ticket.number))
        {
            return Ok(ticket.clone());
        }
        let issued = self.issue(scope, challenge, http, until).await;
        slot.issued += 1;
        match issued {
            Ok((header, who)) => {
                let ticket = Ticket {
                    header,
                    who,
                    number: slot.issued,
                };
                slot.ticket = Some(ticket.clone());
                Ok(ticket)
            }
            Err(error) => {
                slot.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn issue(
        &self,
        scope: &Scope,
        challenge: &Challenge,
        http: &Http,
        until: Deadline,
    ) -> Result<(HeaderValue, String), RequestError> {
        let lookup = self.book.lookup(&scope.host, &scope.repository).await;
        match challenge {
            Challenge::Basic => match &lookup.found {
                Some(found) if !is_private(&scope.registry) => {
                    Err(over_plain_http(&scope.registry, "the registry", found))
                }
                Some(found) if found.kind == Kind::Password => Ok((basic(found)?, who(found))),
                Some(found) => Err(RequestError::denied(format!(
                    "the registry requires a password, but {} is an identity token",
                    who(found)
                ))),
                None => Err(nobody(
                    scope,
                    &lookup,
                    "the registry requires a user name and a password",
                )),
            },
            Challenge::Bearer(bearer) => {
                let named = http
                    .realms
                    .get(&host_of(&scope.registry))
                    .map(String::as_str);
                let (realm, trust) = realm(bearer, &scope.registry, named)?;
                let own = trust == Trust::Own;
                let found = lookup.found.as_ref().filter(|_| own);
                if let Some(found) = found {
                    // The token that credentials give is sent to the registry.
                    for (url, server) in [
                        (&realm, "the token server"),
                        (&scope.registry, "the registry"),
                    ] {
                        if !is_private(url) {
                            return Err(over_plain_http(url, server, found));
                        }
                    }
                }
                let who = match (found, &lookup.found) {
                    (Some(found), _) => who(found),
                    (None, Some(unused)) => format!(
                        "anonymously, because the token server {} is not the registry's own host ({} was not sent)",
                        host_of(&realm),
                        who(unused)
                    ),
                    (None, None) => format!("anonymously ({})", searched(scope, &lookup)),
                };
                let call = token_call(&realm, bearer, scope, found)?;
                let token = granted(http, &call, until)
                    .await
                    .map_err(|error| explain(error, &realm, &who, scope))?;
                http.secrets.hide(&token);
                Ok((header(&format!("Bearer {token}"))?, who))
            }
        }
    }
}

/// The request for a token: distribution's "Token Authentication" for passwords, OAuth 2.0's
/// refresh grant for identity tokens.
fn token_call(
    realm: &Url,
    bearer: &Bearer,
    scope: &Scope,
    found: Option<&Credentials>,
) -> Result<Call, RequestError> {
    let ours = format!("repository:{}:{}", scope.repository, scope.action);
    let wanted = bearer
        .scope
        .as_deref()
        .filter(|text| !text.is_empty())
        .unwrap_or(&ours);
    let mut call = Call::get(realm.clone(), TOKEN_MAX);
    if let Some(found) = found.filter(|found| found.kind == Kind::IdentityToken) {
        let mut pairs = vec![("grant_type", "refresh_token"), ("client_id", CLIENT)];
        pairs.extend(
            bearer
                .service
                .as_deref()
                .map(|service| ("service", service)),
        );
        pairs.extend([("scope", wanted), ("refresh_token", found.secret.expose())]);
        call.method = Method::POST;
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        call.headers.insert(CONTENT_TYPE, kind);
        call.content = Some(form_encoded(&pairs));
        return Ok(call);
    }
    {
        let mut query = call.url.query_pairs_mut();
        query.extend_pairs(
            bearer
                .service
                .as_deref()
                .map(|service| ("service", service)),
        );
        query.extend_pairs(
            wanted
                .split(' ')
                .filter(|one| !one.is_empty())
                .map(|one| ("scope", one)),
        );
    }
    call.authorization = found.map(basic).transpose()?;
    Ok(call)
}

async fn granted(http: &Http, call: &Call, until: Deadline) -> Result<String, RequestError> {
    let Reply { status, body, .. } = http.send(call, until).await?;
    let Body::Read(body) = body else {
        return Err(RequestError::unavailable(
            "the response of the token server was not read",
        ));
    };
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(RequestError::denied(http.status_text(status, &body)));
    }
    // OAuth 2.0 answers 400 `invalid_grant` to a refresh token that is no longer good (RFC 6749,
    // section 5.2).
    if status == StatusCode::BAD_REQUEST && call.content.is_some() {
        return Err(RequestError::denied(http.status_text(status, &body)));
    }
    if !status.is_success() {
        return Err(RequestError::unavailable(http.status_text(status, &body)));
    }
    // The parser's own text may quote the token.
    let granted: Granted = serde_json::from_slice(&body)
        .map_err(|_| RequestError::unavailable("the response of the token server is malformed"))?;
    let token = granted
        .token
        .filter(|token| !token.is_empty())
        .or(granted.access_token)
        .unwrap_or_default();
    let visible = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if visible {
        Ok(token)
    } else {
        Err(RequestError::unavailable(
            "the response of the token server contains no usable token",
        ))
    }
}

/// `application/x-www-form-urlencoded` (WHATWG URL, section 5.2).
fn form_encoded(pairs: &[(&str, &str)]) -> String {
    // The serializer lives in the URL type; the address around it means nothing.
    let Ok(mut url) = Url::parse("http://form.invalid/") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

fn explain(fault: RequestError, realm: &Url, who: &str, scope: &Scope) -> RequestError {
    let denied = fault.kind == crate::error::Class::Denied;
    let reason = format!(
        "no token from {}: {}; requested {who}",
        shown(realm),
        fault.reason
    );
    let hint = fault.hint.or_else(|| denied.then(|| login_hint(scope)));
    RequestError {
        reason,
        hint,
        ..fault
    }
}

fn basic(found: &Credentials) -> Result<HeaderValue, RequestError> {
    header(&format!(
        "Basic {}",
        STANDARD.encode(format!("{}:{}", found.user, found.secret.expose()))
    ))
}

fn header(text: &str) -> Result<HeaderValue, RequestError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        RequestError::unavailable("the token contains characters that cannot be sent")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn who(found: &Credentials) -> String {
    match found.kind {
        Kind::Password => format!("as user `{}` from {}", plain(&found.user), found.origin),
        Kind::IdentityToken => format!("with the identity token from {}", found.origin),
    }
}

/// Credentials that were found, and would be readable on their way to a server.
fn over_plain_http(url: &Url, server: &str, found: &Credentials) -> RequestError {
    RequestError::denied(format!(
        "{server} {} does not use TLS, so credentials are not sent to it (found: {})",
        shown(url),
        who(found)
    ))
    .hint("use https in `sources`, `--source` or REPIN_SOURCES; credentials are sent over plain HTTP to loopback addresses only")
}

fn nobody(scope: &Scope, lookup: &Lookup, wants: &str) -> RequestError {
    RequestError::denied(format!("{wants}; {}", searched(scope, lookup))).hint(login_hint(scope))
}

/// Where credentials were looked for, and what went wrong there.
fn searched(scope: &Scope, lookup: &Lookup) -> String {
    let mut text = format!("no credentials found for {}", scope.host);
    if !lookup.looked.is_empty() {
        text.push_str(" in ");
        text.push_str(&lookup.looked.join(", "));
    }
    for trouble in &lookup.trouble {
        text.push_str("; ");
        text.push_str(trouble);
    }
    text
}

/// What to do about a refusal.
pub(super) fn login_hint(scope: &Scope) -> String {
    format!(
        "run `docker login {0}` or `podman login {0}` with an account that may {1} it",
        scope.host, scope.action
    )
}
