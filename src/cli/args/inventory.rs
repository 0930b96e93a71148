//! Arguments of `repin inventory`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::oci::Platform;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Inventory {
    /// List the names of each kind in an image, as JSON
    #[command(after_help = "Example:\n  repin inventory enumerate review > enumeration.json")]
    Enumerate(ImageArgs),
    /// Compare a listing of an image with a contract
    #[command(
        after_help = "Example:\n  repin inventory match --enumeration enumeration.json --expected expected.yaml"
    )]
    Match {
        /// Output of `repin inventory enumerate`; - is standard input
        #[arg(long, value_name = "FILE")]
        enumeration: PathBuf,
        /// Contract to compare with
        #[arg(long, value_name = "FILE")]
        expected: PathBuf,
    },
    /// Check images against their contracts and the configured rules for their content
    #[command(
        after_help = "Example, before a promotion:\n  repin inventory check --revision 4f2a…\nExample, for the pinned images:\n  repin inventory check review fix"
    )]
    Check {
        /// Names of configured images [default: all]
        #[arg(value_name = "IMAGE", add = super::images())]
        images: Vec<String>,
        /// Check the images that this revision's tags resolve to instead of the pinned ones
        #[arg(
            short,
            long,
            value_name = "REV",
            allow_hyphen_values = true,
            add = super::revisions()
        )]
        revision: Option<String>,
    },
    /// Print a starting contract that lists everything in an image
    #[command(after_help = "Example:\n  repin inventory init review > images/review/expected.yaml")]
    Init(ImageArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImageArgs {
    /// Name of a configured image (its pinned digest is used), REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "IMAGE", add = super::images())]
    pub(in crate::cli) image: String,
    /// Read only this platform; without it, all platforms must have the same content
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(in crate::cli) platform: Option<Platform>,
}

fn platform(text: &str) -> Result<Platform, &'static str> {
    Platform::parse(text).ok_or("expected OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64")
}
