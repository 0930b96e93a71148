//! Arguments of `gates`, `wait`, `branch` and `freshness`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{ApplyOptions, IfUnconfigured, strict_bool, whole_number};
use crate::config::duration;

pub(super) const GATES: &str = "\
The required contexts are those of forge.gates in the configuration, or otherwise those that the base branch requires. The \
latest status or check run of each context counts. Exit 0: all passed; 3: one is pending; 1: one failed or is absent.

Example:
  repin gates --ref staging";

pub(super) const WAIT: &str = "\
Exit 0: merged; 1: closed, in conflict, or removed from the merge queue; 3: still open at the timeout, or not verified; 5: not the approved set. \
After a merge, repin starts the workflows in forge.dispatch if the forge does not start them itself. They are started once, \
even if several runs wait for the same pull request.

Example:
  repin wait --pr 7 --timeout 30m";

pub(super) const BRANCH: &str = "\
Without --apply, this is a dry run.

Examples:
  repin branch promote --from staging --to main --apply
  repin branch sync --from main --to staging --apply";

pub(super) const FRESHNESS: &str = "\
A reference is stale when newer commits have changed its paths for longer than its max_gap. Exit 1 if one is stale. With \
--apply, repin instead opens one issue, keeps it up to date, closes it when the reference is fresh again, and exits 0.

Examples:
  repin freshness
  repin freshness --apply --if-unconfigured skip    # in a scheduled job
  repin freshness --apply --simulate-stale true     # rehearse; the next run closes the issue";

#[derive(Debug, Args)]
pub(in crate::cli) struct Gates {
    /// Branch, tag or commit
    #[arg(long = "ref", value_name = "REF", allow_hyphen_values = true)]
    pub(in crate::cli) reference: String,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Wait {
    /// Number of the pull request
    #[arg(long, value_name = "N", value_parser = pull_request_number)]
    pub(in crate::cli) pr: u64,
    /// Give up after this time: 90s, 30m, 2h
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "30m")]
    pub(in crate::cli) timeout: Duration,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
    /// Only wait; change nothing on the forge; an omitted or empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, num_args = 0..=1, default_missing_value = "true")]
    pub(in crate::cli) dry_run: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Branch {
    /// Open a pull request from one branch to another and schedule its merge
    #[command(after_help = "Example:\n  repin branch promote --from staging --to main --apply")]
    Promote(BranchPromotion),
    /// Fast-forward or merge one branch into another and push the result
    #[command(after_help = "Example:\n  repin branch sync --from main --to staging --apply")]
    Sync(Branches),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BranchPromotion {
    #[command(flatten)]
    pub(in crate::cli) branches: Branches,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Branches {
    /// Source branch
    #[arg(long, value_name = "BRANCH", allow_hyphen_values = true)]
    pub(in crate::cli) from: String,
    /// Target branch
    #[arg(long, value_name = "BRANCH", allow_hyphen_values = true)]
    pub(in crate::cli) to: String,
    #[command(flatten)]
    pub(in crate::cli) options: ApplyOptions,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Freshness {
    /// Treat every reference as stale, for a rehearsal; an empty BOOL means false
    #[arg(long, value_name = "BOOL", value_parser = bool_with_default_false, allow_hyphen_values = true)]
    pub(in crate::cli) simulate_stale: Option<bool>,
    /// Skip instead of failing when a token or permission is missing
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
    #[command(flatten)]
    pub(in crate::cli) options: ApplyOptions,
}

/// Like [`strict_bool`], except that the empty string means `false`: a scheduled run has an empty input,
/// and must not simulate anything.
fn bool_with_default_false(text: &str) -> Result<bool, String> {
    match text {
        "" => Ok(false),
        text => strict_bool(text).map_err(|_| {
            "expected `true`, `false` or the empty string, which means `false`".to_owned()
        }),
    }
}

fn pull_request_number(text: &str) -> Result<u64, String> {
    match whole_number(text)? {
        0 => Err("pull requests are numbered from 1".to_owned()),
        number => Ok(number),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}
