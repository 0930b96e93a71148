//! Arguments of the commands around a pull request: gates, waiting, branches, freshness.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{IfUnconfigured, strict_bool};
use crate::config::duration;

pub(super) const GATES: &str = "\
The contexts are those of forge.gates in the configuration, else those that the base branch requires. Of each the latest \
report counts, from statuses and check runs. Exit 0: all passed; 3: one is not decided; 1: one failed or never reported.

Example:
  repin gates --ref staging";

pub(super) const WAIT: &str = "\
Exit 0: merged; 1: closed, in conflict, or removed from the merge queue; 3: still open when the time is over; 5: a foreign commit. After a merge the workflows in forge.dispatch are started \
where the forge does not start them by itself, once, however many runs wait for the same pull request.

Example:
  repin wait --pr 7 --timeout 30m";

pub(super) const BRANCH: &str = "\
Without --apply it is a dry run.

Examples:
  repin branch promote --from staging --to main --apply
  repin branch sync --from main --to staging --apply";

pub(super) const FRESHNESS: &str = "\
Stale is a reference that commits to its paths have gone past for longer than its max_gap: exit 1, or with --apply one \
issue that is opened, kept up to date and closed when it is fresh again, and exit 0.

Examples:
  repin freshness
  repin freshness --apply --if-unconfigured skip    # in a job by the clock
  repin freshness --apply --simulate-stale true     # a rehearsal: the next run closes the issue";

#[derive(Debug, Args)]
pub(in crate::cli) struct Gates {
    /// A branch, a tag or a commit
    #[arg(long = "ref", value_name = "REF", allow_hyphen_values = true)]
    pub(in crate::cli) reference: String,
    /// skip: a token that is missing is no error
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Wait {
    /// The pull request's number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) pr: u64,
    /// When to give up: 90s, 30m, 2h
    #[arg(long, value_name = "DURATION", value_parser = limit, default_value = "30m")]
    pub(in crate::cli) timeout: Duration,
    /// skip: a token that is missing is no error
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
    /// true only waits and changes nothing on the forge; an empty BOOL is true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    pub(in crate::cli) dry_run: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Branch {
    /// Open a pull request of one branch into another, and schedule its merge
    #[command(after_help = "Example:\n  repin branch promote --from staging --to main --apply")]
    Promote(Promotion),
    /// Bring one branch into another by fast-forward or merge, and push that
    #[command(after_help = "Example:\n  repin branch sync --from main --to staging --apply")]
    Sync(Between),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Promotion {
    #[command(flatten)]
    pub(in crate::cli) between: Between,
    /// skip: a token that is missing is no error
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Between {
    /// The branch whose commits go
    #[arg(long, value_name = "B", allow_hyphen_values = true)]
    pub(in crate::cli) from: String,
    /// The branch that they go to
    #[arg(long, value_name = "B", allow_hyphen_values = true)]
    pub(in crate::cli) to: String,
    #[command(flatten)]
    pub(in crate::cli) arm: Arm,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Freshness {
    /// true treats every reference as stale, for a rehearsal; an empty BOOL is false
    #[arg(long, value_name = "BOOL", value_parser = rehearsed, allow_hyphen_values = true)]
    pub(in crate::cli) simulate_stale: Option<bool>,
    /// skip: a token or permission that is missing is no error
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
    #[command(flatten)]
    pub(in crate::cli) arm: Arm,
}

/// Whether something may change.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arm {
    /// Do it
    #[arg(long)]
    pub(in crate::cli) apply: bool,
    /// true forbids every change, false is --apply; an empty BOOL is true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    pub(in crate::cli) dry_run: Option<bool>,
}

/// As [`strict_bool`], but what was left empty, as an input is in a run by the clock, pretends
/// nothing.
fn rehearsed(text: &str) -> Result<bool, String> {
    match text {
        "" => Ok(false),
        text => strict_bool(text).map_err(|_| {
            "it takes exactly `true`, `false` or the empty string, which means `false`".to_owned()
        }),
    }
}

fn limit(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}
