//! What a run says about how registries are asked: times, roots of trust, environment.
//!
//! All of it is passed in; nothing here or below reads the environment or the wall clock.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::http::REGISTRIES;

/// How registries are asked.
///
/// One request with all its attempts, redirects and tokens begins nothing new after
/// [`Settings::patience`], so it ends within `patience + whole`: four minutes by default.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a response may make no progress: connecting, headers, or the next bytes.
    pub progress: Duration,
    /// How long one attempt for a manifest, a config, a token or a page of tags may take in all.
    pub whole: Duration,
    /// How long one layer may take in all.
    pub layer: Duration,
    /// After how long no further attempt begins.
    pub patience: Duration,
    /// How often a request is tried, the first time included.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further one, and chance shortens
    /// it by up to a half.
    pub backoff: Duration,
    /// A PEM file of certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Token servers that get a registry's credentials although they are another host: registry →
    /// token server, each a host with its port if that is not the scheme's.
    pub realms: BTreeMap<String, String>,
    /// The variables that matter here.
    pub environment: Environment,
    /// The wall clock.
    pub now: fn() -> SystemTime,
}

impl Settings {
    /// The times of the documentation, nothing trusted but the system's roots, and an environment.
    pub fn new(environment: Environment, now: fn() -> SystemTime) -> Self {
        Self {
            progress: REGISTRIES.progress,
            whole: REGISTRIES.whole,
            layer: REGISTRIES.stream,
            patience: REGISTRIES.patience.unwrap_or(Duration::MAX),
            attempts: REGISTRIES.attempts,
            backoff: REGISTRIES.backoff,
            ca_file: None,
            realms: BTreeMap::new(),
            environment,
            now,
        }
    }
}

/// The environment variables that matter to registries.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<&'static str, OsString>);

impl Environment {
    /// The names that are looked up: where credentials are, proxies, and where helpers are found.
    pub const NAMES: [&'static str; 15] = [
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

    /// The variables of [`Self::NAMES`] that are set; an empty one counts as not set.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| Some((name, lookup(name).filter(|value| !value.is_empty())?));
        Self(Self::NAMES.into_iter().filter_map(set).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }

    pub(super) fn path(&self, name: &str) -> Option<&Path> {
        self.get(name).map(Path::new)
    }

    /// The first of `names` that is set and is text.
    pub(super) fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name)?.to_str())
    }
}

/// Values may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
