//! Mappings from prefixes of repositories to other locations of their images.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::oci::{Repository, RepositoryError};

/// The location of the repositories with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    pub prefix: Prefix,
    pub location: SourceLocation,
}

/// The first segments of repositories, starting with the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    text: String,
    segments: Vec<String>,
}

/// A location of images.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceLocation {
    /// OCI image layouts under a directory.
    Layouts(LayoutDirectory),
    Registry(Endpoint),
}

/// A directory of OCI image layouts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayoutDirectory {
    pub path: PathBuf,
    /// The path as configured, for messages: a body must not contain the path of the work tree.
    pub configured: PathBuf,
}

/// A registry's address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// `http://` instead of `https://`.
    pub plain: bool,
    /// The host, with its port if one is given.
    pub host: String,
    /// The path before the remaining part of the repository; can be empty.
    pub path: String,
}

/// A malformed mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error("expected PREFIX=WHERE, found `{0}`")]
    NoEquals(String),
    #[error("the prefix `{0}` is not a valid repository prefix: {1}")]
    Prefix(String, RepositoryError),
    #[error("expected `oci:DIR` or `http[s]://HOST[:PORT][/PATH]`, found `{0}`")]
    Where(String),
    /// A URL with more than scheme, host, port and path.
    #[error(
        "the URL may contain only a scheme, a host, a port and a path (no user name, query or fragment)"
    )]
    Url,
}

impl Mapping {
    /// Parses `PREFIX=WHERE`. A relative directory is relative to `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, MappingError> {
        let (prefix, location) = text
            .split_once('=')
            .ok_or_else(|| MappingError::NoEquals(text.to_owned()))?;
        Ok(Self {
            prefix: Prefix::parse(prefix)?,
            location: SourceLocation::parse(location, base)?,
        })
    }

    /// The mapping with the longest matching prefix, and the remaining part of the repository. The
    /// first of equally long prefixes wins.
    pub fn longest<'m>(
        mappings: impl IntoIterator<Item = &'m Self>,
        repository: &Repository,
    ) -> Option<(&'m Self, String)> {
        let mut best: Option<(&Self, String)> = None;
        for mapping in mappings {
            let Some(rest) = mapping.prefix.rest_of(repository) else {
                continue;
            };
            if best.as_ref().is_none_or(|(other, _)| {
                mapping.prefix.segments.len() > other.prefix.segments.len()
            }) {
                best = Some((mapping, rest));
            }
        }
        best
    }
}

impl Prefix {
    /// Parses a host, or a host with path segments. Without a host, the prefix is of Docker Hub.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let wrong = |error| MappingError::Prefix(text.to_owned(), error);
        let first = text.split('/').next().unwrap_or_default();
        let bare_host = first == text && (text == "localhost" || text.contains(['.', ':']));
        // A host is not a repository, so a path is added for the check.
        let whole = if bare_host {
            format!("{text}/x")
        } else {
            text.to_owned()
        };
        let repository = Repository::parse(&whole).map_err(wrong)?;
        let mut segments = vec![repository.host().to_owned()];
        let hub_short = repository.host() == "docker.io" && !text.contains("library/");
        let path = if hub_short {
            repository.path().trim_start_matches("library/")
        } else {
            repository.path()
        };
        segments.extend(path.split('/').map(str::to_owned));
        if bare_host {
            segments.truncate(1);
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }

    /// The part of the repository after the prefix; `None` without the prefix.
    pub fn rest_of(&self, repository: &Repository) -> Option<String> {
        let rest = |path: &str| {
            let mut name = std::iter::once(repository.host())
                .chain(path.split('/'))
                .peekable();
            for segment in &self.segments {
                name.next_if(|part| part == segment)?;
            }
            Some(name.collect::<Vec<_>>().join("/"))
        };
        rest(repository.path()).or_else(|| rest(repository.official_name()?))
    }
}

impl LayoutDirectory {
    /// A configured directory, relative to `base`.
    pub(crate) fn new(configured: impl Into<PathBuf>, base: &Path) -> Self {
        let configured = configured.into();
        Self {
            path: base.join(&configured),
            configured,
        }
    }

    #[must_use]
    pub(crate) fn join(&self, rest: &str) -> Self {
        Self {
            path: self.path.join(rest),
            configured: self.configured.join(rest),
        }
    }
}

impl SourceLocation {
    /// Parses a location. A relative directory is relative to `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, MappingError> {
        let wrong = || MappingError::Where(text.to_owned());
        if let Some(directory) = text.strip_prefix("oci:") {
            return if directory.is_empty() {
                Err(wrong())
            } else {
                Ok(Self::Layouts(LayoutDirectory::new(directory, base)))
            };
        }
        let (plain, rest) = match text.split_once("://") {
            Some(("http", rest)) => (true, rest),
            Some(("https", rest)) => (false, rest),
            _ => return Err(wrong()),
        };
        if rest.contains(['@', '?', '#', '\\', '%'])
            || rest.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(MappingError::Url);
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        check_host(host).ok_or_else(wrong)?;
        let path = path.trim_end_matches('/');
        if !path.is_empty() && Repository::parse(&format!("localhost/{path}")).is_err() {
            return Err(wrong());
        }
        Ok(Self::Registry(Endpoint {
            plain,
            host: host.to_ascii_lowercase(),
            path: path.to_owned(),
        }))
    }
}

/// Whether `text` is a host name or address with an optional port.
pub(crate) fn is_host(text: &str) -> bool {
    check_host(text).is_some()
}

/// A host name or address with an optional port; an IPv6 address is in brackets.
fn check_host(host: &str) -> Option<()> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        return match port.strip_prefix(':') {
            Some(port) => port.parse::<u16>().ok().map(|_| ()),
            None => port.is_empty().then_some(()),
        };
    }
    // A first segment without a dot or a port is not a host in a repository name.
    let with_dot = if host.contains(['.', ':']) {
        host.to_owned()
    } else {
        format!("{host}.x")
    };
    Repository::parse(&format!("{with_dot}/x")).ok().map(|_| ())
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layouts(directory) => write!(f, "oci:{}", directory.path.display()),
            Self::Registry(endpoint) => {
                let scheme = if endpoint.plain { "http" } else { "https" };
                write!(f, "{scheme}://{}/{}", endpoint.host, endpoint.path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        Repository::parse(text).unwrap()
    }

    fn rest(prefix: &str, name: &str) -> Option<String> {
        Prefix::parse(prefix).unwrap().rest_of(&repository(name))
    }

    #[test]
    fn whole_segments_match() {
        assert_eq!(
            rest("ghcr.io/acme", "ghcr.io/acme/app").as_deref(),
            Some("app")
        );
        assert_eq!(
            rest("ghcr.io", "ghcr.io/acme/app").as_deref(),
            Some("acme/app")
        );
        assert_eq!(
            rest("ghcr.io/acme/app", "ghcr.io/acme/app").as_deref(),
            Some("")
        );
        assert_eq!(rest("ghcr.io/ac", "ghcr.io/acme/app"), None);
        assert_eq!(rest("ghcr.io/acme/app/x", "ghcr.io/acme/app"), None);
    }

    #[test]
    fn docker_hub_is_found_by_its_short_names() {
        assert_eq!(rest("docker.io", "nginx").as_deref(), Some("library/nginx"));
        assert_eq!(
            rest("nginx", "docker.io/library/nginx").as_deref(),
            Some("")
        );
        assert_eq!(rest("acme", "acme/app").as_deref(), Some("app"));
        assert_eq!(rest("docker.io/library", "nginx").as_deref(), Some("nginx"));
    }

    #[test]
    fn longest_prefix_wins() {
        let base = Path::new("/base");
        let texts = ["ghcr.io=oci:a", "ghcr.io/acme=oci:b", "ghcr.io/acme=oci:c"];
        let mappings: Vec<_> = texts
            .iter()
            .map(|text| Mapping::parse(text, base).unwrap())
            .collect();
        let (found, rest) = Mapping::longest(&mappings, &repository("ghcr.io/acme/app")).unwrap();
        assert_eq!(
            (found.location.to_string().as_str(), rest.as_str()),
            ("oci:/base/b", "app")
        );
    }

    #[test]
    fn location_is_a_directory_or_a_plain_url() {
        let parse = |text| {
            SourceLocation::parse(text, Path::new("/base")).map(|location| location.to_string())
        };
        assert_eq!(
            parse("http://127.0.0.1:5000").as_deref(),
            Ok("http://127.0.0.1:5000/")
        );
        assert_eq!(
            parse("https://Mirror.example/a/b/").as_deref(),
            Ok("https://mirror.example/a/b")
        );
        assert_eq!(
            parse("http://[::1]:5000/x").as_deref(),
            Ok("http://[::1]:5000/x")
        );
        for bad in [
            "oci:",
            "ftp://x",
            "images",
            "http://",
            "https://u:p@h/",
            "http://h/?q",
            "http://h/../x",
            "http://h:port",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(matches!(
            Mapping::parse("ghcr.io", Path::new("")),
            Err(MappingError::NoEquals(_))
        ));
        assert!(matches!(
            Mapping::parse("A B=oci:x", Path::new("")),
            Err(MappingError::Prefix(..))
        ));
    }
}
