//! The credentials for registries: Docker's and Podman's files, their helpers, and
//! `DOCKER_AUTH_CONFIG`.
//!
//! Files and helpers are read when a registry first requires credentials. In: a host and a
//! repository's name. Out: credentials for exactly that host, or the places that were searched
//! (docs/decisions/0004-registries.md).
//!
//! Parses `config.json` and `auth.json` (Docker's `config.json`; containers-auth.json(5)).
//!
//! Errors contain the line, but never the text of a file.
//!
//! Credential helpers: `docker-credential-NAME get` (docker-credential-helpers, "Development").
//!
//! A helper has a time limit of ten seconds, after which its process group is killed. Its standard
//! output contains the secret and is never shown.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::OnceCell,
};

use super::{MAX_MESSAGE, settings::Environment};
use crate::{
    base::{
        input_file,
        untrusted::{Secret, Secrets, job_secrets},
    },
    oci::canonical_host,
};

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
        let keys = keys(host, repository);
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
            match self.query_helper(helper, server(keys)).await {
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
            let credentials = get(helper, &server, path, &self.secrets).await?;
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
        places.extend(self.selected_files().iter().filter_map(|path| read(path)));
        if let Some(text) = self.environment.text(&["DOCKER_AUTH_CONFIG"]) {
            // The variable must not make repin run a program.
            let file = AuthFile::parse(text.as_bytes()).map(AuthFile::without_helpers);
            let place = "the environment variable DOCKER_AUTH_CONFIG".to_owned();
            places.push((place, file));
        }
        places.extend(self.usual_files().iter().filter_map(|path| read(path)));
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

/// The largest file of credentials, in bytes.
const MAX: u64 = 1024 * 1024;
/// Docker Hub's host in repositories.
const HUB: &str = "docker.io";
/// The key of Docker Hub's credentials.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The content of a file, with normalized keys.
#[derive(Debug, Default)]
struct AuthFile {
    entries: BTreeMap<String, AuthEntry>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// The credentials under one key.
#[derive(Debug)]
enum AuthEntry {
    Usable {
        user: String,
        secret: Secret,
        kind: SecretKind,
    },
    /// The entry cannot be used, for this reason.
    Invalid(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    auths: Option<BTreeMap<String, RawEntry>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Loads a file; `None` if it is missing.
fn read(path: &Path) -> Option<AuthPlace> {
    let parsed = match input_file::read(path, MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err("is larger than 1 MiB".to_owned())
        }
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(bytes) => AuthFile::parse(&bytes),
    };
    Some((path.display().to_string(), parsed))
}

impl AuthFile {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // The parser's message may quote a secret.
        let raw: RawFile = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("cannot be parsed (line {line}, column {column})")
        })?;
        let mut file = Self {
            store: raw.creds_store.filter(|name| !name.is_empty()),
            ..Self::default()
        };
        for (key, entry) in raw.auths.unwrap_or_default() {
            if let Some(entry) = entry.parse() {
                insert(&mut file.entries, &key, entry);
            }
        }
        for (key, helper) in raw.cred_helpers.unwrap_or_default() {
            insert(&mut file.helpers, &key, helper);
        }
        Ok(file)
    }

    fn without_helpers(self) -> Self {
        Self {
            entries: self.entries,
            ..Self::default()
        }
    }

    /// The entry under the most specific of `keys`.
    fn entry(&self, keys: &[String]) -> Option<&AuthEntry> {
        keys.iter().find_map(|key| self.entries.get(key))
    }

    /// The helper for the registry, or the helper for all registries.
    fn helper(&self, keys: &[String]) -> Option<&str> {
        let helper = keys
            .iter()
            .find_map(|key| self.helpers.get(key))
            .or(self.store.as_ref())?;
        (!helper.is_empty()).then_some(helper)
    }
}

/// Inserts under the normalized key. A key that is already normalized takes precedence.
fn insert<T>(map: &mut BTreeMap<String, T>, key: &str, value: T) {
    let normalized = normalize(key);
    if normalized == key {
        map.insert(normalized, value);
    } else {
        map.entry(normalized).or_insert(value);
    }
}

/// A key without scheme, API version and trailing slashes, with its host in lower case, and one
/// name for Docker Hub.
fn normalize(key: &str) -> String {
    let without_scheme = match key.split_once("://") {
        Some((_, rest)) => rest,
        None => key,
    };
    let name = without_scheme.trim_end_matches('/');
    let name = name
        .strip_suffix("/v1")
        .or_else(|| name.strip_suffix("/v2"))
        .unwrap_or(name);
    match name.split_once('/') {
        Some((host, path)) if !path.is_empty() => format!("{}/{path}", canonical_host(host)),
        Some((host, _)) => canonical_host(host),
        None => canonical_host(name),
    }
}

/// The possible keys of a repository's credentials, from the most specific to the host.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let mut key = format!("{}/{repository}", canonical_host(host));
    let mut keys = vec![key.clone()];
    while let Some(slash) = key.rfind('/') {
        key.truncate(slash);
        keys.push(key.clone());
    }
    keys
}

/// The server name that helpers use for the registry with these keys.
fn server(keys: &[String]) -> String {
    let host = keys.last().map(String::as_str).unwrap_or_default();
    if host == HUB {
        HUB_KEY.to_owned()
    } else {
        host.to_owned()
    }
}

impl RawEntry {
    /// `None` for an empty entry, which Docker writes for credentials in a helper.
    fn parse(self) -> Option<AuthEntry> {
        let auth = self.auth.unwrap_or_default();
        let token = self.identitytoken.unwrap_or_default();
        let (user, password) = if auth.is_empty() {
            (
                self.username.unwrap_or_default(),
                self.password.unwrap_or_default(),
            )
        } else if let Some(pair) = decode(&auth) {
            pair
        } else {
            return Some(AuthEntry::Invalid(
                "holds an `auth` for it that is not base64 of USER:PASSWORD",
            ));
        };
        if !token.is_empty() {
            return Some(AuthEntry::Usable {
                user,
                secret: Secret::new(token),
                kind: SecretKind::IdentityToken,
            });
        }
        if user.is_empty() || password.is_empty() {
            return None;
        }
        Some(AuthEntry::Usable {
            user,
            secret: Secret::new(password),
            kind: SecretKind::Password,
        })
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, lenient)
        .decode(auth.trim())
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker pads some passwords with NUL bytes.
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_STDOUT: u64 = 64 * 1024;
const MAX_STDERR: u64 = 4 * 1024;
/// The messages of helpers without credentials for a server.
const NOT_FOUND: [&str; 2] = [
    "credentials not found in native keychain",
    "credentials not found",
];
/// The user name that marks an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperCredentials {
    username: String,
    secret: String,
}

/// Runs a helper for the credentials of `server`; `None` if it has none. `path` is the search path
/// for programs.
async fn get(name: &str, server: &str, path: Option<OsString>, secrets: &Secrets) -> HelperResult {
    get_within(name, server, path, secrets, TIMEOUT).await
}

async fn get_within(
    name: &str,
    server: &str,
    path: Option<OsString>,
    secrets: &Secrets,
    timeout: Duration,
) -> HelperResult {
    let is_suffix = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !is_suffix {
        return Err("is not run: a helper is a program name suffix without a path".to_owned());
    }
    let program = format!("docker-credential-{name}");
    let mut command = Command::new(&program);
    command.arg("get").process_group(0).kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    for name in job_secrets() {
        command.env_remove(name);
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let Ok(result) = tokio::time::timeout(timeout, communicate(&mut child, server)).await else {
        if let Some(group) = group {
            // An error means that the processes have exited.
            let _ = kill_process_group(group, Signal::KILL);
        }
        return Err(format!("did not respond within {} s", timeout.as_secs()));
    };
    let output = result.map_err(|error| format!("was interrupted: {error}"))?;
    parse_output(&output, program, secrets)
}

fn parse_output(output: &HelperOutput, program: String, secrets: &Secrets) -> HelperResult {
    let parsed = serde_json::from_slice::<HelperCredentials>(&output.stdout);
    // Also hidden if the helper failed: its error message may contain the secret.
    if let Ok(credentials) = &parsed {
        secrets.hide(&credentials.secret);
    }
    if !output.is_success {
        let message = String::from_utf8_lossy(&output.stdout);
        if NOT_FOUND
            .iter()
            .any(|text| message.trim().starts_with(text))
        {
            return Ok(None);
        }
        let errors = secrets.clean(&String::from_utf8_lossy(&output.stderr), MAX_MESSAGE);
        return Err(if errors.is_empty() {
            "failed".to_owned()
        } else {
            format!("failed: {errors}")
        });
    }
    let credentials = parsed.map_err(|_| "returned malformed credentials".to_owned())?;
    if credentials.secret.is_empty() {
        return Ok(None);
    }
    let kind = if credentials.username == TOKEN_USER {
        SecretKind::IdentityToken
    } else {
        SecretKind::Password
    };
    Ok(Some(Credentials {
        user: credentials.username,
        secret: Secret::new(credentials.secret),
        kind,
        origin: program,
    }))
}

/// The exit status and output of a helper.
struct HelperOutput {
    is_success: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn communicate(child: &mut Child, server: &str) -> std::io::Result<HelperOutput> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A helper may respond without reading its input.
            let _ = stdin.write_all(server.as_bytes()).await;
        }
        Ok(())
    };
    let ((), stdout, stderr) = tokio::try_join!(
        write,
        read_prefix(stdout, MAX_STDOUT),
        read_prefix(stderr, MAX_STDERR)
    )?;
    Ok(HelperOutput {
        is_success: child.wait().await?.success(),
        stdout,
        stderr,
    })
}

/// Returns the first `max` bytes, and drops the other output so that the helper can exit.
async fn read_prefix(stream: Option<impl AsyncRead + Unpin>, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut stream) = stream else {
        return Ok(bytes);
    };
    (&mut stream).take(max).read_to_end(&mut bytes).await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
