//! Arguments of `repin fleet`.

use std::{num::NonZero, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Subcommand};

use super::{PullRequestState, revisions, whole_number};
use crate::{config::duration, http::Shard, oci::Digest};

/// The most shards: more make nothing faster, since limits are the token's.
const SHARDS_MAX: u32 = 100_000;

pub(super) const EXAMPLES: &str = "\
Examples:
  repin fleet list --org acme --has repin.yaml > list.txt
  repin fleet promote --list list.txt --revision 4f2a…
  repin fleet merge shard-*.jsonl --list list.txt
  repin fleet close --revision 4f2a… --list list.txt";

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

const PROMOTE: &str = "\
Without --pr, this is a dry run. The set is verified once: by `repin set` before, with --set and --set-sha256, or else by this \
process. Each repository's own repin.yaml says where its pins are and how many; everything else is the fleet's. The list's \
order is kept, so canaries come first. The exit code is that of the repositories: 2 before 5 before 1 before 4 before 3; what \
was not begun when the time was over is pending, and the same command goes on from there.

Examples:
  repin fleet promote --list list.txt --revision 4f2a… --limit 5               # a dry run of five
  repin fleet promote --list list.txt --revision 4f2a… --limit 5 --pr draft    # five canaries
  repin fleet promote --list list.txt --revision 4f2a… --set set.json --set-sha256 9c1d… \\
    --shard auto --pr ready --deadline 5h --out shard.jsonl";

const ROLLBACK: &str = "\
Without --pr, this is a dry run. The recent commits of each repository must record the set as promoted, with the digests that \
its tags still resolve to.

Examples:
  repin fleet rollback --list list.txt --to 4f2a…
  repin fleet rollback --list list.txt --to 4f2a… --pr ready --out shard.jsonl";

const CLOSE: &str = "\
Without --apply, only shows which pull requests would be closed. A pull request to whose branch somebody else committed is left \
open and named (exit 5). Branches stay, and a later `repin fleet promote` of the same set leaves closed pull requests closed. At \
most 8 are closed in a minute; what was not begun when the time of REPIN_DEADLINE was over is pending (exit 3), and the same \
command goes on from there.

Examples:
  repin fleet close --revision 4f2a… --list list.txt
  REPIN_DEADLINE=3h repin fleet close --revision 4f2a… --list list.txt --apply";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Fleet {
    /// List the repositories of an organization, or those that a search finds
    #[command(after_help = LIST)]
    List(FleetList),
    /// Move the pins of every repository of a list to one verified revision, by pull requests
    #[command(after_help = PROMOTE)]
    Promote(FleetPromote),
    /// Move the pins of every repository of a list back to a set that it had before
    #[command(after_help = ROLLBACK)]
    Rollback(FleetRollback),
    /// Merge the reports of shards: totals, what failed and why, and failed.txt
    #[command(after_help = MERGE)]
    Merge(FleetMerge),
    /// Close the open pull requests of a set that nobody else committed to
    #[command(after_help = CLOSE)]
    Close(FleetClose),
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
pub(in crate::cli) struct FleetPromote {
    /// Commit that the images were built from
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
    pub(in crate::cli) revision: String,
    /// Set that `repin set` wrote; then no registry is asked
    #[arg(long, value_name = "FILE", requires = "set_sha256")]
    pub(in crate::cli) set: Option<PathBuf>,
    /// SHA-256 of that file, as `repin set` printed it
    #[arg(long, value_name = "HEX", requires = "set", value_parser = sha256)]
    pub(in crate::cli) set_sha256: Option<Digest>,
    #[command(flatten)]
    pub(in crate::cli) part: FleetPart,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FleetRollback {
    /// Revision to roll back to
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true)]
    pub(in crate::cli) to: String,
    #[command(flatten)]
    pub(in crate::cli) part: FleetPart,
}

/// Which repositories a process works on, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct FleetPart {
    /// List of the fleet: one `owner/name[ base]` a line
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) list: PathBuf,
    /// Only those that are also in this list, such as failed.txt
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) only: Option<PathBuf>,
    /// Only those of this owner
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) owner: Option<String>,
    /// Only the repositories of shard K of N, counted from 0; auto: as the job's environment says
    #[arg(long, value_name = "K/N|auto", value_parser = shard)]
    pub(in crate::cli) shard: Option<ShardChoice>,
    /// Open pull requests in this state
    #[arg(long, value_name = "STATE")]
    pub(in crate::cli) pr: Option<PullRequestState>,
    /// Append a line for each repository to FILE
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Open at most N new pull requests; the rest is left pending
    #[arg(long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    pub(in crate::cli) limit: Option<NonZero<usize>>,
    /// Begin no further repository after N failures
    #[arg(long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    pub(in crate::cli) max_failures: Option<NonZero<usize>>,
    /// New pull requests a minute, over all shards
    #[arg(long, value_name = "N/m", value_parser = pace, default_value = "4/m")]
    pub(in crate::cli) pace: u32,
    /// Begin no further repository after this time, and wait no longer for limits: 30m, 5h
    /// [default: 15m, or as `REPIN_DEADLINE` says]
    #[arg(long, value_name = "DURATION", value_parser = deadline)]
    pub(in crate::cli) deadline: Option<Duration>,
}

/// How a process learns its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum ShardChoice {
    /// From the variables of the engine that runs it.
    Auto,
    /// As typed.
    Typed(Shard),
}

fn shard(text: &str) -> Result<ShardChoice, String> {
    if text == "auto" {
        return Ok(ShardChoice::Auto);
    }
    let form = || "expected K/N, such as `0/4`, or `auto`".to_owned();
    let (number, of) = text.split_once('/').ok_or_else(form)?;
    let number: u32 = number.parse().map_err(|_| form())?;
    let of: u32 = of.parse().map_err(|_| form())?;
    shard_of(number, of).map(ShardChoice::Typed)
}

/// Shard `number` of `count`, counted from 0.
pub(in crate::cli) fn shard_of(number: u32, count: u32) -> Result<Shard, String> {
    if count > SHARDS_MAX {
        return Err(format!("there can be at most {SHARDS_MAX} shards"));
    }
    if number >= count {
        return Err(format!(
            "shard {number} of {count} does not exist: they are counted from 0"
        ));
    }
    Ok(Shard { number, count })
}

fn pace(text: &str) -> Result<u32, String> {
    let number = text
        .strip_suffix("/m")
        .and_then(|number| number.parse().ok());
    let number = number.filter(|number| *number > 0);
    number.ok_or_else(|| "expected a number of pull requests a minute, such as `4/m`".to_owned())
}

fn deadline(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

fn sha256(text: &str) -> Result<Digest, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    Digest::from_hex(digits).map_err(|error| error.to_string())
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

#[derive(Debug, Args)]
pub(in crate::cli) struct FleetClose {
    /// Revision of the set
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
    pub(in crate::cli) revision: String,
    /// List of the fleet: one `owner/name[ base]` a line
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) list: PathBuf,
    /// Close them, each with a comment
    #[arg(long)]
    pub(in crate::cli) apply: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_and_paces_are_strict() {
        assert_eq!(shard("auto"), Ok(ShardChoice::Auto));
        let typed = Shard {
            number: 2,
            count: 3,
        };
        assert_eq!(shard("2/3"), Ok(ShardChoice::Typed(typed)));
        for wrong in ["3/3", "0/0", "1", "a/3", "-1/3", "1/100001", "1/3/4", ""] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
        assert_eq!(pace("12/m"), Ok(12));
        for wrong in ["0/m", "4", "4/h", "/m", "-4/m"] {
            assert!(pace(wrong).is_err(), "{wrong}");
        }
        assert!(sha256(&"a".repeat(64)).is_ok() && sha256("abc").is_err());
    }
}
