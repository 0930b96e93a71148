//! Arguments of `rehearse`.

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::{complete, whole_number};

pub(super) const EXAMPLES: &str = "\
Each set is taken through every check of a rollback, at the head of the base branch in the clone. Nothing is changed. Exit 0: \
the sets are ready; 1: one fails; 3 or 4: none is ready, and a registry was unavailable or refused access. With --apply, repin \
keeps the issue of `rehearse.issue` open while a set fails.

Examples:
  repin rehearse
  repin rehearse --last 0               # the current set
  repin rehearse --to 4f2a…             # one set, also an older one
  repin rehearse --apply                # in a scheduled job";

#[derive(Debug, Args)]
pub(in crate::cli) struct Rehearse {
    /// Rehearse the last N sets that are available for rollback; 0 is the current set [default:
    /// `rehearse.last`, or 3]
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>, conflicts_with = "to")]
    pub(in crate::cli) last: Option<usize>,
    /// Rehearse the set of this revision, or of its first characters; may be repeated
    #[arg(
        long,
        value_name = "REV",
        allow_hyphen_values = true,
        add = ArgValueCompleter::new(complete::rollbacks)
    )]
    pub(in crate::cli) to: Vec<String>,
    /// Open, update or close the issue
    #[arg(long)]
    pub(in crate::cli) apply: bool,
}
