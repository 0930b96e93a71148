//! Registries: the only place that talks to one (OCI distribution specification).
//!
//! Each rule has one place: [`crate::http`] has places in flight, redirects, caps, attempts and
//! deadlines, `auth` tokens, `credentials` whose they are. Bytes are verified above, in
//! [`super::document`]. In: a repository and a request. Out: raw bytes, `None` if missing, or an
//! error without secrets. All requests of a run belong to one runtime, since connections are kept.

mod auth;
mod challenge;
mod credentials;
#[cfg(any(test, fuzzing))]
#[path = "../../../fuzz/properties/headers.rs"]
pub(crate) mod fuzzing;
mod http;
mod pulls;
mod referrers;
mod request_error;
mod settings;
mod stream;
mod tags;

use std::{fmt, sync::Arc};

use address::is_loopback;
use auth::{Auth, Scope, Ticket};
use credentials::Book;
use http::{Body, Call, Http, Reading, Reply};
pub use pulls::ManifestEstimate;
use request_error::RequestError;
use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
pub use settings::{Environment, Settings};
pub(super) use stream::Stream;
pub use tags::{NextPage, TagPages, Tags};

use super::{ServerTime, memory::Memory};
pub use crate::http::SettingsError;
use crate::oci::{DOCUMENT_MAX, Descriptor, RawManifest, TagOrDigest};
use crate::{
    config::Endpoint,
    error::Error,
    http::{Deadline, Transport, address},
    oci::{Digest, Repository},
    untrusted::{Secrets, plain},
};

/// How much of what a server or a helper says is shown, in columns.
const SHOWN: usize = 200;

/// All types at once: a registry that is not asked for an index's type may answer 404 for an index.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";
const CONTENT_DIGEST: &str = "docker-content-digest";
/// Docker Hub's host in names, and the one that answers.
const HUB: &str = "docker.io";
const HUB_REGISTRY: &str = "registry-1.docker.io";

/// The registries of a run: connections, tokens and places in flight, shared by all repositories.
#[derive(Debug, Clone)]
pub struct Registries(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    http: Http,
    auth: Auth,
}

/// One repository of a registry.
#[derive(Debug, Clone)]
pub struct Remote {
    shared: Arc<Shared>,
    registry: Url,
    host: String,
    name: String,
    pub(super) memory: Memory,
}

/// The outcome of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone now.
    Deleted,
    /// It was not there.
    Gone,
    /// It was not there any more after an attempt whose answer was lost.
    GoneAfterAttempt,
    /// The registry does not support deletion; its message.
    Refused(String),
}

impl Registries {
    /// Registries that are asked as `settings` say. Nothing is sent and no credentials are read
    /// yet.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let secrets = Secrets::default();
        let transport = Transport::new(
            settings.ca_file.as_deref(),
            |names| settings.environment.text(names),
            &secrets,
            settings.progress,
        )?;
        let book = Book::new(settings.environment.clone(), secrets.clone());
        Ok(Self(Arc::new(Shared {
            http: Http::new(settings, secrets, transport),
            auth: Auth::new(book),
        })))
    }

    /// A document of another server, at most `max` bytes, by the same client and without credentials;
    /// `None` if it does not exist, which object stores report as 403.
    pub async fn document(&self, url: Url, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let http = &self.0.http;
        let what = address::shown(&url);
        let read = async {
            let reply = http.send(&Call::get(url, max), http.patience()).await?;
            let status = reply.status;
            match (status, reply.body) {
                (StatusCode::OK, Body::Read(bytes)) => Ok(Some(bytes)),
                (StatusCode::NOT_FOUND | StatusCode::FORBIDDEN, _) => Ok(None),
                (_, Body::Read(body)) => {
                    Err(RequestError::unavailable(http.status_text(status, &body)))
                }
                (_, Body::Open(_)) => {
                    Err(RequestError::unavailable("the response body was not read"))
                }
            }
        };
        read.await.map_err(|error: RequestError| {
            let reason = http.secrets.redact(&error.reason);
            RequestError { reason, ..error }.about(&what)
        })
    }

    /// Connections for `url` with the same roots and proxies as those of registries.
    pub fn client(&self, url: &Url) -> Result<Transport, String> {
        let transport = self.0.http.client.transport();
        transport.client(url).map(|_| transport.clone())
    }

    /// A repository at its own registry: plain HTTP on this machine, else TLS.
    pub fn repository(&self, repository: &Repository) -> Result<Remote, String> {
        let host = repository.host();
        let server = if host == HUB { HUB_REGISTRY } else { host };
        let https = root("https", server)?;
        let registry = if is_loopback(&https) {
            root("http", server)?
        } else {
            https
        };
        Ok(self.remote(registry, host, repository.path()))
    }

    /// A repository that a mapping puts at `endpoint`; `rest`: its name below the endpoint's path.
    pub fn mapped(&self, endpoint: &Endpoint, rest: &str) -> Result<Remote, String> {
        let name = [endpoint.path.as_str(), rest]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>();
        if name.is_empty() {
            return Err(format!(
                "the mapping to {} leaves no repository name",
                endpoint.host
            ));
        }
        let server = if endpoint.host == HUB {
            HUB_REGISTRY
        } else {
            &endpoint.host
        };
        let registry = root(if endpoint.plain { "http" } else { "https" }, server)?;
        Ok(self.remote(registry, &endpoint.host, &name.join("/")))
    }

    /// What the registries and token servers that were asked so far said about the time, by their
    /// names.
    pub fn clocks(&self) -> Vec<(String, ServerTime)> {
        self.0.http.clocks()
    }

    fn remote(&self, registry: Url, host: &str, name: &str) -> Remote {
        Remote {
            shared: Arc::clone(&self.0),
            registry,
            host: host.to_owned(),
            name: name.to_owned(),
            memory: Memory::default(),
        }
    }
}

fn root(scheme: &str, server: &str) -> Result<Url, String> {
    Url::parse(&format!("{scheme}://{server}/"))
        .map_err(|error| format!("`{server}` is not a host: {error}"))
}

impl Remote {
    /// The manifest that a tag names or that has a digest; `None` if there is none.
    pub(super) async fn manifest(
        &self,
        want: &TagOrDigest,
        what: &str,
    ) -> Result<Option<RawManifest>, Error> {
        self.read_manifest(want)
            .await
            .map_err(|error| self.error(error, what))
    }

    async fn read_manifest(&self, want: &TagOrDigest) -> Result<Option<RawManifest>, RequestError> {
        let mut call = self.get_manifest(want)?;
        let types = HeaderValue::from_static(MANIFESTS);
        call.headers.insert(ACCEPT, types);
        let reply = self.ask(call, "pull").await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let (headers, bytes) = self.success(reply)?;
        Ok(Some(RawManifest {
            bytes,
            media_type: content_type(&headers)?,
            claimed: claimed(&headers)?,
        }))
    }

    /// The bytes of a document that a descriptor points to, at most as many as it says; not hashed
    /// yet.
    pub(super) async fn blob(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>, Error> {
        self.read_blob(descriptor)
            .await
            .map_err(|error| self.error(error, what))
    }

    async fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RequestError> {
        let mut call = self.get(&format!("blobs/{}", descriptor.digest))?;
        call.body = Reading::UpTo(descriptor.size.min(DOCUMENT_MAX));
        let reply = self.ask(call, "pull").await?;
        let (headers, bytes) = self.success(reply)?;
        agrees(&headers, descriptor)?;
        Ok(bytes)
    }

    /// The bytes of a layer, as they come.
    pub(super) async fn layer(&self, descriptor: &Descriptor, what: &str) -> Result<Stream, Error> {
        Stream::open(self.clone(), descriptor, what)
            .await
            .map_err(|error| self.error(error, what))
    }

    /// That a blob is there; nothing of it is fetched.
    pub(super) async fn has(&self, descriptor: &Descriptor, what: &str) -> Result<(), Error> {
        let ask = async {
            let mut call = self.get(&format!("blobs/{}", descriptor.digest))?;
            (call.method, call.body) = (Method::HEAD, Reading::Later);
            let reply = self.ask(call, "pull").await?;
            // A redirect leads to where the bytes are; HEAD is not followed.
            if reply.status == StatusCode::OK || reply.status.is_redirection() {
                return Ok(());
            }
            Err(RequestError::unavailable(self.said(&reply)))
        };
        ask.await
            .map_err(|error: RequestError| self.error(error, what))
    }

    /// As whom the repository was asked so far; without secrets. `None`: the registry asked for no
    /// credentials.
    pub async fn asked_as(&self) -> Option<String> {
        let scope = self.scope("pull");
        Some(self.shared.auth.current(&scope).await.ok()??.who)
    }

    /// Deletes the manifest that has a digest, and with it every tag that names it.
    pub async fn delete(&self, digest: Digest) -> Result<Deletion, Error> {
        let delete = async {
            let call = Call {
                method: Method::DELETE,
                ..self.get(&format!("manifests/{digest}"))?
            };
            let reply = self.ask(call, "delete").await?;
            Ok(match reply.status {
                StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => Deletion::Deleted,
                StatusCode::NOT_FOUND if reply.repeated => Deletion::GoneAfterAttempt,
                StatusCode::NOT_FOUND => Deletion::Gone,
                status if status.is_client_error() => Deletion::Refused(self.said(&reply)),
                _ => return Err(RequestError::unavailable(self.said(&reply))),
            })
        };
        delete
            .await
            .map_err(|error: RequestError| self.error(error, &format!("deleting {self}@{digest}")))
    }

    fn get_manifest(&self, want: &TagOrDigest) -> Result<Call, RequestError> {
        match want {
            TagOrDigest::Tag(tag) => self.get(&format!("manifests/{tag}")),
            TagOrDigest::Digest(digest) => self.get(&format!("manifests/{digest}")),
        }
    }

    fn get(&self, path: &str) -> Result<Call, RequestError> {
        let url = self.registry.join(&format!("v2/{}/{path}", self.name));
        let url = url
            .map_err(|error| RequestError::unavailable(format!("cannot form the URL: {error}")))?;
        Ok(Call::get(url, DOCUMENT_MAX))
    }

    async fn ask(&self, call: Call, action: &'static str) -> Result<Reply, RequestError> {
        self.ask_until(call, action, self.shared.http.patience())
            .await
    }

    /// Sends a call as whoever may; a refusal is an error.
    async fn ask_until(
        &self,
        mut call: Call,
        action: &'static str,
        until: Deadline,
    ) -> Result<Reply, RequestError> {
        let (http, auth) = (&self.shared.http, &self.shared.auth);
        let scope = self.scope(action);
        let mut ticket = auth.current(&scope).await?;
        call.authorization = ticket.as_ref().map(|ticket| ticket.header.clone());
        let mut reply = http.send(&call, until).await?;
        let ours = reply.url.origin() == self.registry.origin();
        if reply.status == StatusCode::UNAUTHORIZED && ours {
            let challenge = match challenge::parse(&reply.headers) {
                Ok(challenge) => challenge,
                // The registry knew the user and does not report what else it requires.
                Err(_) if ticket.is_some() => {
                    return Err(self.denied(&reply, ticket.as_ref(), &scope));
                }
                Err(error) => return Err(error),
            };
            let fresh = auth
                .answer(&scope, ticket.as_ref(), &challenge, http, until)
                .await?;
            if until.is_over() {
                return Err(RequestError::unavailable(
                    "getting a token exceeded the time limit",
                ));
            }
            call.authorization = Some(fresh.header.clone());
            ticket = Some(fresh);
            reply = http.send(&call, until).await?;
        }
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.denied(&reply, ticket.as_ref(), &scope))
            }
            _ => Ok(reply),
        }
    }

    fn scope(&self, action: &'static str) -> Scope {
        Scope {
            registry: self.registry.clone(),
            host: self.host.clone(),
            repository: self.name.clone(),
            action,
        }
    }

    fn denied(&self, reply: &Reply, ticket: Option<&Ticket>, scope: &Scope) -> RequestError {
        let elsewhere = reply.url.origin() != self.registry.origin();
        let place = if elsewhere {
            format!(" from {}", address::shown(&reply.url))
        } else {
            String::new()
        };
        let who = ticket.map_or(
            "anonymously, and the server did not ask for credentials",
            |ticket| &ticket.who,
        );
        RequestError::denied(format!("{}{place}; requested {who}", self.said(reply)))
            .hint(auth::login_hint(scope))
    }

    fn said(&self, reply: &Reply) -> String {
        let body = if let Body::Read(body) = &reply.body {
            body.as_slice()
        } else {
            &[]
        };
        self.shared.http.status_text(reply.status, body)
    }

    fn success(&self, reply: Reply) -> Result<(HeaderMap, Vec<u8>), RequestError> {
        if reply.status != StatusCode::OK {
            return Err(RequestError::unavailable(self.said(&reply)));
        }
        match reply.body {
            Body::Read(bytes) => Ok((reply.headers, bytes)),
            Body::Open(_) => Err(RequestError::unavailable("the response body was not read")),
        }
    }

    /// The one way out for errors: whatever a server put into a text, no secret of the run is in
    /// it.
    fn error(&self, error: RequestError, what: &str) -> Error {
        let reason = self.shared.http.secrets.redact(&error.reason);
        RequestError { reason, ..error }.about(what)
    }
}

fn content_type(headers: &HeaderMap) -> Result<Option<String>, RequestError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let first = values.next().map(|value| value.to_str().map(str::to_owned));
    match (first.transpose(), values.next()) {
        (Ok(first), None) => Ok(first),
        _ => Err(RequestError::unavailable(
            "duplicate or malformed Content-Type header",
        )),
    }
}

/// The digest that the registry says it sent.
fn claimed(headers: &HeaderMap) -> Result<Option<Digest>, RequestError> {
    let mut claims = headers.get_all(CONTENT_DIGEST).iter().map(|value| {
        let text = value.to_str().unwrap_or_default();
        let wrong = |reason| {
            format!(
                "malformed Docker-Content-Digest header `{}`: {reason}",
                plain(text)
            )
        };
        text.parse::<Digest>()
            .map_err(|error| RequestError::unavailable(wrong(error)))
    });
    let Some(first) = claims.next().transpose()? else {
        return Ok(None);
    };
    for other in claims {
        if other? != first {
            return Err(RequestError::unavailable(
                "conflicting Docker-Content-Digest headers",
            ));
        }
    }
    Ok(Some(first))
}

fn agrees(headers: &HeaderMap, descriptor: &Descriptor) -> Result<(), RequestError> {
    match claimed(headers)? {
        Some(claim) if claim != descriptor.digest => Err(RequestError::unavailable(format!(
            "the registry reported {claim} (Docker-Content-Digest)"
        ))),
        _ => Ok(()),
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}
