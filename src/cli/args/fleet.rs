//! Arguments of `repin fleet`.

use std::{num::NonZero, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Subcommand};

use super::{PullRequestState, revisions, whole_number};
use crate::{config::duration, http::Shard, oci::Digest};

/// The maximum number of shards. More would not be faster, because they share the limits of the token.
const MAX_SHARDS: u32 = 100_000;

pub(super) const EXAMPLES: &str = "\
Examples:
  repin fleet list --org acme --has repin.yaml > list.txt
  repin fleet promote --list list.txt --revision 4f2a…
  repin fleet merge shard-*.jsonl --list list.txt
  repin fleet close --revision 4f2a… --list list.txt";

const LIST: &str = "\
Prints one owner/name per line, sorted. Archived repositories are omitted, with a note. Requests are sent to the configured \
forge (forge.kind and forge.url), with its token.

Examples:
  repin fleet list --org acme --has repin.yaml > list.txt
  repin fleet list --org acme --topic deployed
  repin fleet list --search 'org:acme language:go'";

const MERGE: &str = "\
If several lines are about one repository, the last one counts, in the order of the files. Lines of another list, set or \
revision are refused. The repositories that failed or are missing are written to failed.txt next to the first FILE. The exit \
code is the worst one of the repositories, in the order 2, 5, 1, 4, 3; a missing repository counts as 3.

Example:
  repin fleet merge shard-*.jsonl --list list.txt";

const PROMOTE: &str = "\
Without --pr, this is a dry run. The set is verified once: by an earlier `repin set`, with --set and --set-sha256, or else by \
this process. Each repository's own repin.yaml determines the places and the number of its pins; the fleet's configuration \
determines everything else. Repositories are processed in the order of the list, so list canaries first. The exit code is \
the worst one of the repositories, in the order 2, 5, 1, 4, 3. Repositories that were not reached before the deadline are \
pending; run the same command again to continue.

Examples:
  repin fleet promote --list list.txt --revision 4f2a… --limit 5               # a dry run of five
  repin fleet promote --list list.txt --revision 4f2a… --limit 5 --pr draft    # five canaries
  repin fleet promote --list list.txt --revision 4f2a… --set set.json --set-sha256 9c1d… \\
    --shard auto --pr ready --deadline 5h --out shard.jsonl";

const ROLLBACK: &str = "\
Without --pr, this is a dry run. The recent commits of each repository must record the set as promoted, with the digests to \
which its tags still resolve.

Examples:
  repin fleet rollback --list list.txt --to 4f2a…
  repin fleet rollback --list list.txt --to 4f2a… --pr ready --out shard.jsonl";

const CLOSE: &str = "\
Without --apply, this is a dry run. A pull request whose branch contains foreign commits stays open and is reported (exit 5). \
Branches are not deleted, and a later `repin fleet promote` of the same set does not reopen closed pull requests. At most 8 \
pull requests are closed per minute; those that were not reached within REPIN_DEADLINE are pending (exit 3): run the same \
command again to continue.

Examples:
  repin fleet close --revision 4f2a… --list list.txt
  REPIN_DEADLINE=3h repin fleet close --revision 4f2a… --list list.txt --apply";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Fleet {
    /// List the repositories of an organization, or the results of a search
    #[command(after_help = LIST)]
    List(FleetList),
    /// Move the pins of every repository in a list to one verified revision, by pull requests
    #[command(after_help = PROMOTE)]
    Promote(FleetPromote),
    /// Move the pins of every repository in a list back to a previously promoted set
    #[command(after_help = ROLLBACK)]
    Rollback(FleetRollback),
    /// Merge the reports of shards: totals, failures by cause, and failed.txt
    #[command(after_help = MERGE)]
    Merge(FleetMerge),
    /// Close a set's open pull requests, unless they contain foreign commits
    #[command(after_help = CLOSE)]
    Close(FleetClose),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["org", "search"])))]
pub(in crate::cli) struct FleetList {
    /// All repositories of this organization or user
    #[arg(long, value_name = "ORG")]
    pub(in crate::cli) org: Option<String>,
    /// Only repositories with this topic
    #[arg(long, value_name = "TOPIC", conflicts_with = "search")]
    pub(in crate::cli) topic: Option<String>,
    /// Only repositories whose default branch contains a file at this path
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
    /// Verified set, written by `repin set`; no registry is queried
    #[arg(long, value_name = "FILE", requires = "set_sha256")]
    pub(in crate::cli) set: Option<PathBuf>,
    /// SHA-256 of that file, as `repin set` printed it
    #[arg(long, value_name = "HEX", requires = "set", value_parser = sha256)]
    pub(in crate::cli) set_sha256: Option<Digest>,
    #[command(flatten)]
    pub(in crate::cli) options: FleetOptions,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FleetRollback {
    /// Revision to roll back to
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true)]
    pub(in crate::cli) to: String,
    #[command(flatten)]
    pub(in crate::cli) options: FleetOptions,
}

/// Options of `fleet promote` and `fleet rollback`.
#[derive(Debug, Args)]
pub(in crate::cli) struct FleetOptions {
    /// List of the fleet: one `owner/name[ base]` per line
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) list: PathBuf,
    /// Only repositories that are also in this list, such as failed.txt
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) only: Option<PathBuf>,
    /// Only repositories of this owner
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) owner: Option<String>,
    /// Only the repositories of shard K of N, counted from 0; auto: from the environment of the job
    #[arg(long, value_name = "K/N|auto", value_parser = shard)]
    pub(in crate::cli) shard: Option<ShardChoice>,
    /// Open pull requests in this state
    #[arg(long, value_name = "STATE")]
    pub(in crate::cli) pr: Option<PullRequestState>,
    /// Append a line for each repository to FILE
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Open at most N new pull requests; the other repositories are pending
    #[arg(long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    pub(in crate::cli) limit: Option<NonZero<usize>>,
    /// Start no further repository after N failures
    #[arg(long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    pub(in crate::cli) max_failures: Option<NonZero<usize>>,
    /// New pull requests per minute, in all shards together
    #[arg(long, value_name = "N/m", value_parser = pace, default_value = "4/m")]
    pub(in crate::cli) pace: u32,
    /// Start no further repository after this time, and wait no longer for limits: 30m, 5h
    /// [default: `REPIN_DEADLINE`, or 15m]
    #[arg(long, value_name = "DURATION", value_parser = deadline)]
    pub(in crate::cli) deadline: Option<Duration>,
}

/// The value of `--shard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum ShardChoice {
    /// From the environment of the job.
    Auto,
    Given(Shard),
}

fn shard(text: &str) -> Result<ShardChoice, String> {
    if text == "auto" {
        return Ok(ShardChoice::Auto);
    }
    let (number, count) = text
        .split_once('/')
        .and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)))
        .ok_or("expected K/N, such as `0/4`, or `auto`")?;
    shard_of(number, count).map(ShardChoice::Given)
}

/// Shard `number` of `count`, counted from 0.
pub(in crate::cli) fn shard_of(number: u32, count: u32) -> Result<Shard, String> {
    if count > MAX_SHARDS {
        return Err(format!("there can be at most {MAX_SHARDS} shards"));
    }
    if number >= count {
        return Err(format!(
            "shard {number} of {count} does not exist: they are counted from 0"
        ));
    }
    Ok(Shard { number, count })
}

fn pace(text: &str) -> Result<u32, String> {
    match text.strip_suffix("/m").map(str::parse) {
        Some(Ok(number)) if number > 0 => Ok(number),
        _ => Err("expected a number of pull requests per minute, such as `4/m`".to_owned()),
    }
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
    /// List of the fleet: one `owner/name[ base]` per line
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
        let given = Shard {
            number: 2,
            count: 3,
        };
        assert_eq!(shard("2/3"), Ok(ShardChoice::Given(given)));
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
