//! The version of the server, and the features that depend on it.

use reqwest::Method;
use serde::Deserialize;

use super::Gitea;
use crate::{
    base::error::Error,
    forge::http::{Http, Request},
};

/// The oldest versions that can compare branches, which every promotion needs.
pub(super) const OLDEST_GITEA: (u32, u32) = (1, 22);
pub(super) const OLDEST_FORGEJO: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Gitea(u32, u32),
    Forgejo(u32),
    /// A build without a number; treated as the oldest supported version.
    Unknown,
}

#[derive(Deserialize)]
struct VersionRow {
    version: String,
}

impl Version {
    /// `1.24.0`, or for Forgejo `8.0.1+gitea-1.22.0`.
    pub(super) fn parse(text: &str) -> Self {
        let own = text.split('+').next().unwrap_or_default();
        let forgejo = text
            .split_once('+')
            .is_some_and(|(_, rest)| rest.starts_with("gitea"));
        let mut numbers = own.split(['.', '-']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), _) if forgejo => Self::Forgejo(major),
            (Some(Ok(major)), Some(Ok(minor))) => Self::Gitea(major, minor),
            _ => Self::Unknown,
        }
    }

    pub(super) fn is_supported(self) -> bool {
        match self {
            Self::Gitea(major, minor) => (major, minor) >= OLDEST_GITEA,
            Self::Forgejo(major) => major >= OLDEST_FORGEJO,
            Self::Unknown => true,
        }
    }

    /// Whether the server starts workflows on request.
    pub(super) fn starts_workflows(self) -> bool {
        match self {
            Self::Gitea(major, minor) => (major, minor) >= (1, 24),
            Self::Forgejo(major) => major >= 8,
            Self::Unknown => false,
        }
    }

    /// Whether `POST contents` can replace a branch (`force_push`). Older servers ignore the field.
    pub(super) fn replaces_branches(self) -> bool {
        matches!(self, Self::Gitea(major, minor) if (major, minor) >= (1, 26))
    }

    /// Whether one request can return multiple files of a commit (`POST file-contents`).
    pub(super) fn lists_files(self) -> bool {
        matches!(self, Self::Gitea(major, minor) if (major, minor) >= (1, 24))
    }

    /// Whether one request may return multiple blobs (`GET git/blobs`).
    pub(super) fn lists_blobs(self) -> bool {
        matches!(self, Self::Forgejo(_))
    }

    /// Whether the server schedules merges by fast-forward; Gitea ignores the request to schedule one.
    pub(super) fn schedules_fast_forward(self) -> bool {
        matches!(self, Self::Forgejo(_))
    }
}

impl Gitea {
    pub(super) async fn version(&self) -> Result<Version, Error> {
        self.http.parsed_version().await
    }
}

impl Http {
    pub(super) async fn parsed_version(&self) -> Result<Version, Error> {
        let text = self.gitea_version().await?;
        Ok(Version::parse(&text))
    }

    /// The version of a Gitea or Forgejo, requested once for all of its repositories.
    pub(super) async fn gitea_version(&self) -> Result<String, Error> {
        let read = async || {
            let request = Request::new(Method::GET, ["version"], "Gitea: reading its version");
            let row: VersionRow = self.send(&request).await?.expect(&[200])?;
            Ok(row.version)
        };
        let version = self.server.version.get_or_try_init(read).await;
        version.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_and_compared() {
        for (text, version, supported) in [
            ("1.25.4", Version::Gitea(1, 25), true),
            ("1.22.0+dev-1-g12", Version::Gitea(1, 22), true),
            ("1.21.11", Version::Gitea(1, 21), false),
            ("2.0.0", Version::Gitea(2, 0), true),
            ("8.0.0+gitea-1.22.0", Version::Forgejo(8), true),
            ("7.0.3+gitea-1.21.11", Version::Forgejo(7), false),
            (
                "17.0.0-dev-609-a14eb80977+gitea-1.22.0",
                Version::Forgejo(17),
                true,
            ),
            ("", Version::Unknown, true),
            ("development", Version::Unknown, true),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
            assert_eq!(version.is_supported(), supported, "{text}");
        }
    }

    #[test]
    fn features_follow_from_versions() {
        let version = Version::parse;
        assert!(version("1.24.0").starts_workflows() && !version("1.23.8").starts_workflows());
        assert!(
            version("8.0.1+gitea-1.22.0").starts_workflows() && !version("").starts_workflows()
        );
        assert!(version("1.26.0").replaces_branches() && !version("1.25.5").replaces_branches());
        assert!(!version("12.0.0+gitea-1.22.0").replaces_branches());
        assert!(version("1.24.0").lists_files() && !version("1.23.9").lists_files());
        assert!(
            !version("17.0.0+gitea-1.22.0").lists_files()
                && version("8.0.0+gitea-1.22.0").lists_blobs()
        );
        assert!(!version("1.25.0").lists_blobs() && !version("").lists_files());
    }
}
