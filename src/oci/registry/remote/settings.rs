//! The settings of requests to registries: timeouts, roots of trust, and environment variables.
//!
//! All of them are arguments: this module uses neither the environment nor the wall clock.
//!
//! The HTTP client for registries; its failures become [`RequestError`]s.
//!
//! The manifests that a run requested by digest: present ones with their bytes, and missing ones.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::StatusCode;
use tokio::sync::OnceCell;

use super::request_error::RequestError;
use crate::{
    base::{
        error::Error,
        http::{Call, Client, Deadline, Policy, REGISTRIES, Reply, SharedDeadline, Transport},
        untrusted::Secrets,
    },
    oci::{Digest, RawManifest},
};

/// The settings of requests to registries.
///
/// After [`Settings::patience`], no retry, redirect or token request starts, so the maximum time of
/// a request is `patience + document_timeout`: four minutes by default.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The longest time without progress: connecting, headers, or the next bytes.
    pub stall_timeout: Duration,
    /// The total time of one attempt for a manifest, a config, a token or a page of tags.
    pub document_timeout: Duration,
    /// The total time of one layer.
    pub layer_timeout: Duration,
    /// The time after which a request is not retried.
    pub patience: Duration,
    /// A deadline for all requests together, after which none is retried.
    pub deadline: Option<SharedDeadline>,
    /// The maximum number of attempts, including the first one.
    pub attempts: u32,
    /// The pause before the second attempt. It doubles with each further one, and a random factor
    /// shortens it by up to a half.
    pub backoff: Duration,
    /// A PEM file of trusted certificates in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Token servers that receive a registry's credentials, by registry. Each is a host, with its
    /// port if that is not the scheme's default.
    pub realms: BTreeMap<String, String>,
    /// The environment variables for registries.
    pub environment: Environment,
    /// The wall clock.
    pub now: fn() -> SystemTime,
}

impl Settings {
    /// The documented timeouts, the system's roots, and an environment.
    pub(crate) fn new(environment: Environment, now: fn() -> SystemTime) -> Self {
        Self {
            stall_timeout: REGISTRIES.stall_timeout,
            document_timeout: REGISTRIES.document_timeout,
            layer_timeout: REGISTRIES.stream_timeout,
            patience: REGISTRIES.patience.unwrap_or(Duration::MAX),
            deadline: None,
            attempts: REGISTRIES.attempts,
            backoff: REGISTRIES.backoff,
            ca_file: None,
            realms: BTreeMap::new(),
            environment,
            now,
        }
    }
}

/// The variables of `names` that are set; an empty variable counts as unset.
pub(super) fn set_variables(
    names: &[&'static str],
    lookup: impl Fn(&str) -> Option<OsString>,
) -> BTreeMap<&'static str, OsString> {
    let mut variables = BTreeMap::new();
    for name in names {
        if let Some(value) = lookup(name).filter(|value| !value.is_empty()) {
            variables.insert(*name, value);
        }
    }
    variables
}

/// The environment variables for registries.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<&'static str, OsString>);

impl Environment {
    /// The variables for credentials, their helpers, and proxies.
    pub(crate) const NAMES: [&'static str; 15] = [
        "REGISTRY_AUTH_FILE",
        "DOCKER_CONFIG",
        "DOCKER_AUTH_CONFIG",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
        "HOME",
        "PATH",
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
    ];

    /// Looks up the variables of [`Self::NAMES`]; an empty variable counts as unset.
    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        Self(set_variables(&Self::NAMES, lookup))
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }

    pub(super) fn path(&self, name: &str) -> Option<&Path> {
        self.get(name).map(Path::new)
    }

    /// The first of the variables `names` that is set to UTF-8 text.
    pub(super) fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name)?.to_str())
    }
}

/// Omits the values, which may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The state that all requests share.
#[derive(Debug)]
pub(super) struct RegistryClient {
    pub(super) http: Client,
    pub(super) secrets: Secrets,
    /// [`Settings::realms`].
    pub(super) realms: BTreeMap<String, String>,
    /// [`Settings::deadline`].
    all_requests: Option<SharedDeadline>,
}

impl RegistryClient {
    pub(super) fn new(settings: Settings, secrets: Secrets, transport: Transport) -> Self {
        let policy = Policy {
            attempts: settings.attempts,
            backoff: settings.backoff,
            patience: Some(settings.patience),
            stall_timeout: settings.stall_timeout,
            document_timeout: settings.document_timeout,
            stream_timeout: settings.layer_timeout,
            ..REGISTRIES
        };
        Self {
            http: Client::new(transport, policy, settings.now, secrets.clone()),
            secrets,
            realms: settings.realms,
            all_requests: settings.deadline,
        }
    }

    /// The deadline of a request that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        let own = self.http.deadline();
        match &self.all_requests {
            Some(shared) => own.earlier(shared.deadline()),
            None => own,
        }
    }

    pub(super) async fn send(&self, call: &Call, until: Deadline) -> Result<Reply, RequestError> {
        self.http
            .send(call, until)
            .await
            .map_err(|failure| RequestError::from_failure(&failure, &self.secrets))
    }

    /// The error for the document `name`. Redacts the secrets of the run, which a server may repeat:
    /// every error passes through here.
    pub(super) fn error(&self, error: RequestError, name: &str) -> Error {
        let reason = self.secrets.redact(&error.reason);
        RequestError { reason, ..error }.about(name)
    }

    /// A status and the error message in the body, safe to show.
    pub(super) fn status_text(&self, status: StatusCode, body: &[u8]) -> String {
        super::request_error::status_text(status, body, &self.secrets)
    }
}

/// The limit of the kept bytes. Further manifests are requested again.
const LIMIT: usize = 16 << 20;

/// A manifest, or `None` if it is missing. Concurrent readers wait for one request.
pub(super) type Slot = Arc<OnceCell<Option<RawManifest>>>;

/// The repository and the digest of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) repository: String,
    pub(super) digest: Digest,
}

/// The manifests of a run.
#[derive(Debug, Default)]
pub(super) struct ManifestCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    slots: HashMap<Key, Slot>,
    bytes: usize,
}

impl ManifestCache {
    pub(super) fn slot(&self, key: &Key) -> Slot {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.slots.entry(key.clone()).or_default())
    }

    /// Counts the bytes of a manifest after its request. Wrong bytes are not kept.
    pub(super) fn keep(&self, key: &Key, manifest: Option<&RawManifest>) {
        let Some(manifest) = manifest else {
            return;
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = kept.bytes + manifest.bytes.len();
        if bytes > LIMIT || Digest::of(&manifest.bytes) != key.digest {
            kept.slots.remove(key);
        } else {
            kept.bytes = bytes;
        }
    }
}
