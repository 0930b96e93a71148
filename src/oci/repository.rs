//! Repositories: the part of a reference before the tag and the digest.
//!
//! Paths follow the grammar of the OCI distribution specification (`<name>`). The distinction
//! between host and path, and Docker Hub's short forms, follow the container engines.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Serialize, Serializer};

/// A repository such as `ghcr.io/acme/fix`. Two spellings of one repository are equal.
#[derive(Debug, Clone)]
pub struct Repository {
    /// The name as written.
    name: String,
    host: String,
    path: String,
}

/// The error for a malformed repository name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// The name is empty.
    #[error("the repository name is empty")]
    Empty,
    /// The name or its canonical form is too long.
    #[error("the repository name has more than 255 characters")]
    TooLong,
    /// The part before the first slash looks like a host but is invalid.
    #[error("`{0}` is not a host name with an optional port")]
    Host(String),
    /// A path component does not match the grammar.
    #[error(
        "malformed part `{0}` of a repository name: expected lowercase letters and digits, joined by `.`, `_`, `__` or `-`"
    )]
    Component(String),
}

const HUB: &str = "docker.io";
/// The other names of Docker Hub.
const HUB_ALIASES: [&str; 3] = [
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];
/// The port of a registry without one.
const DEFAULT_PORT: &str = ":443";

/// ECR responds with 404 for archived images ("Archiving an image", Amazon ECR user guide).
const RESTORE: &str = "check that the image was pushed; Amazon ECR also reports an archived image as missing: \
                       `aws ecr describe-images` shows it as ARCHIVED, and `aws ecr update-image-storage-class \
                       --target-storage-class STANDARD` restores it";

/// The message about a tag or digest that a registry reports as missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// The statement that it is missing.
    pub detail: String,
    /// The remedy, if the registry needs a special one.
    pub help: Option<&'static str>,
}

impl Repository {
    /// The maximum length in bytes, of the written name and of its canonical form.
    pub const MAX: usize = 255;

    /// Parses a name without tag and digest.
    pub fn parse(text: &str) -> Result<Self, RepositoryError> {
        if text.is_empty() {
            return Err(RepositoryError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(RepositoryError::TooLong);
        }
        let (host, path) = match split_host(text) {
            Some((host, path)) => (parse_host(host)?, path),
            None => (HUB.to_owned(), text),
        };
        for component in path.split('/') {
            check_component(component)?;
        }
        let path = if host == HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        // Engines limit the length of the canonical form.
        if host.len() + 1 + path.len() > Self::MAX {
            return Err(RepositoryError::TooLong);
        }
        Ok(Self {
            name: text.to_owned(),
            host,
            path,
        })
    }

    /// Parses a registry and a name. Longer ones than a repository may be are not joined, because a text may
    /// combine them any number of times.
    pub fn joined(registry: &str, name: &str) -> Result<Self, RepositoryError> {
        let registry = registry.trim_end_matches('/');
        if registry.len() + 1 + name.len() > Self::MAX {
            return Err(RepositoryError::TooLong);
        }
        Self::parse(&format!("{registry}/{name}"))
    }

    /// The registry's host in lower case, with its port if it has one; `docker.io` for Docker Hub.
    /// A host that only its capitals distinguish from a path keeps them.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name in the registry, with `library/` for Docker Hub's official images.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// A name without a scheme such as `oci://`.
    pub(crate) fn without_scheme(text: &str) -> &str {
        text.rsplit_once("://").map_or(text, |(_, name)| name)
    }

    /// Whether a name, valid or not, begins with a host.
    pub(crate) fn begins_with_host(text: &str) -> bool {
        split_host(text).is_some()
    }

    /// Whether the registry is Docker Hub.
    pub fn is_on_hub(&self) -> bool {
        self.host == HUB
    }

    /// The name of an official image of Docker Hub, without `library/`.
    pub fn official_name(&self) -> Option<&str> {
        let name = self.path().strip_prefix("library/");
        name.filter(|_| self.is_on_hub())
    }

    /// The message about `reference`, a tag or digest that the registry reports as missing.
    pub fn absence(&self, reference: impl fmt::Display) -> Absence {
        let missing = format!("{reference} does not exist");
        if is_ecr(&self.host) {
            Absence {
                detail: format!("{missing}, or is archived (Amazon ECR)"),
                help: Some(RESTORE),
            }
        } else {
            Absence {
                detail: missing,
                help: None,
            }
        }
    }

    /// Host and path, the same for all spellings of a repository.
    pub fn canonical(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }
}

/// Whether a host name is a private registry's of Amazon ECR ("Amazon ECR endpoints and quotas", AWS
/// General Reference).
fn is_ecr(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    matches!(
        labels.as_slice(),
        [_, "dkr", "ecr" | "ecr-fips", _, "amazonaws", "com"]
            | [_, "dkr", "ecr", _, "amazonaws", "com", "cn"]
            | [_, "dkr-ecr" | "dkr-ecr-fips", _, "on", "aws"]
            | [_, "dkr-ecr", _, "on", "amazonwebservices", "com", "cn"]
    )
}

/// Splits a name into host and path; `None` if it has no host.
fn split_host(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(first, _)| is_host(first))
}

/// Whether a first component is a host: it cannot be a path component of Docker Hub. All engines
/// use this rule.
fn is_host(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// Checks a host and returns its canonical form.
fn parse_host(text: &str) -> Result<String, RepositoryError> {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    // `u16::from_str` accepts a sign.
    let has_invalid_port =
        port.is_some_and(|port| port.starts_with('+') || port.parse::<u16>().is_err());
    if has_invalid_port || !name.split('.').all(is_dns_label) {
        return Err(RepositoryError::Host(text.to_owned()));
    }
    let host = canonical_host(text);
    // In lower case it would be a path of Docker Hub.
    Ok(if is_host(&host) {
        host
    } else {
        text.to_owned()
    })
}

/// A registry's host in lower case, without the default port, and with one name for Docker Hub.
pub(crate) fn canonical_host(text: &str) -> String {
    let host = text.to_ascii_lowercase();
    let host = match host.strip_suffix(DEFAULT_PORT) {
        // A host by its port alone, and a local one, which may use plain HTTP, keep the port.
        Some(name) if name.contains('.') && name.contains(|c: char| c.is_ascii_lowercase()) => name,
        _ => &host,
    };
    if HUB_ALIASES.contains(&host) {
        HUB.to_owned()
    } else {
        host.to_owned()
    }
}

/// The spellings of a canonical host.
pub(crate) fn host_spellings(host: &str) -> Vec<String> {
    let mut names = vec![host];
    if host == HUB {
        names.extend(HUB_ALIASES);
    }
    let with_port = names.iter().map(|name| format!("{name}{DEFAULT_PORT}"));
    let with_port = with_port.filter(|name| canonical_host(name) == host);
    let mut spellings: Vec<_> = with_port.collect();
    spellings.extend(names.into_iter().map(str::to_owned));
    spellings
}

fn is_dns_label(label: &str) -> bool {
    !label.is_empty()
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn check_component(text: &str) -> Result<(), RepositoryError> {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator =
        |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|b| b == b'-');
    if text.starts_with(is_alphanumeric)
        && text.ends_with(is_alphanumeric)
        && text.split(is_alphanumeric).all(is_separator)
    {
        return Ok(());
    }
    Err(RepositoryError::Component(text.to_owned()))
}

impl PartialEq for Repository {
    fn eq(&self, other: &Self) -> bool {
        self.host == other.host && self.path == other.path
    }
}

impl Eq for Repository {}

impl Hash for Repository {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.host.hash(state);
        self.path.hash(state);
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Repository {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Result<String, RepositoryError> {
        Repository::parse(text).map(|r| r.canonical())
    }

    #[test]
    fn only_missing_images_of_ecr_may_be_archived() {
        let absence = |name: &str| {
            let repository = Repository::parse(name).unwrap();
            repository.absence(format!("{repository}:v1"))
        };
        for host in [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "123456789012.dkr-ecr.eu-west-1.on.aws",
        ] {
            let absence = absence(&format!("{host}/acme/fix"));
            assert!(absence.detail.contains("archived"), "{host}");
            assert!(absence.help.unwrap().contains("update-image-storage-class"));
        }
        for name in [
            "ghcr.io/acme/fix",
            "public.ecr.aws/acme/fix",
            "nginx",
            "dkr.ecr.eu-west-1.amazonaws.com/acme/fix",
            "x.dkr.ecr.eu-west-1.amazonaws.com.example.org/acme/fix",
        ] {
            let expected = Absence {
                detail: format!("{name}:v1 does not exist"),
                help: None,
            };
            assert_eq!(absence(name), expected);
        }
    }

    #[test]
    fn docker_hub_spellings_are_equal() {
        for text in [
            "nginx",
            "library/nginx",
            "docker.io/nginx",
            "docker.io/library/nginx",
            "index.docker.io/library/nginx",
            "registry-1.docker.io/nginx",
            "registry-1.docker.io/library/nginx",
            "registry.hub.docker.com/library/nginx",
            "Registry.Hub.Docker.com:443/nginx",
            "docker.io:443/nginx",
        ] {
            assert_eq!(
                canonical(text).as_deref(),
                Ok("docker.io/library/nginx"),
                "{text}"
            );
        }
        assert_eq!(canonical("acme/app").as_deref(), Ok("docker.io/acme/app"));
    }

    #[test]
    fn hosts_are_compared_without_case() {
        assert_eq!(
            canonical("GHCR.IO/acme/app").as_deref(),
            Ok("ghcr.io/acme/app")
        );
        assert_eq!(canonical("localhost/app").as_deref(), Ok("localhost/app"));
        assert_eq!(
            canonical("Registry:5000/a/b").as_deref(),
            Ok("registry:5000/a/b")
        );
        assert_eq!(
            canonical("GHCR.io:443/acme/app").as_deref(),
            Ok("ghcr.io/acme/app")
        );
        for kept in [
            "ghcr.io:80/app",
            "internal:443/app",
            "127.0.0.1:443/app",
            "localhost:443/app",
        ] {
            assert_eq!(canonical(kept).as_deref(), Ok(kept));
        }
        assert_ne!(
            Repository::parse("localhost:5000/app"),
            Repository::parse("localhost:5001/app")
        );
    }

    #[test]
    fn host_by_capitals_keeps_its_capitals() {
        let internal = Repository::parse("INTERNAL/app").unwrap();
        assert_eq!(internal.canonical(), "INTERNAL/app");
        assert_eq!(Repository::parse(&internal.canonical()), Ok(internal));
        assert_eq!(
            Repository::parse("internal/app").unwrap().canonical(),
            "docker.io/internal/app"
        );
    }

    #[test]
    fn canonical_form_is_parsed_or_too_long() {
        for (prefix, canonical_prefix) in [
            ("", "docker.io/library/"),
            ("acme/", "docker.io/acme/"),
            ("index.docker.io/acme/", "index.docker.io/acme/"),
            ("ghcr.io/", "ghcr.io/"),
        ] {
            let longest = Repository::MAX - canonical_prefix.len();
            let name = |length| format!("{prefix}{}", "b".repeat(length));
            let accepted = Repository::parse(&name(longest)).unwrap();
            assert_eq!(Repository::parse(&accepted.canonical()), Ok(accepted));
            assert_eq!(
                Repository::parse(&name(longest + 1)),
                Err(RepositoryError::TooLong),
                "{prefix}"
            );
        }
    }

    #[test]
    fn display_keeps_the_spelling() {
        assert_eq!(
            Repository::parse("GHCR.io/a").unwrap().to_string(),
            "GHCR.io/a"
        );
    }

    #[test]
    fn invalid_repository_is_refused() {
        for text in [
            "",
            "a//b",
            "/a",
            "a/",
            "ghcr.io/",
            "ghcr.io/Acme/app",
            "ghcr.io/a___b",
            "ghcr.io/a..b",
            "ghcr.io/-a",
            "ghcr.io/a-",
            "ghcr.io:x/a",
            "ghcr.io:99999/a",
            "ghcr.io:/a",
            "ghcr.io:+1/a",
            "-x.y/a",
            "a..b/c",
            "ghcr.io/a:tag",
            "ghcr.io/a@sha256:0",
            "ä/b",
            &"a".repeat(256),
        ] {
            assert!(Repository::parse(text).is_err(), "{text}");
        }
        assert!(Repository::parse("ghcr.io/a__b/c--d/e.f_g").is_ok());
    }
}
