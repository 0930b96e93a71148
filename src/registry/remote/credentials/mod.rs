//! Which credentials a registry gets: Docker's and Podman's files, their helpers, and
//! `DOCKER_AUTH_CONFIG`.
//!
//! Nothing is sent from here, and nothing is looked at before a registry asks for it. In: a host
//! and a repository's name. Out: credentials that are for exactly that host, or where they were
//! looked for (docs/decisions/0004-registries.md).

mod file;
mod helper;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use file::{AuthFile, Entry};
use tokio::sync::OnceCell;

use super::settings::Environment;
use crate::untrusted::{Secret, Secrets};

/// Someone's credentials for one host.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) secret: Secret,
    pub(super) kind: Kind,
    /// The file or helper that they are from.
    pub(super) origin: String,
}

/// What the secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A password, or a token in its place.
    Password,
    /// A token that only the token server takes (`identitytoken`).
    IdentityToken,
}

/// What was found, and what was looked at before.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookup {
    pub(super) found: Option<Credentials>,
    /// What people can do something about: helpers that failed, files that cannot be read.
    pub(super) trouble: Vec<String>,
    /// The places that had nothing.
    pub(super) looked: Vec<String>,
}

/// A helper, and the server that it was asked about.
type HelperKey = (String, String);
type HelperAnswer = Result<Option<Credentials>, String>;

/// All places where credentials may be, each read at most once.
#[derive(Debug)]
pub(super) struct Book {
    environment: Environment,
    secrets: Secrets,
    files: OnceLock<Vec<(String, Result<AuthFile, String>)>>,
    helpers: Mutex<HashMap<HelperKey, Arc<OnceCell<HelperAnswer>>>>,
}

impl Book {
    pub(super) fn new(environment: Environment, secrets: Secrets) -> Self {
        Self {
            environment,
            secrets,
            files: OnceLock::new(),
            helpers: Mutex::default(),
        }
    }

    /// The credentials for a repository of a registry: the most specific entry of the first place
    /// that has one.
    pub(super) async fn lookup(&self, host: &str, repository: &str) -> Lookup {
        let keys = file::keys(host, repository);
        let mut lookup = Lookup::default();
        for (place, file) in self.files.get_or_init(|| self.read_files()) {
            match file {
                Err(reason) => lookup.trouble.push(format!("{place} {reason}")),
                Ok(file) => {
                    lookup.found = self.in_file(place, file, &keys, &mut lookup.trouble).await;
                }
            }
            if lookup.found.is_some() {
                break;
            }
            lookup.looked.push(place.clone());
        }
        lookup
    }

    async fn in_file(
        &self,
        place: &str,
        file: &AuthFile,
        keys: &[String],
        trouble: &mut Vec<String>,
    ) -> Option<Credentials> {
        if let Some(helper) = file.helper(keys) {
            match self.ask(helper, file::server(keys)).await {
                Ok(Some(found)) => return Some(found),
                Ok(None) => {}
                Err(reason) => trouble.push(format!(
                    "docker-credential-{helper} (named in {place}) {reason}"
                )),
            }
        }
        let entry = file.entry(keys)?;
        match entry {
            Entry::Usable { user, secret, kind } => {
                self.secrets.hide_basic(user, secret.expose());
                Some(Credentials {
                    user: user.clone(),
                    secret: secret.clone(),
                    kind: *kind,
                    origin: place.to_owned(),
                })
            }
            Entry::Broken(reason) => {
                trouble.push(format!("{place} {reason}"));
                None
            }
        }
    }

    /// Asks a helper once for each server, however many images there are.
    async fn ask(&self, helper: &str, server: String) -> HelperAnswer {
        let cell = {
            let mut helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(
                helpers
                    .entry((helper.to_owned(), server.clone()))
                    .or_default(),
            )
        };
        let path = self.environment.get("PATH").cloned();
        let ask = || async {
            let found = helper::get(helper, &server, path, &self.secrets).await?;
            if let Some(found) = &found {
                self.secrets.hide_basic(&found.user, found.secret.expose());
            }
            Ok(found)
        };
        cell.get_or_init(ask).await.clone()
    }

    fn read_files(&self) -> Vec<(String, Result<AuthFile, String>)> {
        let mut files = Vec::new();
        let (named, usual) = self.places();
        files.extend(named.iter().filter_map(|path| file::read(path)));
        if let Some(text) = self.environment.text(&["DOCKER_AUTH_CONFIG"]) {
            // What the variable holds are entries; that it could make us run a program would
            // surprise.
            let parsed = AuthFile::parse(text.as_bytes()).map(AuthFile::without_helpers);
            files.push((
                "the environment variable DOCKER_AUTH_CONFIG".to_owned(),
                parsed,
            ));
        }
        files.extend(usual.iter().filter_map(|path| file::read(path)));
        files
    }

    /// The files that variables name, and the usual ones.
    fn places(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let path = |name| self.environment.path(name);
        let home = path("HOME");
        let config = path("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| home.map(|home| home.join(".config")));
        let docker = path("DOCKER_CONFIG").map(|directory| directory.join("config.json"));
        let usual_docker = home
            .filter(|_| docker.is_none())
            .map(|home| home.join(".docker/config.json"));
        let podman = |directory: PathBuf| directory.join("containers/auth.json");
        let named = path("REGISTRY_AUTH_FILE")
            .map(PathBuf::from)
            .into_iter()
            .chain(docker)
            .collect();
        let runtime = path("XDG_RUNTIME_DIR").map(PathBuf::from).map(podman);
        (
            named,
            runtime
                .into_iter()
                .chain(config.map(podman))
                .chain(usual_docker)
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests;
