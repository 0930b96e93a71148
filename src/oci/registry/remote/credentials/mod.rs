//! The credentials for registries: Docker's and Podman's files, their helpers, and
//! `DOCKER_AUTH_CONFIG`.
//!
//! Files and helpers are read when a registry first requires credentials. In: a host and a
//! repository's name. Out: credentials for exactly that host, or the places that were searched
//! (docs/decisions/0004-registries.md).

mod file;
mod helper;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use file::{AuthEntry, AuthFile};
use tokio::sync::OnceCell;

use super::settings::Environment;
use crate::base::untrusted::{Secret, Secrets};

/// The credentials for one host.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) secret: Secret,
    pub(super) kind: SecretKind,
    /// The file or helper that provided them.
    pub(super) origin: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretKind {
    /// A password, or a token that is used as one.
    Password,
    /// A token for the token server only (`identitytoken`).
    IdentityToken,
}

/// The result of a search for credentials.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookup {
    pub(super) credentials: Option<Credentials>,
    /// Failed helpers and unreadable files.
    pub(super) problems: Vec<String>,
    /// The places without credentials for the host.
    pub(super) searched: Vec<String>,
}

/// A file or variable with credentials, and its parsed content.
type AuthPlace = (String, Result<AuthFile, String>);
/// A helper and a server.
type HelperKey = (String, String);
type HelperResult = Result<Option<Credentials>, String>;

/// The places with credentials, each read at most once.
#[derive(Debug)]
pub(super) struct CredentialStore {
    environment: Environment,
    secrets: Secrets,
    places: OnceLock<Vec<AuthPlace>>,
    helpers: Mutex<HashMap<HelperKey, Arc<OnceCell<HelperResult>>>>,
}

impl CredentialStore {
    pub(super) fn new(environment: Environment, secrets: Secrets) -> Self {
        Self {
            environment,
            secrets,
            places: OnceLock::new(),
            helpers: Mutex::default(),
        }
    }

    /// The credentials for a repository: the most specific entry in the first place with an entry.
    pub(super) async fn lookup(&self, host: &str, repository: &str) -> Lookup {
        let keys = file::keys(host, repository);
        let mut lookup = Lookup::default();
        for (place, file) in self.places.get_or_init(|| self.read_places()) {
            match file {
                Err(reason) => lookup.problems.push(format!("{place} {reason}")),
                Ok(file) => {
                    lookup.credentials = self
                        .search_file(place, file, &keys, &mut lookup.problems)
                        .await;
                }
            }
            if lookup.credentials.is_some() {
                break;
            }
            lookup.searched.push(place.clone());
        }
        lookup
    }

    async fn search_file(
        &self,
        place: &str,
        file: &AuthFile,
        keys: &[String],
        problems: &mut Vec<String>,
    ) -> Option<Credentials> {
        if let Some(helper) = file.helper(keys) {
            match self.query_helper(helper, file::server(keys)).await {
                Ok(Some(credentials)) => return Some(credentials),
                Ok(None) => {}
                Err(reason) => problems.push(format!(
                    "docker-credential-{helper} (named in {place}) {reason}"
                )),
            }
        }
        match file.entry(keys)? {
            AuthEntry::Usable { user, secret, kind } => {
                self.secrets.hide_basic(user, secret.expose());
                Some(Credentials {
                    user: user.clone(),
                    secret: secret.clone(),
                    kind: *kind,
                    origin: place.to_owned(),
                })
            }
            AuthEntry::Invalid(reason) => {
                problems.push(format!("{place} {reason}"));
                None
            }
        }
    }

    /// Runs a helper, once for each server.
    async fn query_helper(&self, helper: &str, server: String) -> HelperResult {
        let cell = {
            let mut helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (helper.to_owned(), server.clone());
            Arc::clone(helpers.entry(key).or_default())
        };
        let path = self.environment.get("PATH").cloned();
        cell.get_or_init(|| async {
            let credentials = helper::get(helper, &server, path, &self.secrets).await?;
            if let Some(found) = &credentials {
                self.secrets.hide_basic(&found.user, found.secret.expose());
            }
            Ok(credentials)
        })
        .await
        .clone()
    }

    /// Loads the files that variables select, `DOCKER_AUTH_CONFIG`, and the usual files.
    fn read_places(&self) -> Vec<AuthPlace> {
        let mut places = Vec::new();
        places.extend(
            self.selected_files()
                .iter()
                .filter_map(|path| file::read(path)),
        );
        if let Some(text) = self.environment.text(&["DOCKER_AUTH_CONFIG"]) {
            // The variable must not make repin run a program.
            let file = AuthFile::parse(text.as_bytes()).map(AuthFile::without_helpers);
            let place = "the environment variable DOCKER_AUTH_CONFIG".to_owned();
            places.push((place, file));
        }
        places.extend(
            self.usual_files()
                .iter()
                .filter_map(|path| file::read(path)),
        );
        places
    }

    fn selected_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        files.extend(
            self.environment
                .path("REGISTRY_AUTH_FILE")
                .map(PathBuf::from),
        );
        if let Some(directory) = self.environment.path("DOCKER_CONFIG") {
            files.push(directory.join("config.json"));
        }
        files
    }

    fn usual_files(&self) -> Vec<PathBuf> {
        const PODMAN: &str = "containers/auth.json";
        let home = self.environment.path("HOME");
        let mut files = Vec::new();
        if let Some(runtime) = self.environment.path("XDG_RUNTIME_DIR") {
            files.push(runtime.join(PODMAN));
        }
        if let Some(config) = self.environment.path("XDG_CONFIG_HOME") {
            files.push(config.join(PODMAN));
        } else if let Some(home) = home {
            files.push(home.join(".config").join(PODMAN));
        }
        if self.environment.path("DOCKER_CONFIG").is_none()
            && let Some(home) = home
        {
            files.push(home.join(".docker/config.json"));
        }
        files
    }
}

#[cfg(test)]
mod tests;
