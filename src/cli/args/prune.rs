//! The arguments of `prune`.

use clap::{Args, Subcommand};

use super::{IfUnconfigured, strict_bool};

pub(super) const EXAMPLES: &str = "\
Without --apply it is a dry run, whatever started it. Candidates are versions whose every tag matches \
prune.tags and that are older than prune.older_than. What is pinned here, on the remote's base branch or \
on an open promote or rollback branch, what promote history ever pinned, and what any of it needs is \
kept. Any doubt about the whole: nothing is deleted.

Examples:
  repin prune                                  # what would be deleted, and what is protected why
  repin prune --image review --older-than 30d
  repin prune --apply --limit 200
  repin prune restore --image review --version 123456 --apply";

const RESTORE: &str = "\
Example:
  repin prune restore --image review --version 123456 --apply    # the log has the number";

// Options of `prune` itself exclude `restore`; clap's own rule would exclude the global ones, too.
#[derive(Debug, Args)]
pub(in crate::cli) struct Prune {
    #[command(subcommand)]
    pub(in crate::cli) action: Option<PruneAction>,
    /// Only this image of the configuration; again for more
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) image: Vec<String>,
    /// Delete what the plan says
    #[arg(long)]
    pub(in crate::cli) apply: bool,
    /// true forbids every change, false is --apply; an empty BOOL is true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    pub(in crate::cli) dry_run: Option<bool>,
    /// Candidates are older than this, such as 14d or 36h [default: the configuration's]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) older_than: Option<String>,
    /// More candidates of one image than N: nothing is deleted [default: the configuration's]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
    /// skip: a token that is missing is no error
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}

impl Prune {
    /// The first option of `prune` itself that was given.
    pub(in crate::cli) fn own_option(&self) -> Option<&'static str> {
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
    /// Put back a version that was deleted, where the registry can (GitHub: for 30 days)
    #[command(after_help = RESTORE)]
    Restore(Restore),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// The image of the configuration
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) image: String,
    /// The number of the version
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) version: u64,
    /// Restore it
    #[arg(long)]
    pub(in crate::cli) apply: bool,
    /// true forbids every change, false is --apply; an empty BOOL is true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    pub(in crate::cli) dry_run: Option<bool>,
    /// skip: a token that is missing is no error
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}
