//! References to one image in arguments: `REPOSITORY[:TAG][@DIGEST]`.

use super::{Digest, DigestError, Repository, RepositoryError, Tag, TagError};

/// A repository with a tag or a digest. There is no default tag such as `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub repository: Repository,
    /// The tag, if the reference has one.
    pub tag: Option<Tag>,
    /// The digest, which takes precedence over the tag.
    pub digest: Option<Digest>,
}

/// The error for a malformed reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// In the part before tag and digest.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// In the part after `:`.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// In the part after `@`.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The reference has neither tag nor digest.
    #[error("`{0}` names neither a tag nor a digest")]
    Neither(String),
}

impl Reference {
    /// Parses `REPOSITORY:TAG`, `REPOSITORY@DIGEST` or `REPOSITORY:TAG@DIGEST`. A colon before a
    /// slash belongs to a host with a port.
    pub(crate) fn parse(text: &str) -> Result<Self, ReferenceError> {
        let reference = Self::parse_name(text)?;
        if reference.tag.is_none() && reference.digest.is_none() {
            return Err(ReferenceError::Neither(text.to_owned()));
        }
        Ok(reference)
    }

    /// Parses a reference with an optional tag and an optional digest.
    fn parse_name(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(Tag::parse(tag)?)),
            _ => (name, None),
        };
        Ok(Self {
            repository: Repository::parse(name)?,
            tag,
            digest,
        })
    }
}

/// The repository in a signed name, which may have a tag and a digest. Build systems sign the
/// owner's name with its capitals, as in `ghcr.io/Acme/app`, but repository paths are lowercase.
pub(crate) fn signed_repository(name: &str) -> Option<Repository> {
    let reference = Reference::parse_name(name)
        .or_else(|_| Reference::parse_name(&name.to_ascii_lowercase()))
        .ok()?;
    Some(reference.repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_digests_are_distinguished_from_ports() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, tag, pinned) in [
            ("nginx:1.27".to_owned(), Some("1.27"), false),
            ("localhost:5000/app:v1".to_owned(), Some("v1"), false),
            (format!("localhost:5000/app@{digest}"), None, true),
            (format!("ghcr.io/acme/app:v1@{digest}"), Some("v1"), true),
        ] {
            let reference = Reference::parse(&text).unwrap();
            assert_eq!(reference.tag.as_ref().map(Tag::as_str), tag, "{text}");
            assert_eq!(reference.digest.is_some(), pinned, "{text}");
        }
    }

    #[test]
    fn signed_names_have_no_tag_or_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let canonical = |name: &str| signed_repository(name).map(|found| found.canonical());
        for (name, expected) in [
            ("ghcr.io/acme/app", "ghcr.io/acme/app"),
            ("ghcr.io/acme/app:v1", "ghcr.io/acme/app"),
            (&format!("ghcr.io/acme/app@{digest}"), "ghcr.io/acme/app"),
            (
                &format!("localhost:5000/app:v1@{digest}"),
                "localhost:5000/app",
            ),
            ("ghcr.io/Acme/App", "ghcr.io/acme/app"),
            ("GHCR.IO/acme/app", "ghcr.io/acme/app"),
            ("index.docker.io/acme/app", "docker.io/acme/app"),
            ("acme/app", "docker.io/acme/app"),
            ("nginx", "docker.io/library/nginx"),
        ] {
            assert_eq!(canonical(name).as_deref(), Some(expected), "{name}");
        }
        for name in [
            "",
            "_",
            "pkg:docker/acme/app@v1",
            "https://ghcr.io/acme/app",
            "app@sha256:1",
            "a b",
            "../app",
        ] {
            assert_eq!(canonical(name), None, "{name}");
        }
    }

    #[test]
    fn incomplete_reference_is_refused() {
        let upper = format!("app@sha256:{}", "A".repeat(64));
        for text in [
            "nginx",
            "localhost:5000/app",
            "app:",
            "app@",
            "app@sha256:12",
            ":v1",
            "app:v1@",
            "App:v1",
            &upper,
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
