//! The settings of requests to registries: timeouts, roots of trust, and environment variables.
//!
//! All of them are arguments: this module uses neither the environment nor the wall clock.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::base::http::{REGISTRIES, SharedDeadline};

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
        let mut variables = BTreeMap::new();
        for name in Self::NAMES {
            if let Some(value) = lookup(name).filter(|value| !value.is_empty()) {
                variables.insert(name, value);
            }
        }
        Self(variables)
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
