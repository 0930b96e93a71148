//! Registries: the only place that talks to one (OCI distribution specification).
//!
//! Rules stand once: [`crate::http`] has places in flight, redirects, caps, attempts and deadlines,
//! `auth` tokens, `credentials` whose they are. Whether bytes are what was asked for is decided
//! above, in [`super::document`]. In: a repository and what is wanted of it. Out: raw
//! bytes, `None` for what is not there, or an error without secrets. All requests of a run belong
//! to one runtime, since connections are kept.

mod auth;
mod challenge;
mod credentials;
mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod http;
mod settings;
mod stream;
mod tags;

use std::{fmt, sync::Arc};

use address::is_loopback;
use auth::{Auth, Scope, Ticket};
use credentials::Book;
use fault::Fault;
use http::{Body, Call, Http, Reading, Reply};
use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
pub use settings::{Environment, Settings};
pub(super) use stream::Stream;
pub use tags::{NextPage, TagPages, Tags};

use super::{DOCUMENT_MAX, Descriptor, Raw, ServerTime, Want};
pub use crate::http::SettingsError;
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
}

/// What became of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone now.
    Deleted,
    /// It was not there.
    Gone,
    /// The registry does not delete; what it said.
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

    /// Connections for `url` that trust whom registries' connections trust and go the same way.
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
        }
    }
}

fn root(scheme: &str, server: &str) -> Result<Url, String> {
    Url::parse(&format!("{scheme}://{server}/"))
        .map_err(|error| format!("`{server}` is not a host: {error}"))
}

impl Remote {
    /// The manifest that a tag names or that has a digest; `None` if there is none.
    pub(super) async fn manifest(&self, want: &Want, what: &str) -> Result<Option<Raw>, Error> {
        self.read_manifest(want)
            .await
            .map_err(|fault| self.error(fault, what))
    }

    async fn read_manifest(&self, want: &Want) -> Result<Option<Raw>, Fault> {
        let reference = match want {
            Want::Tag(tag) => tag.to_string(),
            Want::Digest(digest) => digest.to_string(),
        };
        let mut call = self.get(&format!("manifests/{reference}"))?;
        let types = HeaderValue::from_static(MANIFESTS);
        call.headers.insert(ACCEPT, types);
        let reply = self.ask(call, "pull").await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let (headers, bytes) = self.success(reply)?;
        Ok(Some(Raw {
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
            .map_err(|fault| self.error(fault, what))
    }

    async fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Fault> {
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
            .map_err(|fault| self.error(fault, what))
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
            Err(Fault::unavailable(self.said(&reply)))
        };
        ask.await.map_err(|fault: Fault| self.error(fault, what))
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
                StatusCode::NOT_FOUND => Deletion::Gone,
                _ => Deletion::Refused(self.said(&reply)),
            })
        };
        delete
            .await
            .map_err(|fault: Fault| self.error(fault, &format!("deleting {self}@{digest}")))
    }

    fn get(&self, path: &str) -> Result<Call, Fault> {
        let url = self.registry.join(&format!("v2/{}/{path}", self.name));
        let url =
            url.map_err(|error| Fault::unavailable(format!("its URL can't be formed: {error}")))?;
        Ok(Call::get(url, DOCUMENT_MAX))
    }

    async fn ask(&self, call: Call, action: &'static str) -> Result<Reply, Fault> {
        self.ask_until(call, action, self.shared.http.patience())
            .await
    }

    /// Sends a call as whoever may; a refusal is an error.
    async fn ask_until(
        &self,
        mut call: Call,
        action: &'static str,
        until: Deadline,
    ) -> Result<Reply, Fault> {
        let (http, auth) = (&self.shared.http, &self.shared.auth);
        let scope = self.scope(action);
        let mut ticket = auth.current(&scope).await?;
        call.authorization = ticket.as_ref().map(|ticket| ticket.header.clone());
        let mut reply = http.send(&call, until).await?;
        let ours = reply.url.origin() == self.registry.origin();
        if reply.status == StatusCode::UNAUTHORIZED && ours {
            let challenge = match challenge::parse(&reply.headers) {
                Ok(challenge) => challenge,
                // It knew who asked, and does not say what else it wants.
                Err(_) if ticket.is_some() => {
                    return Err(self.denied(&reply, ticket.as_ref(), &scope));
                }
                Err(fault) => return Err(fault),
            };
            let fresh = auth
                .answer(&scope, ticket.as_ref(), &challenge, http, until)
                .await?;
            if until.is_over() {
                return Err(Fault::unavailable("getting a token took too long to go on"));
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

    fn denied(&self, reply: &Reply, ticket: Option<&Ticket>, scope: &Scope) -> Fault {
        let elsewhere = reply.url.origin() != self.registry.origin();
        let place = if elsewhere {
            format!(" from {}", address::shown(&reply.url))
        } else {
            String::new()
        };
        let who = ticket.map_or("without credentials, which it did not ask for", |ticket| {
            &ticket.who
        });
        Fault::denied(format!("{}{place}; asked {who}", self.said(reply)))
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

    fn success(&self, reply: Reply) -> Result<(HeaderMap, Vec<u8>), Fault> {
        if reply.status != StatusCode::OK {
            return Err(Fault::unavailable(self.said(&reply)));
        }
        match reply.body {
            Body::Read(bytes) => Ok((reply.headers, bytes)),
            Body::Open(_) => Err(Fault::unavailable("its body was not read")),
        }
    }

    /// The one way out for errors: whatever a server put into a text, no secret of the run is in
    /// it.
    fn error(&self, fault: Fault, what: &str) -> Error {
        let why = self.shared.http.secrets.redact(&fault.why);
        Fault { why, ..fault }.about(what)
    }
}

fn content_type(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let first = values.next().map(|value| value.to_str().map(str::to_owned));
    match (first.transpose(), values.next()) {
        (Ok(first), None) => Ok(first),
        _ => Err(Fault::unavailable(
            "its Content-Type is there twice, or is no text",
        )),
    }
}

/// The digest that the registry says it sent.
fn claimed(headers: &HeaderMap) -> Result<Option<Digest>, Fault> {
    let mut claims = headers.get_all(CONTENT_DIGEST).iter().map(|value| {
        let text = value.to_str().unwrap_or_default();
        let wrong = |why| {
            format!(
                "its Docker-Content-Digest `{}` is no digest: {why}",
                plain(text)
            )
        };
        text.parse::<Digest>()
            .map_err(|error| Fault::unavailable(wrong(error)))
    });
    let Some(first) = claims.next().transpose()? else {
        return Ok(None);
    };
    for other in claims {
        if other? != first {
            return Err(Fault::unavailable(
                "it claims two digests (Docker-Content-Digest)",
            ));
        }
    }
    Ok(Some(first))
}

fn agrees(headers: &HeaderMap, descriptor: &Descriptor) -> Result<(), Fault> {
    match claimed(headers)? {
        Some(claim) if claim != descriptor.digest => Err(Fault::unavailable(format!(
            "the registry says that it sent {claim} (Docker-Content-Digest)"
        ))),
        _ => Ok(()),
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}
