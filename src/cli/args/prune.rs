//! Arguments of `repin prune`.

use clap::{Args, Subcommand};

use super::{IfUnconfigured, images, strict_bool, whole_number};

pub(super) const EXAMPLES: &str = "\
Without --apply, prune is a dry run, also in a scheduled job. Candidates are versions that are older than prune.older_than \
and whose tags all match prune.tags. repin protects every version whose digest occurs in a tracked file of the work tree or \
of any branch or tag of the remote, every version that was ever promoted, and every version that these require. If the \
protected versions cannot be determined completely, nothing is deleted.

Examples:
  repin prune                                  # show candidates and protected versions
  repin prune --image review --older-than 30d
  repin prune --apply --limit 200
  repin prune restore --image review --version 123456 --apply";

const RESTORE: &str = "\
Example:
  repin prune restore --image review --version 123456 --apply   # ID from the log";

// The options of `prune` conflict with `restore`. The rule of clap would also reject global options.
#[derive(Debug, Args)]
pub(in crate::cli) struct Prune {
    #[command(subcommand)]
    pub(in crate::cli) action: Option<PruneAction>,
    /// Prune only this configured image; may be repeated
    #[arg(short, long, value_name = "NAME", add = images())]
    pub(in crate::cli) image: Vec<String>,
    /// Delete the candidates
    #[arg(long)]
    pub(in crate::cli) apply: bool,
    /// true forbids every change; false means --apply; an empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    pub(in crate::cli) dry_run: Option<bool>,
    /// Minimum age of a candidate, such as 14d or 36h [default: `prune.older_than`]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) older_than: Option<String>,
    /// Delete nothing if an image has more than N candidates [default: `prune.limit`]
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>)]
    pub(in crate::cli) limit: Option<usize>,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}

impl Prune {
    /// Returns the first given option of `prune`.
    pub(in crate::cli) fn first_option(&self) -> Option<&'static str> {
        [
            ("--image", !self.image.is_empty()),
            ("--apply", self.apply),
            ("--dry-run", self.dry_run.is_some()),
            ("--older-than", self.older_than.is_some()),
            ("--limit", self.limit.is_some()),
            ("--if-unconfigured", self.if_unconfigured.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PruneAction {
    /// Restore a deleted version, if the registry supports it (GitHub: for 30 days)
    #[command(after_help = RESTORE)]
    Restore(Restore),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// Configured image
    #[arg(short, long, value_name = "NAME", add = images())]
    pub(in crate::cli) image: String,
    /// ID of the version
    #[arg(long, value_name = "ID", value_parser = whole_number::<u64>)]
    pub(in crate::cli) version: u64,
    /// Restore the version
    #[arg(long)]
    pub(in crate::cli) apply: bool,
    /// true forbids every change; false means --apply; an empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    pub(in crate::cli) dry_run: Option<bool>,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}
