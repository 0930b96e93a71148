//! Arguments of `repin doctor`.

use clap::Args;

use super::IfUnconfigured;

pub(super) const EXAMPLES: &str = "\
Each check passes, fails or is skipped, with evidence and a hint. Checks that would have to write are skipped with the \
reason. The exit code is that of the worst failure, the same as a run would have for that cause.

Examples:
  repin doctor
  repin doctor --format json | jq -r '.checks[] | select(.status == \"fail\") | .hint'";

#[derive(Debug, Args)]
pub(in crate::cli) struct Doctor {
    /// Skip instead of failing when a token or secret is missing
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) if_unconfigured: Option<IfUnconfigured>,
}
