//! Arguments of `repin trust`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ApplyOptions;

pub(super) const EXAMPLES: &str = "\
Examples:
  repin trust show review
  repin trust show ghcr.io/acme/review:1.4
  repin trust show sha256:4f2a… --format json | jq '.images[].candidates[].signer'";

const UPDATE: &str = "\
Without --apply, this is a dry run: repin shows the authorities and logs that were added, removed, or changed in validity. \
A NAME is `sigstore` (Sigstore's public instance) or `github` (GitHub's instance for private repositories); without it, the \
roots of verify.trusted_roots are updated, or both if there is no `verify`. A configured file is replaced; in place of a \
built-in root, trusted_root.NAME.json is written next to the configuration. Only this command fetches trusted roots.

Examples:
  repin trust update
  repin trust update --apply
  repin trust update sigstore --mirror https://tuf.example/sigstore/";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Trust {
    /// List every signature and attestation of an image, and whether the policy accepts it
    #[command(after_help = EXAMPLES)]
    Show(TrustShow),
    /// Fetch the current trusted roots, show the difference, and write them
    #[command(after_help = UPDATE)]
    Update(TrustUpdate),
}

/// An instance of Sigstore: the public one, or GitHub's for private repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Instance {
    Sigstore,
    Github,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TrustUpdate {
    /// Instances to update: sigstore (public), github (GitHub's for private repositories) [default:
    /// those of the configuration]
    #[arg(value_name = "NAME")]
    pub(in crate::cli) names: Vec<Instance>,
    /// Read the TUF repository of the one NAME from this URL
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) mirror: Option<String>,
    /// Start from this TUF root document of the one NAME instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) root: Option<PathBuf>,
    /// Accept roots that remove entries or extend their validity
    #[arg(long)]
    pub(in crate::cli) allow_removed: bool,
    #[command(flatten)]
    pub(in crate::cli) options: ApplyOptions,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TrustShow {
    /// Name of a configured image (its pinned digest is used), a digest in any configured
    /// repository, or any REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "IMAGE|DIGEST|REFERENCE", add = super::images())]
    pub(in crate::cli) subject: String,
}
