//! The JSON of `config.json` and `auth.json` (Docker's `config.json`; containers-auth.json(5)).
//!
//! A file that cannot be parsed is named with the line at fault; its text is never shown.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

use super::{Kind, Secret};

/// The largest file of credentials, in bytes.
const MAX: u64 = 1024 * 1024;
/// Docker Hub's host in references, and what its credentials are filed under.
const HUB: &str = "docker.io";
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB_HOSTS: [&str; 3] = [HUB, "index.docker.io", "registry-1.docker.io"];

/// What a file says, its keys in one spelling.
#[derive(Debug, Default)]
pub(super) struct AuthFile {
    entries: BTreeMap<String, Entry>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// The value of one key.
#[derive(Debug)]
pub(super) enum Entry {
    /// Credentials.
    Usable {
        user: String,
        secret: Secret,
        kind: Kind,
    },
    /// Something that cannot be used; why.
    Broken(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
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

/// Reads a file; `None` if it is missing. The error names the cause.
pub(super) fn read(path: &Path) -> Option<(String, Result<AuthFile, String>)> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX + 1).read_to_end(&mut bytes));
    let parsed = match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(_) if bytes.len() as u64 > MAX => Err("is larger than 1 MiB".to_owned()),
        Ok(_) => AuthFile::parse(&bytes),
    };
    Some((path.display().to_string(), parsed))
}

impl AuthFile {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // The error's own text may quote what it stumbled over.
        let place = |error: serde_json::Error| {
            format!(
                "cannot be parsed (line {}, column {})",
                error.line(),
                error.column()
            )
        };
        let raw: Raw = serde_json::from_slice(bytes).map_err(place)?;
        let mut file = Self {
            store: raw.creds_store.filter(|name| !name.is_empty()),
            ..Self::default()
        };
        for (key, entry) in raw.auths.unwrap_or_default() {
            let Some(entry) = entry.parse() else { continue };
            insert(&mut file.entries, &key, entry);
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
    pub(super) fn entry(&self, keys: &[String]) -> Option<&Entry> {
        keys.iter().find_map(|key| self.entries.get(key))
    }

    /// The helper that the file names: for the registry, else for all.
    pub(super) fn helper(&self, keys: &[String]) -> Option<&str> {
        let named = keys
            .iter()
            .find_map(|key| self.helpers.get(key))
            .or(self.store.as_ref());
        named.map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// The plain spelling of a key wins over a URL that means the same.
fn insert<T>(map: &mut BTreeMap<String, T>, key: &str, value: T) {
    let plain = normal(key);
    if plain == key {
        map.insert(plain, value);
    } else {
        map.entry(plain).or_insert(value);
    }
}

/// A key without scheme, API version and trailing slashes, its host in lower case, Docker Hub under
/// one name.
fn normal(key: &str) -> String {
    let bare = key
        .split_once("://")
        .map_or(key, |(_, rest)| rest)
        .trim_end_matches('/');
    let bare = bare
        .strip_suffix("/v1")
        .or_else(|| bare.strip_suffix("/v2"))
        .unwrap_or(bare);
    let (host, path) = bare
        .split_once('/')
        .map_or((bare, ""), |(host, path)| (host, path));
    let host = canonical_host(host);
    if path.is_empty() {
        host
    } else {
        format!("{host}/{path}")
    }
}

fn canonical_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if HUB_HOSTS.contains(&host.as_str()) {
        HUB.to_owned()
    } else {
        host
    }
}

/// The keys that a repository's credentials may be under, the most specific first; the last is the
/// host.
pub(super) fn keys(host: &str, repository: &str) -> Vec<String> {
    let mut key = format!("{}/{repository}", canonical_host(host));
    let mut keys = vec![key.clone()];
    while let Some(slash) = key.rfind('/') {
        key.truncate(slash);
        keys.push(key.clone());
    }
    keys
}

/// What a helper calls the registry whose keys these are.
pub(super) fn server(keys: &[String]) -> String {
    let host = keys.last().map(String::as_str).unwrap_or_default();
    if host == HUB {
        HUB_KEY.to_owned()
    } else {
        host.to_owned()
    }
}

impl RawEntry {
    /// `None` for an empty entry, which Docker writes for what a helper keeps.
    fn parse(self) -> Option<Entry> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let decoded = given(self.auth).map(|auth| decode(&auth));
        let (user, password) = match decoded {
            Some(None) => {
                return Some(Entry::Broken(
                    "holds an `auth` for it that is not base64 of USER:PASSWORD",
                ));
            }
            Some(Some(pair)) => pair,
            None => (
                self.username.unwrap_or_default(),
                self.password.unwrap_or_default(),
            ),
        };
        if let Some(token) = given(self.identitytoken) {
            return Some(Entry::Usable {
                user,
                secret: Secret::new(token),
                kind: Kind::IdentityToken,
            });
        }
        let usable = !user.is_empty() && !password.is_empty();
        usable.then(|| Entry::Usable {
            user,
            secret: Secret::new(password),
            kind: Kind::Password,
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
