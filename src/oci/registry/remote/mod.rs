//! Requests to registries (OCI distribution specification).
//!
//! [`crate::base::http`] limits, retries and redirects requests, `auth` requests tokens, and
//! `credentials` finds credentials. [`super::document`] verifies the bytes. In: a repository and a
//! request. Out: raw bytes, `None` if they are missing, or an error without secrets. All requests
//! of a run share connections and therefore use one runtime.

mod auth;
mod changes;
mod credentials;
mod ecr;
#[cfg(any(test, fuzzing))]
#[path = "../../../../fuzz/properties/headers.rs"]
pub(crate) mod fuzzing;
mod request_error;
mod settings;
mod stream;
mod tags;

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use crate::base::http::address::{host_of, is_loopback};
use auth::{Auth, Authorization, Scope};
pub(crate) use changes::{Blocker, Deletion};
use credentials::CredentialStore;
pub(crate) use ecr::{AwsEnvironment, EcrImage, EcrRepository, MAX_IMAGES, is_ecr};
use request_error::RequestError;
use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use settings::RegistryClient;
pub(crate) use settings::{Environment, Settings};
pub(crate) use stream::{PULL_HELP, Stream, pull_limit_error};
#[cfg(test)]
pub(crate) use tags::{NextPage, TagPages};

use super::{DocumentCache, Endpoint, ServerTime, memory::MemoryLimit};
pub(crate) use crate::base::http::SettingsError;
use crate::{
    base::{
        error::Error,
        http::{Body, BodyMode, Call, Reply, Transport, address},
        untrusted::{Secrets, plain},
    },
    oci::{
        Descriptor, Digest, MAX_DOCUMENT, RawManifest, Repository, TagOrDigest,
        document::is_manifest,
    },
};
use settings::{Key, ManifestCache};

/// The maximum width of a server's or helper's message, in columns.
const MAX_MESSAGE: usize = 200;

/// All types: without an index's type, a registry may respond with 404 for an index.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";
const CONTENT_DIGEST: &str = "docker-content-digest";
/// Docker Hub's host in repositories.
const HUB: &str = "docker.io";
/// The host of Docker Hub's API.
const HUB_REGISTRY: &str = "registry-1.docker.io";

/// The registries of a run; clones share connections, tokens and request slots.
#[derive(Debug, Clone)]
pub(crate) struct Registries(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: RegistryClient,
    auth: Auth,
    manifests: ManifestCache,
}

/// One repository of a registry.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    shared: Arc<Shared>,
    registry: Url,
    host: String,
    name: String,
    pub(super) memory: MemoryLimit,
    /// Whether a manifest is requested by its digest once in the run.
    pub(super) keeps_manifests: bool,
    /// The user's cache.
    pub(super) cache: Option<Arc<DocumentCache>>,
}

impl Registries {
    /// Prepares connections, without requests or credentials.
    pub(crate) fn new(settings: Settings) -> Result<Self, SettingsError> {
        let secrets = Secrets::default();
        let transport = Transport::new(
            settings.ca_file.as_deref(),
            |names| settings.environment.text(names),
            &secrets,
            settings.stall_timeout,
        )?;
        let credentials = CredentialStore::new(settings.environment.clone(), secrets.clone());
        Ok(Self(Arc::new(Shared {
            client: RegistryClient::new(settings, secrets, transport),
            auth: Auth::new(credentials),
            manifests: ManifestCache::default(),
        })))
    }

    /// Fetches a document of at most `max` bytes from another server, without credentials; `None` if
    /// it does not exist, which object stores report as 403.
    pub(crate) async fn document(&self, url: Url, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let name = address::redacted(&url);
        self.fetch_document(url, max)
            .await
            .map_err(|error| self.0.client.error(error, &name))
    }

    async fn fetch_document(&self, url: Url, max: u64) -> Result<Option<Vec<u8>>, RequestError> {
        let client = &self.0.client;
        let reply = client.send(&Call::get(url, max), client.deadline()).await?;
        match (reply.status, reply.body) {
            (StatusCode::OK, Body::Complete(bytes)) => Ok(Some(bytes)),
            (StatusCode::NOT_FOUND | StatusCode::FORBIDDEN, _) => Ok(None),
            (status, Body::Complete(body)) => {
                Err(RequestError::unavailable(client.status_text(status, &body)))
            }
            (_, Body::Open(_)) => Err(RequestError::unavailable("the response body was not read")),
        }
    }

    /// Reads the file of additional roots of trust, before the first request.
    pub(crate) fn read_roots(&self) -> Result<(), SettingsError> {
        self.0.client.http.transport().read_roots()
    }

    /// The connections, with the roots and proxies of registries; an error if they cannot be used
    /// for `url`.
    pub(crate) fn client(&self, url: &Url) -> Result<Transport, String> {
        let transport = self.0.client.http.transport();
        transport.client(url)?;
        Ok(transport.clone())
    }

    /// A repository at its own registry, over plain HTTP on this machine and over TLS on other
    /// hosts.
    pub(crate) fn repository(&self, repository: &Repository) -> Result<Remote, String> {
        let host = repository.host();
        let server = if host == HUB { HUB_REGISTRY } else { host };
        let https = root("https", server)?;
        let registry = if is_loopback(&host_of(&https)) {
            root("http", server)?
        } else {
            https
        };
        Ok(self.remote(registry, host, repository.path()))
    }

    /// A repository that a mapping moves to `endpoint`; `rest` is its name below the endpoint's
    /// path.
    pub(crate) fn mapped(&self, endpoint: &Endpoint, rest: &str) -> Result<Remote, String> {
        let path = endpoint.path.as_str();
        let name = match (path.is_empty(), rest.is_empty()) {
            (true, true) => {
                return Err(format!(
                    "the mapping to {} leaves no repository name",
                    endpoint.host
                ));
            }
            (true, false) => rest.to_owned(),
            (false, true) => path.to_owned(),
            (false, false) => format!("{path}/{rest}"),
        };
        let server = if endpoint.host == HUB {
            HUB_REGISTRY
        } else {
            &endpoint.host
        };
        let registry = root(if endpoint.plain { "http" } else { "https" }, server)?;
        Ok(self.remote(registry, &endpoint.host, &name))
    }

    /// The clocks of the registries and token servers at their last responses, by host.
    pub(crate) fn clocks(&self) -> Vec<(String, ServerTime)> {
        self.0.client.http.clocks()
    }

    fn remote(&self, registry: Url, host: &str, name: &str) -> Remote {
        Remote {
            shared: Arc::clone(&self.0),
            registry,
            host: host.to_owned(),
            name: name.to_owned(),
            memory: MemoryLimit::default(),
            keeps_manifests: false,
            cache: None,
        }
    }
}

/// The URL of a registry.
fn root(scheme: &str, server: &str) -> Result<Url, String> {
    Url::parse(&format!("{scheme}://{server}/"))
        .map_err(|error| format!("`{server}` is not a host: {error}"))
}

impl Remote {
    /// The same repository, which requests a manifest again each time.
    pub(super) fn without_kept_manifests(self) -> Self {
        Self {
            keeps_manifests: false,
            ..self
        }
    }

    pub(super) fn with_cache(self, cache: &Arc<DocumentCache>) -> Self {
        Self {
            cache: Some(Arc::clone(cache)),
            ..self
        }
    }

    /// The wall clock.
    pub(super) fn clock(&self) -> fn() -> SystemTime {
        self.shared.client.http.now()
    }

    /// The registry's URL and the name of the repository.
    pub(super) fn address(&self) -> String {
        format!("{}{}", self.registry, self.name)
    }

    /// The manifest with a tag or digest; `None` if it is missing.
    pub(super) async fn manifest(
        &self,
        reference: &TagOrDigest,
        name: &str,
    ) -> Result<Option<RawManifest>, Error> {
        let found = match reference {
            TagOrDigest::Digest(digest) if self.keeps_manifests => {
                self.kept_manifest(*digest, reference).await
            }
            TagOrDigest::Digest(_) | TagOrDigest::Tag(_) => self.read_manifest(reference).await,
        };
        found.map_err(|error| self.error(error, name))
    }

    /// The manifest with a digest, requested once in the run.
    async fn kept_manifest(
        &self,
        digest: Digest,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RequestError> {
        let key = Key {
            repository: self.address(),
            digest,
        };
        let slot = self.shared.manifests.slot(&key);
        let request = async || {
            let found = self.read_manifest(reference).await?;
            self.shared.manifests.keep(&key, found.as_ref());
            Ok(found)
        };
        slot.get_or_try_init(request).await.cloned()
    }

    async fn read_manifest(
        &self,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RequestError> {
        let mut call = self.get_manifest(reference)?;
        let types = HeaderValue::from_static(MANIFESTS);
        call.headers.insert(ACCEPT, types);
        let reply = self.send(call, "pull").await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let (headers, bytes) = self.success(reply)?;
        Ok(Some(RawManifest {
            bytes,
            media_type: content_type(&headers)?,
            claimed: content_digest(&headers)?,
        }))
    }

    /// Fetches a descriptor's document, limited to the descriptor's size, without verifying it.
    pub(super) async fn blob(&self, descriptor: &Descriptor, name: &str) -> Result<Vec<u8>, Error> {
        self.read_blob(descriptor)
            .await
            .map_err(|error| self.error(error, name))
    }

    /// Whether a digest is proved to be that of a small blob that is no manifest, such as a config.
    pub(crate) async fn is_plain_blob(&self, digest: Digest) -> bool {
        let descriptor = Descriptor {
            media_type: String::new(),
            digest,
            size: MAX_DOCUMENT,
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        let bytes = self.read_blob(&descriptor).await;
        bytes.is_ok_and(|bytes| Digest::of(&bytes) == digest && !is_manifest(&bytes))
    }

    async fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RequestError> {
        let mut call = self.get(&format!("blobs/{}", descriptor.digest))?;
        let size = descriptor.size.min(MAX_DOCUMENT);
        call.body = BodyMode::Buffer(size);
        let reply = match self.send(call, "pull").await {
            // No later request returns fewer bytes.
            Err(error) if error.is_too_large && size == descriptor.size => {
                let reason = format!("it has more than {size} bytes, which its manifest states");
                return Err(RequestError::wrong_bytes(reason));
            }
            reply => reply?,
        };
        self.check_blob_exists(&reply)?;
        let (headers, bytes) = self.success(reply)?;
        check_content_digest(&headers, descriptor)?;
        Ok(bytes)
    }

    /// Opens the stream of a layer.
    pub(super) async fn layer(&self, descriptor: &Descriptor, name: &str) -> Result<Stream, Error> {
        Stream::open(self.clone(), descriptor, name)
            .await
            .map_err(|error| self.error(error, name))
    }

    /// Checks that the registry has a blob of the descriptor's size, without fetching it.
    pub(super) async fn check_blob(
        &self,
        descriptor: &Descriptor,
        name: &str,
    ) -> Result<(), Error> {
        self.request_blob_headers(descriptor, name)
            .await
            .map_err(|error| self.error(error, name))
    }

    async fn request_blob_headers(
        &self,
        descriptor: &Descriptor,
        name: &str,
    ) -> Result<(), RequestError> {
        let mut call = self.get(&format!("blobs/{}", descriptor.digest))?;
        (call.method, call.body) = (Method::HEAD, BodyMode::Stream);
        let reply = self.send(call, "pull").await?;
        if reply.status == StatusCode::OK && content_length(&reply.headers) == Some(descriptor.size)
        {
            return Ok(());
        }
        // A redirect to the storage also means that the blob exists; HEAD is not redirected. Some registries
        // state no length, or a wrong one, for HEAD.
        if reply.status == StatusCode::OK || reply.status.is_redirection() {
            return Stream::open(self.clone(), descriptor, name).await.map(drop);
        }
        self.check_blob_exists(&reply)?;
        Err(RequestError::unavailable(self.status_text(&reply)))
    }

    /// Returns an error if a response states that a blob is missing. A manifest lists every blob that is
    /// requested.
    fn check_blob_exists(&self, reply: &Reply) -> Result<(), RequestError> {
        if reply.status == StatusCode::NOT_FOUND {
            return Err(RequestError::missing_content(self.status_text(reply)));
        }
        Ok(())
    }

    /// The account of the requests so far, without secrets; `None` if the registry required no
    /// credentials.
    pub(crate) async fn account(&self) -> Option<String> {
        let scope = self.scope("pull");
        Some(self.shared.auth.current(&scope).await.ok()??.account)
    }

    fn get_manifest(&self, reference: &TagOrDigest) -> Result<Call, RequestError> {
        match reference {
            TagOrDigest::Tag(tag) => self.get(&format!("manifests/{tag}")),
            TagOrDigest::Digest(digest) => self.get(&format!("manifests/{digest}")),
        }
    }

    /// A GET of a path below the repository.
    fn get(&self, path: &str) -> Result<Call, RequestError> {
        match self.registry.join(&format!("v2/{}/{path}", self.name)) {
            Ok(url) => Ok(Call::get(url, MAX_DOCUMENT)),
            Err(error) => Err(RequestError::unavailable(format!(
                "cannot form the URL: {error}"
            ))),
        }
    }

    /// Sends a call with the credentials that the registry requires; a refusal is an error.
    async fn send(&self, call: Call, action: &'static str) -> Result<Reply, RequestError> {
        let (reply, authorization) = self.send_any(call, action).await?;
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.denied(&reply, authorization.as_ref(), &self.scope(action)))
            }
            _ => Ok(reply),
        }
    }

    /// Sends a call with the credentials that the registry requires.
    async fn send_any(
        &self,
        mut call: Call,
        action: &'static str,
    ) -> Result<(Reply, Option<Authorization>), RequestError> {
        let (client, auth) = (&self.shared.client, &self.shared.auth);
        let until = client.deadline();
        let scope = self.scope(action);
        let mut authorization = auth.current(&scope).await?;
        call.authorization = authorization.as_ref().map(|known| known.header.clone());
        let mut reply = client.send(&call, until).await?;
        let is_from_registry = reply.url.origin() == self.registry.origin();
        if reply.status == StatusCode::UNAUTHORIZED && is_from_registry {
            let challenge = match auth::parse(&reply.headers) {
                Ok(challenge) => challenge,
                // The registry accepted the user, and does not report its further requirements.
                Err(_) if authorization.is_some() => {
                    return Err(self.denied(&reply, authorization.as_ref(), &scope));
                }
                Err(error) => return Err(error),
            };
            let renewed = auth
                .renew(&scope, authorization.as_ref(), &challenge, client, until)
                .await?;
            if until.is_over() {
                return Err(RequestError::unavailable(
                    "getting a token exceeded the time limit",
                ));
            }
            call.authorization = Some(renewed.header.clone());
            authorization = Some(renewed);
            reply = client.send(&call, until).await?;
        }
        Ok((reply, authorization))
    }

    fn scope(&self, action: &'static str) -> Scope {
        Scope {
            registry: self.registry.clone(),
            host: self.host.clone(),
            repository: self.name.clone(),
            action,
        }
    }

    fn denied(
        &self,
        reply: &Reply,
        authorization: Option<&Authorization>,
        scope: &Scope,
    ) -> RequestError {
        let origin = if reply.url.origin() == self.registry.origin() {
            String::new()
        } else {
            format!(" from {}", address::redacted(&reply.url))
        };
        let account = match authorization {
            Some(authorization) => &authorization.account,
            None => "anonymously, and the server did not ask for credentials",
        };
        let status = self.status_text(reply);
        RequestError::denied(format!("{status}{origin}; requested {account}"))
            .hint(auth::login_hint(scope))
    }

    /// The status and error message of a response.
    fn status_text(&self, reply: &Reply) -> String {
        let body = match &reply.body {
            Body::Complete(body) => body.as_slice(),
            Body::Open(_) => &[],
        };
        self.shared.client.status_text(reply.status, body)
    }

    fn success(&self, reply: Reply) -> Result<(HeaderMap, Vec<u8>), RequestError> {
        if reply.status != StatusCode::OK {
            return Err(RequestError::unavailable(self.status_text(&reply)));
        }
        match reply.body {
            Body::Complete(bytes) => Ok((reply.headers, bytes)),
            Body::Open(_) => Err(RequestError::unavailable("the response body was not read")),
        }
    }

    fn error(&self, error: RequestError, name: &str) -> Error {
        self.shared.client.error(error, name)
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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

/// The digest that the registry states for its response.
fn content_digest(headers: &HeaderMap) -> Result<Option<Digest>, RequestError> {
    let mut stated = None;
    for value in headers.get_all(CONTENT_DIGEST) {
        let text = value.to_str().unwrap_or_default();
        let digest: Digest = text.parse().map_err(|error| {
            RequestError::unavailable(format!(
                "malformed Docker-Content-Digest header `{}`: {error}",
                plain(text)
            ))
        })?;
        if stated.is_some_and(|other| other != digest) {
            return Err(RequestError::unavailable(
                "conflicting Docker-Content-Digest headers",
            ));
        }
        stated = Some(digest);
    }
    Ok(stated)
}

fn check_content_digest(headers: &HeaderMap, descriptor: &Descriptor) -> Result<(), RequestError> {
    match content_digest(headers)? {
        Some(claim) if claim != descriptor.digest => Err(RequestError::wrong_bytes(format!(
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
