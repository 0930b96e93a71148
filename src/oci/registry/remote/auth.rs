//! Authorizations for repositories, cached for the run.
//!
//! A registry states its requirements in its first 401, so no separate request is needed.
//! Concurrent requests for one repository share one token. A failure is cached too.

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
    address::{host_of, is_safe_for_credentials, redacted},
    challenge::{Bearer, Challenge, Trust, token_server},
    client::RegistryClient,
    credentials::{CredentialStore, Credentials, Lookup, SecretKind},
    request_error::RequestError,
};
use crate::base::{
    error::Class,
    http::{Body, Call, Deadline, Reply},
    untrusted::plain,
};

/// The longest response of a token server, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;
/// The name of repin in token requests (`client_id`).
const CLIENT: &str = "repin";

/// An action on a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) registry: Url,
    /// The host in the keys of credentials.
    pub(super) host: String,
    pub(super) repository: String,
    /// `pull` or `delete`.
    pub(super) action: &'static str,
}

/// The authorization of a request.
#[derive(Debug, Clone)]
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    /// A description of the account, without secrets.
    pub(super) account: String,
    number: u64,
}

/// The cached authorization for a scope.
#[derive(Debug, Default)]
struct CacheEntry {
    authorization: Option<Authorization>,
    error: Option<RequestError>,
    /// The number of authorizations that were requested.
    requested: u64,
}

/// The authorizations of a run.
#[derive(Debug)]
pub(super) struct Auth {
    credentials: CredentialStore,
    cache: Mutex<HashMap<Scope, Arc<AsyncMutex<CacheEntry>>>>,
}

/// Docker's token servers return `token`, those of OAuth 2.0 `access_token`; some return both.
#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
}

impl Auth {
    pub(super) fn new(credentials: CredentialStore) -> Self {
        Self {
            credentials,
            cache: Mutex::default(),
        }
    }

    fn cache_entry(&self, scope: &Scope) -> Arc<AsyncMutex<CacheEntry>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cache.entry(scope.clone()).or_default())
    }

    /// The cached authorization, after a token that is being requested.
    pub(super) async fn current(
        &self,
        scope: &Scope,
    ) -> Result<Option<Authorization>, RequestError> {
        let entry = self.cache_entry(scope);
        let entry = entry.lock().await;
        match &entry.error {
            Some(error) => Err(error.clone()),
            None => Ok(entry.authorization.clone()),
        }
    }

    /// A new authorization after a 401 to a request with the authorization `refused`.
    pub(super) async fn renew(
        &self,
        scope: &Scope,
        refused: Option<&Authorization>,
        challenge: &Challenge,
        client: &RegistryClient,
        until: Deadline,
    ) -> Result<Authorization, RequestError> {
        let entry = self.cache_entry(scope);
        let mut entry = entry.lock().await;
        if let Some(error) = &entry.error {
            return Err(error.clone());
        }
        // A concurrent request may have renewed it already.
        if let Some(cached) = &entry.authorization
            && refused.is_none_or(|refused| refused.number < cached.number)
        {
            return Ok(cached.clone());
        }
        let result = self.request(scope, challenge, client, until).await;
        entry.requested += 1;
        match result {
            Ok((header, account)) => {
                let authorization = Authorization {
                    header,
                    account,
                    number: entry.requested,
                };
                entry.authorization = Some(authorization.clone());
                Ok(authorization)
            }
            Err(error) => {
                entry.error = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The header that a challenge requires, and a description of the account.
    async fn request(
        &self,
        scope: &Scope,
        challenge: &Challenge,
        client: &RegistryClient,
        until: Deadline,
    ) -> Result<(HeaderValue, String), RequestError> {
        let lookup = self
            .credentials
            .lookup(&scope.host, &scope.repository)
            .await;
        match challenge {
            Challenge::Basic => basic_authorization(scope, &lookup),
            Challenge::Bearer(bearer) => request_token(scope, bearer, &lookup, client, until).await,
        }
    }
}

fn basic_authorization(
    scope: &Scope,
    lookup: &Lookup,
) -> Result<(HeaderValue, String), RequestError> {
    let Some(credentials) = &lookup.credentials else {
        let search = describe_search(scope, lookup);
        return Err(RequestError::denied(format!(
            "the registry requires a user name and a password; {search}"
        ))
        .hint(login_hint(scope)));
    };
    if !is_safe_for_credentials(&scope.registry) {
        return Err(unsafe_url(&scope.registry, "the registry", credentials));
    }
    if credentials.kind == SecretKind::IdentityToken {
        return Err(RequestError::denied(format!(
            "the registry requires a password, but {} is an identity token",
            account(credentials)
        )));
    }
    Ok((basic_header(credentials)?, account(credentials)))
}

async fn request_token(
    scope: &Scope,
    bearer: &Bearer,
    lookup: &Lookup,
    client: &RegistryClient,
    until: Deadline,
) -> Result<(HeaderValue, String), RequestError> {
    let configured = client.realms.get(&host_of(&scope.registry));
    let (server, trust) = token_server(bearer, &scope.registry, configured.map(String::as_str))?;
    let (credentials, account) = match (&lookup.credentials, trust) {
        (Some(credentials), Trust::Own) => {
            // The registry receives the token, which is worth as much as the credentials.
            for (url, role) in [
                (&server, "the token server"),
                (&scope.registry, "the registry"),
            ] {
                if !is_safe_for_credentials(url) {
                    return Err(unsafe_url(url, role, credentials));
                }
            }
            (Some(credentials), account(credentials))
        }
        (Some(unused), Trust::Foreign) => {
            let account = format!(
                "anonymously, because the token server {} is not the registry's own host ({} was not sent)",
                host_of(&server),
                account(unused)
            );
            (None, account)
        }
        (None, _) => {
            let search = describe_search(scope, lookup);
            (None, format!("anonymously ({search})"))
        }
    };
    let call = token_call(&server, bearer, scope, credentials)?;
    let token = fetch_token(client, &call, until)
        .await
        .map_err(|error| token_error(error, &server, &account, scope))?;
    client.secrets.hide(&token);
    Ok((header(&format!("Bearer {token}"))?, account))
}

/// The request for a token: distribution's "Token Authentication" for passwords, OAuth 2.0's
/// refresh grant for identity tokens.
fn token_call(
    server: &Url,
    bearer: &Bearer,
    scope: &Scope,
    credentials: Option<&Credentials>,
) -> Result<Call, RequestError> {
    let scopes = match bearer.scope.as_deref() {
        None | Some("") => format!("repository:{}:{}", scope.repository, scope.action),
        Some(scopes) => scopes.to_owned(),
    };
    let service = bearer
        .service
        .as_deref()
        .map(|service| ("service", service));
    let mut call = Call::get(server.clone(), MAX_TOKEN);
    if let Some(credentials) = credentials
        && credentials.kind == SecretKind::IdentityToken
    {
        let mut pairs = vec![("grant_type", "refresh_token"), ("client_id", CLIENT)];
        pairs.extend(service);
        pairs.push(("scope", &scopes));
        pairs.push(("refresh_token", credentials.secret.expose()));
        call.method = Method::POST;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        call.headers.insert(CONTENT_TYPE, form);
        call.content = Some(form_encoded(&pairs));
        return Ok(call);
    }
    let mut pairs: Vec<_> = service.into_iter().collect();
    for scope in scopes.split(' ').filter(|scope| !scope.is_empty()) {
        pairs.push(("scope", scope));
    }
    call.url.query_pairs_mut().extend_pairs(pairs);
    call.authorization = credentials.map(basic_header).transpose()?;
    Ok(call)
}

async fn fetch_token(
    client: &RegistryClient,
    call: &Call,
    until: Deadline,
) -> Result<String, RequestError> {
    let Reply { status, body, .. } = client.send(call, until).await?;
    let Body::Complete(body) = body else {
        return Err(RequestError::unavailable(
            "the response of the token server was not read",
        ));
    };
    // OAuth 2.0 refuses an invalid refresh token with 400 `invalid_grant` (RFC 6749, section 5.2).
    let is_invalid_grant = status == StatusCode::BAD_REQUEST && call.content.is_some();
    if is_invalid_grant || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(RequestError::denied(client.status_text(status, &body)));
    }
    if !status.is_success() {
        return Err(RequestError::unavailable(client.status_text(status, &body)));
    }
    // The parser's message may quote the token.
    let response: TokenResponse = serde_json::from_slice(&body)
        .map_err(|_| RequestError::unavailable("the response of the token server is malformed"))?;
    let token = response
        .token
        .filter(|token| !token.is_empty())
        .or(response.access_token)
        .unwrap_or_default();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(RequestError::unavailable(
            "the response of the token server contains no usable token",
        ));
    }
    Ok(token)
}

/// `application/x-www-form-urlencoded` (WHATWG URL, section 5.2).
fn form_encoded(pairs: &[(&str, &str)]) -> String {
    // The crate exposes its serializer only for the query of a URL.
    let Ok(mut url) = Url::parse("http://form.invalid/") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

fn token_error(error: RequestError, server: &Url, account: &str, scope: &Scope) -> RequestError {
    let is_denied = error.class == Class::Denied;
    let reason = format!(
        "no token from {}: {}; requested {account}",
        redacted(server),
        error.reason
    );
    let hint = error.hint.or_else(|| is_denied.then(|| login_hint(scope)));
    RequestError {
        reason,
        hint,
        // A token is not the requested document.
        is_too_large: false,
        ..error
    }
}

fn basic_header(credentials: &Credentials) -> Result<HeaderValue, RequestError> {
    let pair = format!("{}:{}", credentials.user, credentials.secret.expose());
    header(&format!("Basic {}", STANDARD.encode(pair)))
}

fn header(text: &str) -> Result<HeaderValue, RequestError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        RequestError::unavailable("the token contains characters that cannot be sent")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn account(credentials: &Credentials) -> String {
    let origin = &credentials.origin;
    match credentials.kind {
        SecretKind::Password => format!("as user `{}` from {origin}", plain(&credentials.user)),
        SecretKind::IdentityToken => format!("with the identity token from {origin}"),
    }
}

/// The error for credentials that would be sent to `url` over plain HTTP.
fn unsafe_url(url: &Url, role: &str, credentials: &Credentials) -> RequestError {
    RequestError::denied(format!(
        "{role} {} does not use TLS, so credentials are not sent to it (found: {})",
        redacted(url),
        account(credentials)
    ))
    .hint("use https in `sources`, `--source` or REPIN_SOURCES; credentials are sent over plain HTTP to loopback addresses only")
}

/// The places that were searched for credentials, and their problems.
fn describe_search(scope: &Scope, lookup: &Lookup) -> String {
    let mut text = format!("no credentials found for {}", scope.host);
    if !lookup.searched.is_empty() {
        text.push_str(" in ");
        text.push_str(&lookup.searched.join(", "));
    }
    for problem in &lookup.problems {
        text.push_str("; ");
        text.push_str(problem);
    }
    text
}

/// The remedy for a refusal.
pub(super) fn login_hint(scope: &Scope) -> String {
    format!(
        "run `docker login {0}` or `podman login {0}` with an account that may {1} it",
        scope.host, scope.action
    )
}
