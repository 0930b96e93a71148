//! `repin doctor`, as it is typed.

use clap::Args;

use super::IfUnconfigured;

pub(super) const EXAMPLES: &str = "\
Each line passes, fails or is skipped, with the evidence and what to do. What can't be read without writing is skipped \
with the reason. The exit is that of the worst line: what the same cause would end a run with.

Examples:
  repin doctor
  repin doctor --format json | jq -r '.checks[] | select(.status == \"fail\") | .hint'";

#[derive(Debug, Args)]
pub(in crate::cli) struct Doctor {
    /// skip: a token or secret that is missing is no failure
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}
