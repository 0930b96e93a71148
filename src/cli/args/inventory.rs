//! The arguments of `repin inventory`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Inventory {
    /// Print the names of each kind that an image contains, as JSON
    #[command(after_help = "Example:\n  repin inventory enumerate review > enumeration.json")]
    Enumerate(OfImage),
    /// Hold a listing of an image against a contract
    #[command(
        after_help = "Example:\n  repin inventory match --enumeration enumeration.json --expected expected.yaml"
    )]
    Match {
        /// What `repin inventory enumerate` printed; - is standard input
        #[arg(long, value_name = "FILE")]
        enumeration: PathBuf,
        /// The contract
        #[arg(long, value_name = "FILE")]
        expected: PathBuf,
    },
    /// Check what images contain: their contracts, and what every image has to be
    #[command(
        after_help = "Example, before a promote:\n  repin inventory check --revision 4f2a…\nExample, of what is pinned now:\n  repin inventory check review fix"
    )]
    Check {
        /// Names of configured images; without any, all of them
        #[arg(value_name = "IMAGE")]
        images: Vec<String>,
        /// Look at what this revision's tags name instead of what is pinned now
        #[arg(long, value_name = "REV", allow_hyphen_values = true)]
        revision: Option<String>,
    },
    /// Print a contract that asserts everything that an image contains, to start from
    #[command(after_help = "Example:\n  repin inventory init review > images/review/expected.yaml")]
    Init(OfImage),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OfImage {
    /// A configured image's name (then it is the digest that is pinned now), or REPOSITORY:TAG or
    /// REPOSITORY@DIGEST
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) image: String,
    /// Look at this platform alone; without it, all have to contain the same
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(in crate::cli) platform: Option<String>,
}

fn platform(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.split('/').collect();
    if (2..=3).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty()) {
        return Ok(text.to_owned());
    }
    Err("write OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64".to_owned())
}
