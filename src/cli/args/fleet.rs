//! Arguments of `repin fleet`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) const EXAMPLES: &str = "\
Example:
  repin fleet merge shard-*.jsonl --list list.txt";

const MERGE: &str = "\
Of several lines about one repository, the last counts, in the order of the files. Lines of another list, set or revision \
are refused. The repositories that failed or are missing are written to failed.txt beside the first FILE. The exit code is \
that of the repositories: 2 before 5 before 1 before 4 before 3; a missing repository is 3.

Example:
  repin fleet merge shard-*.jsonl --list list.txt";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Fleet {
    /// Merge the reports of shards: totals, what failed and why, and failed.txt
    #[command(after_help = MERGE)]
    Merge(FleetMerge),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FleetMerge {
    /// Reports of shards
    #[arg(required = true, value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// List of the fleet; a repository without a line is then reported as missing
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) list: Option<PathBuf>,
}
