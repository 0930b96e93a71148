//! The trusted roots that come with the program: snapshots of the release, and the first root documents
//! of the TUF repositories that have the current ones. The files are from an Apache-2.0 package.
//!
//! `scripts/roots` renews them from the published package that carries them.

use super::Root;

/// A trusted root that is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// Sigstore's public instance.
    Sigstore,
    /// GitHub's instance for private repositories.
    GitHub,
}

/// The package that the snapshots were taken from.
pub const BUILT_IN_SOURCE: &str = "sigstore-trust-root 0.15.1";
/// When it was published.
pub const BUILT_IN_DATE: &str = "2026-10-23";

impl BuiltIn {
    /// As it is configured.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sigstore => "sigstore",
            Self::GitHub => "github",
        }
    }

    /// The TUF repository that has the current root.
    pub fn repository(self) -> &'static str {
        match self {
            Self::Sigstore => "https://tuf-repo-cdn.sigstore.dev/",
            Self::GitHub => "https://tuf-repo.github.com/",
        }
    }

    /// The root document of that repository, with which the chain of its root documents begins.
    pub fn first_root_document(self) -> &'static str {
        match self {
            Self::Sigstore => include_str!("roots/sigstore.tuf.json"),
            Self::GitHub => include_str!("roots/github.tuf.json"),
        }
    }

    /// The snapshot, as it was published.
    pub fn document(self) -> &'static str {
        match self {
            Self::Sigstore => include_str!("roots/sigstore.json"),
            Self::GitHub => include_str!("roots/github.json"),
        }
    }
}

impl Root {
    /// A root that comes with the program. An error is a snapshot that this release cannot read.
    pub fn built_in(which: BuiltIn) -> Result<Self, String> {
        let mut roots = Self::parse(which.as_str(), which.document().as_bytes())?;
        roots.pop().ok_or_else(|| "it is empty".to_owned())
    }
}
