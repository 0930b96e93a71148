//! Authorizations for repositories, cached for the run.
//!
//! A registry states its requirements in its first 401, so no separate request is needed.
//! Concurrent requests for one repository share one token. A failure is cached too.
//!
//! The challenge of a registry, `WWW-Authenticate` (RFC 9110, section 11.6.1), and the trust in its
//! token server.
//!
//! This module sends no requests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_auth::{ChallengeRef, parser::ChallengeParser};
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use tokio::sync::Mutex as AsyncMutex;

use super::{
    credentials::{CredentialStore, Credentials, Lookup, SecretKind},
    request_error::RequestError,
    settings::RegistryClient,
};
use crate::base::{
    error::Class,
    http::{
        Body, Call, Deadline, Reply,
        address::{check_url, host_of, is_safe_for_credentials, redacted},
    },
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
    /// `pull`, `pull,push`, `delete`, or `*`.
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
        // The challenge may be for the action that was refused.
        Some(_) if scope.action == "*" => format!("repository:{}:*", scope.repository),
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
    let action = match scope.action {
        "pull,push" => "push to",
        "*" => "delete",
        action => action,
    };
    format!(
        "run `docker login {0}` or `podman login {0}` with an account that may {action} it",
        scope.host
    )
}

/// The authentication that a registry requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request (RFC 7617).
    Basic,
    /// A token from a token server (distribution specification, "Token Authentication").
    Bearer(Bearer),
}

/// The parameters of a token request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

/// The documented token servers of registries on another host; GHCR's token server is on its own
/// host.
const DOCUMENTED: [(&str, &str); 2] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
];

/// The challenge in a response; Bearer is preferred to Basic.
pub(super) fn parse(headers: &HeaderMap) -> Result<Challenge, RequestError> {
    let (mut has_basic, mut bearer, mut has_malformed) = (false, None, false);
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else {
            has_malformed = true;
            continue;
        };
        // A malformed header is ignored completely: the part before the error may have another
        // meaning.
        let Ok(challenges) = ChallengeParser::new(text).collect::<Result<Vec<_>, _>>() else {
            has_malformed = true;
            continue;
        };
        for challenge in challenges {
            has_basic |= challenge.scheme.eq_ignore_ascii_case("basic");
            if challenge.scheme.eq_ignore_ascii_case("bearer") && bearer.is_none() {
                bearer = Some(parse_bearer(&challenge)?);
            }
        }
    }
    match (bearer, has_basic) {
        (Some(bearer), _) => Ok(Challenge::Bearer(bearer)),
        (None, true) => Ok(Challenge::Basic),
        (None, false) if has_malformed => Err(RequestError::denied(
            "the registry requires credentials, but its challenge cannot be parsed (WWW-Authenticate)",
        )),
        (None, false) => Err(RequestError::denied(
            "the registry requires credentials, but offers neither Basic nor Bearer",
        )),
    }
}

fn parse_bearer(challenge: &ChallengeRef<'_>) -> Result<Bearer, RequestError> {
    let realm = parameter(challenge, "realm")?
        .ok_or_else(|| RequestError::denied("the challenge names no token server (realm)"))?;
    Ok(Bearer {
        realm,
        service: parameter(challenge, "service")?,
        scope: parameter(challenge, "scope")?,
    })
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Result<Option<String>, RequestError> {
    let mut found = None;
    for (key, value) in &challenge.params {
        if !key.eq_ignore_ascii_case(name) {
            continue;
        }
        if found.replace(value.to_unescaped()).is_some() {
            return Err(RequestError::denied(format!(
                "the challenge contains a duplicate `{name}`"
            )));
        }
    }
    Ok(found)
}

/// Whether a token server receives the registry's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// The registry itself, its documented token server, or a configured one.
    Own,
    /// Any other host, which receives no credentials.
    Foreign,
}

/// The token server's URL, and the trust in it. `configured` is the registry's token server in the
/// configuration.
pub(super) fn token_server(
    bearer: &Bearer,
    registry: &Url,
    configured: Option<&str>,
) -> Result<(Url, Trust), RequestError> {
    let mut url = Url::parse(&bearer.realm)
        .map_err(|_| RequestError::denied("the token server (realm) is not a URL"))?;
    url.set_fragment(None);
    check_url(&url).map_err(|reason| {
        RequestError::denied(format!("the token server is {}, {reason}", redacted(&url)))
    })?;
    if registry.scheme() == "https" && url.scheme() != "https" {
        let reason = format!(
            "the token server {} does not use TLS, but the registry does",
            redacted(&url)
        );
        return Err(RequestError::denied(reason));
    }
    let (registry_host, server) = (host_of(registry), host_of(&url));
    let is_documented = registry.scheme() == "https"
        && DOCUMENTED.contains(&(registry_host.as_str(), server.as_str()));
    let is_own =
        url.origin() == registry.origin() || is_documented || configured == Some(server.as_str());
    Ok((url, if is_own { Trust::Own } else { Trust::Foreign }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(values: &[&str]) -> Result<Challenge, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        parse(&headers).map_err(|error| error.reason)
    }

    fn bearer(realm: &str) -> Bearer {
        Bearer {
            realm: realm.to_owned(),
            service: None,
            scope: None,
        }
    }

    #[test]
    fn challenge_with_quoted_strings_is_parsed() {
        let expected = Challenge::Bearer(Bearer {
            realm: "https://r/to\"ken".to_owned(),
            service: Some("a, b".to_owned()),
            scope: Some("repository:x:pull".to_owned()),
        });
        let text = r#"Negotiate, bearer Realm="https://r/to\"ken", service="a, b",scope="repository:x:pull", Basic realm="x""#;
        assert_eq!(parsed(&[text]), Ok(expected));
        assert_eq!(
            parsed(&["Digest realm=\"d\", nonce=x", "BASIC realm=\"x\""]),
            Ok(Challenge::Basic)
        );
        assert_eq!(
            parsed(&["Bearer realm=\"", "Basic realm=x"]),
            Ok(Challenge::Basic)
        );
    }

    #[test]
    fn unsupported_challenge_is_refused_with_its_reason() {
        for (value, reason) in [
            ("Negotiate", "neither"),
            ("Bearer service=\"x\"", "names no token server"),
            ("Bearer realm=\"a\", realm=\"b\"", "duplicate `realm`"),
            ("Bearer realm=\"a", "cannot be parsed"),
            ("", "cannot be parsed"),
        ] {
            let error = parsed(&[value]).unwrap_err();
            assert!(error.contains(reason), "{value}: {error}");
        }
    }

    #[test]
    fn only_known_token_servers_are_trusted() {
        let trust = |realm: &str, registry: &str| {
            let registry = registry.parse().unwrap();
            token_server(&bearer(realm), &registry, Some("named:1")).map(|(_, trust)| trust)
        };
        assert_eq!(
            trust("https://ghcr.io/token", "https://ghcr.io/").unwrap(),
            Trust::Own
        );
        assert_eq!(
            trust(
                "https://auth.docker.io/token",
                "https://registry-1.docker.io/"
            )
            .unwrap(),
            Trust::Own
        );
        let gitlab = |realm: &str, registry: &str| {
            let registry = registry.parse().unwrap();
            token_server(&bearer(realm), &registry, None).unwrap().1
        };
        let jwt = "https://gitlab.com/jwt/auth";
        assert_eq!(gitlab(jwt, "https://registry.gitlab.com/"), Trust::Own);
        for (realm, registry) in [
            (jwt, "https://registry.gitlab.example/"),
            (
                "https://gitlab.example/jwt/auth",
                "https://registry.gitlab.com/",
            ),
        ] {
            assert_eq!(gitlab(realm, registry), Trust::Foreign, "{realm}");
        }
        assert_eq!(
            trust("https://named:1/token", "https://ghcr.io/").unwrap(),
            Trust::Own
        );
        for foreign in [
            "https://auth.docker.io/token",
            "https://ghcr.io:444/token",
            "https://ghcr.io.evil.example/",
            "https://named/",
        ] {
            assert_eq!(
                trust(foreign, "https://ghcr.io/").unwrap(),
                Trust::Foreign,
                "{foreign}"
            );
        }
        assert_eq!(
            trust("http://127.0.0.1:2/", "http://127.0.0.1:1/").unwrap(),
            Trust::Foreign
        );
        assert_eq!(
            trust("https://127.0.0.1:1/", "http://127.0.0.1:1/").unwrap(),
            Trust::Foreign
        );
        for refused in [
            "http://ghcr.io/token",
            "file:///etc/passwd",
            "token",
            "https://u:p@ghcr.io/token",
            "https://u@ghcr.io/",
        ] {
            assert!(trust(refused, "https://ghcr.io/").is_err(), "{refused}");
        }
    }
}
