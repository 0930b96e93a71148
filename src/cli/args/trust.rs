//! Arguments of `repin trust`.

use clap::{Args, Subcommand};

pub(super) const EXAMPLES: &str = "\
Examples:
  repin trust show review
  repin trust show ghcr.io/acme/review:1.4
  repin trust show sha256:4f2a… --format json | jq '.images[].candidates[].signer'";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Trust {
    /// List every signature and attestation of an image, and whether the policy accepts it
    #[command(after_help = EXAMPLES)]
    Show(TrustShow),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TrustShow {
    /// Name of a configured image (its pinned digest is used), a digest in any configured
    /// repository, or any REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "IMAGE|DIGEST|REFERENCE", add = super::images())]
    pub(in crate::cli) subject: String,
}
