//! The built-in trusted roots: snapshots at the time of the release, and the first root documents of
//! the TUF repositories with the current roots. The files are from an Apache-2.0 package.
//!
//! `scripts/roots` updates them from the published package.

use super::Root;
use crate::base::text::words;

words! {
    /// A built-in trusted root.
    pub(crate) enum BuiltIn {
        /// Sigstore's public instance.
        Sigstore = "sigstore",
        /// GitHub's instance for private repositories.
        GitHub = "github",
    }
}

/// The package that contains the snapshots.
pub(crate) const BUILT_IN_SOURCE: &str = "sigstore-trust-root 0.15.1";
/// The publication date of the package.
pub(crate) const BUILT_IN_DATE: &str = "2026-10-23";

impl BuiltIn {
    /// The TUF repository that has the current root.
    pub(crate) fn repository(self) -> &'static str {
        match self {
            Self::Sigstore => "https://tuf-repo-cdn.sigstore.dev/",
            Self::GitHub => "https://tuf-repo.github.com/",
        }
    }

    /// The first in the chain of root documents of the TUF repository.
    pub(crate) fn first_root_document(self) -> &'static str {
        match self {
            Self::Sigstore => include_str!("roots/sigstore.tuf.json"),
            Self::GitHub => include_str!("roots/github.tuf.json"),
        }
    }

    /// The snapshot.
    pub(crate) fn document(self) -> &'static str {
        match self {
            Self::Sigstore => include_str!("roots/sigstore.json"),
            Self::GitHub => include_str!("roots/github.json"),
        }
    }
}

impl Root {
    /// Parses a built-in root.
    pub(crate) fn built_in(root: BuiltIn) -> Self {
        let roots = Self::parse(root.as_str(), root.document().as_bytes());
        let root = roots.ok().and_then(|mut roots| roots.pop());
        root.expect("the tests parse both snapshots")
    }
}
