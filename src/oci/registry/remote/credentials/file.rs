//! Parses `config.json` and `auth.json` (Docker's `config.json`; containers-auth.json(5)).
//!
//! Errors contain the line, but never the text of a file.

use std::{collections::BTreeMap, io, path::Path};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use super::{AuthPlace, Secret, SecretKind};
use crate::{base::input_file, oci::canonical_host};

/// The largest file of credentials, in bytes.
const MAX: u64 = 1024 * 1024;
/// Docker Hub's host in repositories.
const HUB: &str = "docker.io";
/// The key of Docker Hub's credentials.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The content of a file, with normalized keys.
#[derive(Debug, Default)]
pub(super) struct AuthFile {
    entries: BTreeMap<String, AuthEntry>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// The credentials under one key.
#[derive(Debug)]
pub(super) enum AuthEntry {
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
pub(super) fn read(path: &Path) -> Option<AuthPlace> {
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
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
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

    pub(super) fn without_helpers(self) -> Self {
        Self {
            entries: self.entries,
            ..Self::default()
        }
    }

    /// The entry under the most specific of `keys`.
    pub(super) fn entry(&self, keys: &[String]) -> Option<&AuthEntry> {
        keys.iter().find_map(|key| self.entries.get(key))
    }

    /// The helper for the registry, or the helper for all registries.
    pub(super) fn helper(&self, keys: &[String]) -> Option<&str> {
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
pub(super) fn keys(host: &str, repository: &str) -> Vec<String> {
    let mut key = format!("{}/{repository}", canonical_host(host));
    let mut keys = vec![key.clone()];
    while let Some(slash) = key.rfind('/') {
        key.truncate(slash);
        keys.push(key.clone());
    }
    keys
}

/// The server name that helpers use for the registry with these keys.
pub(super) fn server(keys: &[String]) -> String {
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
