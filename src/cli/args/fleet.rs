//! Arguments of `repin fleet`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

pub(super) const EXAMPLES: &str = "\
Examples:
  repin fleet list --org acme --has repin.yaml > list.txt
  repin fleet merge shard-*.jsonl --list list.txt";

const LIST: &str = "\
Prints one owner/name a line, sorted. Archived repositories are left out, with a note. Requests go to the forge of the \
configuration (forge.kind and forge.url), with its token.

Examples:
  repin fleet list --org acme --has repin.yaml > list.txt
  repin fleet list --org acme --topic deployed
  repin fleet list --search 'org:acme language:go'";

const MERGE: &str = "\
Of several lines about one repository, the last counts, in the order of the files. Lines of another list, set or revision \
are refused. The repositories that failed or are missing are written to failed.txt beside the first FILE. The exit code is \
that of the repositories: 2 before 5 before 1 before 4 before 3; a missing repository is 3.

Example:
  repin fleet merge shard-*.jsonl --list list.txt";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Fleet {
    /// List the repositories of an organization, or those that a search finds
    #[command(after_help = LIST)]
    List(FleetList),
    /// Merge the reports of shards: totals, what failed and why, and failed.txt
    #[command(after_help = MERGE)]
    Merge(FleetMerge),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["org", "search"])))]
pub(in crate::cli) struct FleetList {
    /// All repositories of this organization or person
    #[arg(long, value_name = "ORG")]
    pub(in crate::cli) org: Option<String>,
    /// Only those with this topic
    #[arg(long, value_name = "TOPIC", conflicts_with = "search")]
    pub(in crate::cli) topic: Option<String>,
    /// Only those whose default branch has a file at this path
    #[arg(long, value_name = "PATH", conflicts_with = "search")]
    pub(in crate::cli) has: Option<String>,
    /// Repositories that the forge's search finds
    #[arg(long, value_name = "QUERY")]
    pub(in crate::cli) search: Option<String>,
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
