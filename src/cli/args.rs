//! Command-line arguments exactly as typed. `context` derives the values for a run from them.

mod change;
mod diff;
mod fleet;
mod forge;
mod inventory;
mod prune;
mod rehearse;
mod trust;

use std::{
    ffi::OsString,
    num::{IntErrorKind, NonZero, ParseIntError},
    path::PathBuf,
};

use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use clap_complete::ArgValueCompleter;

pub(super) use change::{
    ApplyOptions, ChangeOptions, DiffOptions, IfUnconfigured, PullRequestState,
};
pub(super) use diff::Diff;
pub(super) use fleet::{
    Fleet, FleetClose, FleetList, FleetMerge, FleetOptions, FleetPromote, FleetRollback,
    ShardChoice, shard_of,
};
pub(super) use forge::{Branch, BranchPromotion, Branches, Freshness, Gates, Wait};
pub(super) use inventory::{ImageArgs, Inventory};
pub(super) use prune::{Prune, PruneAction, Restore};
pub(super) use rehearse::Rehearse;
pub(super) use trust::{Instance, Trust, TrustShow, TrustUpdate};

use super::{complete, help};

/// Move a set of container images, pinned by digest, from one verified build to another.
#[derive(Debug, Parser)]
#[command(
    name = "repin",
    version,
    long_version = BUILD,
    propagate_version = false,
    max_term_width = 100,
    subcommand_required = true
)]
#[command(arg_required_else_help = false, after_help = EPILOGUE)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// Parses the arguments; the first one is the name of the program.
    pub(super) fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let sources = sources(arguments);
        let mut command = help::arranged(Self::command());
        let matches = command
            .try_get_matches_from_mut(arguments)
            .map_err(|error| with_revision_option(error, &command, arguments))?;
        let mut cli =
            Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        // clap drops the first values of a global option that is given before and after a subcommand.
        if sources.len() > cli.global.source.len() {
            cli.global.source = sources;
        }
        Ok(cli)
    }
}

/// Adds the option that takes a revision to the error of a command with an unexpected word.
fn with_revision_option(
    mut error: clap::Error,
    command: &clap::Command,
    arguments: &[OsString],
) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let mut commands = arguments
        .iter()
        .filter_map(|argument| command.find_subcommand(argument));
    let option = commands.next().and_then(|command| {
        let mut options = command.get_opts();
        options.find_map(|option| {
            let is_revision = option.get_value_names()?.first()? == "REV";
            option.get_long().filter(|_| is_revision)
        })
    });
    if let Some(option) = option.filter(|_| !word.starts_with('-')) {
        let tip = format!("a revision is written as '--{option} {word}'");
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

/// Collects the values of every `--source`.
fn sources(arguments: &[OsString]) -> Vec<String> {
    let texts: Vec<_> = arguments
        .iter()
        .map(|text| text.to_string_lossy())
        .collect();
    let mut sources = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        if text == "--source" {
            sources.extend(texts.get(index + 1).map(ToString::to_string));
        } else if let Some(value) = text.strip_prefix("--source=") {
            sources.push(value.to_owned());
        }
    }
    sources
}

/// The version, and the commit and the target of the build.
const BUILD: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("REPIN_BUILD_COMMIT"),
    ", ",
    env!("REPIN_BUILD_TARGET"),
    ")"
);

const EPILOGUE: &str = "\
Examples:
  repin check                                 # count the pins, and compare their digests
  repin promote -r 4f2a…                      # run every check and show what would change
  repin promote -r 4f2a… --apply --commit     # change every pin, or none, and commit
  repin rollback                              # list the sets available for rollback

Documentation: docs/ in repin's source repository; `repin man | man -l -`; `repin explain CODE`

Exit codes:
  0  success, or nothing to do
  1  a check failed; nothing was changed
  2  invalid usage, configuration or input
  3  a registry, git or the disk is unavailable, or returned bytes that do not verify
  4  denied: credentials or permissions are missing or insufficient
  5  conflict with another run, or with an interrupted one that needs a decision
  130, 143  interrupted by Ctrl-C or SIGTERM; the message states what was changed";

/// Options that every command accepts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Configuration file; its directory is the root [default: repin.yaml in the current directory
    /// or the nearest one above]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        value_name = "PREFIX=WHERE",
        help = "Read repositories under PREFIX from oci:DIR or http[s]://HOST[:PORT][/PATH]"
    )]
    pub(super) source: Vec<String>,
    /// Output format: human, json, github (annotations, outputs and job summary of GitHub Actions),
    /// or sarif (check and scan)
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "human",
        hide_possible_values = true
    )]
    pub(super) format: super::format::Format,
    /// Use color: always, never, or auto (on a terminal, unless `NO_COLOR` is set)
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(super) color: super::format::When,
    /// Print only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Print passed checks too; -vv also logs every request to standard error
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

/// The commands, in the order and the groups of the help.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the deployed set, its date and author, open pull requests, and problems
    #[command(after_help = STATUS)]
    Status {
        /// Show every set below the current directory as one table: one set for each configuration file
        /// that git tracks
        #[arg(long)]
        all: bool,
    },
    /// Check that every image has the declared number of pins and one digest
    #[command(after_help = CHECK)]
    Check {
        /// Also verify the pinned set against the registry and git history: digests, labels, tags,
        /// provenance
        #[arg(long)]
        remote: bool,
        /// Check every set below the current directory: one set for each configuration file that git
        /// tracks
        #[arg(long)]
        all: bool,
    },
    /// List every pin: file, line, column, image, digest
    #[command(after_help = "Example:\n  repin scan --format json | jq '.pins[].file'")]
    Scan,
    /// List the sets in git history, newest first
    #[command(after_help = HISTORY)]
    History(History),
    /// Compare two sets: commits and images
    #[command(after_help = diff::EXAMPLES)]
    Diff(Diff),
    /// List the builds in the registry, newest first
    #[command(after_help = BUILDS)]
    Builds(Builds),
    /// Move every pin of the set to one verified revision
    #[command(after_help = PROMOTE)]
    Promote(Promote),
    /// Move every pin back to a previously promoted set
    #[command(after_help = ROLLBACK)]
    Rollback(Rollback),
    /// Resolve each image's tag: digest, platforms, revision label
    #[command(
        after_help = "Example:\n  repin resolve --revision 4f2a… --format json | jq -r '.images[].digest'"
    )]
    Resolve {
        /// Commit that the images were built from
        #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
        revision: String,
    },
    /// Show the signatures of images, and update the trusted roots
    #[command(subcommand, after_help = trust::EXAMPLES)]
    Trust(Trust),
    /// List the contents of images and check them against contracts
    #[command(subcommand, after_help = INVENTORY)]
    Inventory(Inventory),
    /// Finish or undo an interrupted --apply
    #[command(
        after_help = "Example:\n  repin recover --dry-run true    # report without changing anything"
    )]
    Recover(Recover),
    /// Explain a code of a check or an error
    #[command(
        after_help = "Examples:\n  repin explain              # list every code\n  repin explain pin_count"
    )]
    Explain {
        /// The code that a message shows in brackets; without it, all codes are listed
        #[arg(value_name = "CODE", add = ArgValueCompleter::new(complete::codes))]
        code: Option<String>,
    },
    /// Run every check of a rollback to recorded sets, without a change
    #[command(after_help = rehearse::EXAMPLES)]
    Rehearse(Rehearse),
    /// Report how far pinned references to other repositories lag behind
    #[command(after_help = forge::FRESHNESS)]
    Freshness(Freshness),
    /// Show the required statuses of a commit
    #[command(after_help = forge::GATES)]
    Gates(Gates),
    /// Wait for a pull request to be merged, then start the configured workflows
    #[command(after_help = forge::WAIT)]
    Wait(Wait),
    /// Move commits from one long-lived branch to another
    #[command(subcommand, after_help = forge::BRANCH)]
    Branch(Branch),
    /// Delete old image versions that were never pinned
    #[command(after_help = prune::EXAMPLES)]
    Prune(Prune),
    /// Verify the images of a revision once, and write the evidence to a file
    #[command(after_help = SET)]
    Set(Set),
    /// Work on many repositories with one set
    #[command(subcommand, after_help = fleet::EXAMPLES)]
    Fleet(Fleet),
    /// Create a commented repin.yaml from the pins in the repository
    #[command(after_help = INIT)]
    Init(Init),
    /// Check that everything a run needs is available; changes nothing
    #[command(after_help = DOCTOR)]
    Doctor(Doctor),
    /// Print shell completions
    #[command(
        after_help = "Example:\n  repin completions bash > ~/.local/share/bash-completion/completions/repin"
    )]
    Completions {
        /// Shell to print completions for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  repin man | man -l -")]
    Man,
    /// Print the JSON Schema of repin.yaml
    #[command(after_help = "Example:\n  repin schema > repin.schema.json")]
    Schema,
}

const INIT: &str = "\
The pinned images of one owner become the set: the owner of the git remote, or otherwise the most likely owner. If the \
choice is uncertain, repin prompts on a terminal; without a terminal, it marks the choice in the file. If the digests of an \
image differ between directories, each of these directories gets its own configuration, unless --config is given. An \
existing file is overwritten only with --force; --update changes the counts in it, adds files with pins that no glob matches, \
and shows the difference.

Examples:
  repin init
  repin init --each 'envs/*'   # one configuration for each environment
  repin init --update          # after a pin was added or removed on purpose
  repin init --dry-run true    # print the file instead of writing it";

const HISTORY: &str = "\
The page of --html is one self-contained file, which sends no requests: revisions, digests, authors, dates, rollbacks, holds \
and diffs, as recorded in git.

Examples:
  repin history --limit 5
  repin history --all
  repin history --html history.html
  repin history --all --html sets.html";

const BUILDS: &str = "\
Builds are the revisions of the tags that have the form of `revision.tag`. A build that is listed as available was not \
verified: promote runs every check. Open pull requests are read from the forge if a forge and a token are configured. At \
most 500 revisions are read; the last line counts the others.

Examples:
  repin builds --limit 10
  repin builds --format json | jq -r '.builds[] | select(.state == \"available\") | .revision'
  repin promote --revision newest          # the first build that is available or proposed";

const STATUS: &str = "\
The current set is read from git history. Open pull requests are read from the forge if a forge and a token are configured. \
Information that was not read is listed. Problems do not change the exit code, 0; it is not 0 if reading failed.

Examples:
  repin status
  repin status --all
  repin status --format json | jq -r .set.revision";

const CHECK: &str = "\
With --all, the last lines are a table of the sets, and the run fails if one check of one set fails. The configuration of a \
fleet is listed and skipped.

Examples:
  repin check --remote --format github    # as a pre-merge job
  repin check --all                       # every set of a repository";

const INVENTORY: &str = "\
Layers are streamed from a registry or an image layout; no container engine is needed.

Example:
  repin inventory check --revision 4f2a…";

const SET: &str = "\
Runs the checks of a promotion that concern only images: tags, labels, signatures, contracts, smoke command. Pins and history \
belong to a repository and are not checked. Each run writes the same bytes to FILE; their SHA-256, which is printed, identifies \
the whole set.

Example:
  repin set --revision 4f2a… --out set.json";

const DOCTOR: &str = "\
Each check passes, fails, warns or is skipped, with evidence and a hint. A check that would have to write is skipped, with the \
reason. The exit code is that of the worst failure: the code with which the same cause ends a run.

Examples:
  repin doctor
  repin doctor --format json | jq -r '.checks[] | select(.status == \"fail\") | .hint'";

const PROMOTE: &str = "\
Without --apply or --pr, this is a dry run: repin prints the table, the diff and the reports, and changes no file of the \
repository.

Examples:
  repin promote --revision 4f2a…                  # show what would change and run every check
  repin promote --revision 4f2a… --apply          # change every pin, or none
  repin promote --revision 4f2a… --pr ready       # one commit, one branch, one pull request
  repin promote --revision newest --pr ready      # the newest build of the registry
  repin promote --revision 4f2a… --digest review=sha256:9c1d… --format github --body-file body.md";

const ROLLBACK: &str = "\
Git history must record the set as promoted, and every tag must still resolve to the digest that was pinned then.

Examples:
  repin rollback                                  # list the sets available for rollback
  repin rollback --remote                         # also test them in the registry
  repin rollback --to 4f2a…                       # show what would change and run every check
  repin rollback --to 4f2a… --apply               # change every pin, or none
  repin rollback --to 4f2a… --pr draft            # one commit, one branch, one pull request";

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Print the file instead of writing it; an omitted or empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, num_args = 0..=1, default_missing_value = "true")]
    pub(super) dry_run: Option<bool>,
    /// Write one configuration in each directory that matches GLOB
    #[arg(long, value_name = "GLOB", num_args = 1.., conflicts_with_all = ["force", "update"])]
    pub(super) each: Vec<String>,
    /// Overwrite an existing file
    #[arg(long, conflicts_with = "update")]
    pub(super) force: bool,
    /// Count the pins of an existing file again, and add files with pins that no glob matches
    #[arg(long)]
    pub(super) update: bool,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Skip instead of failing when a token or secret is missing
    #[arg(long, value_name = "WHAT")]
    pub(super) if_unconfigured: Option<IfUnconfigured>,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Commit that the images were built from
    #[arg(short, long, value_name = "REV", allow_hyphen_values = true, add = revisions())]
    pub(super) revision: String,
    /// Write the verified set to FILE
    #[arg(short, long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Promote {
    /// Commit that the images were built from, or `newest`: the newest build in the registry, or with
    /// `promote.after` the newest set that passed every stage
    #[arg(
        short,
        long,
        value_name = "REV",
        allow_hyphen_values = true,
        add = ArgValueCompleter::new(complete::builds)
    )]
    pub(super) revision: String,
    /// Digest that the image's tag must resolve to, as reported by its build
    #[arg(long, value_name = "NAME=DIGEST")]
    pub(super) digest: Vec<String>,
    /// Promote even if the revision is older than the pinned one
    #[arg(long)]
    pub(super) allow_older: bool,
    /// Promote even if this set was rolled back
    #[arg(long)]
    pub(super) force_after_rollback: bool,
    /// Promote even if this set did not prove itself in the stages of `promote.after`
    #[arg(long)]
    pub(super) allow_unstaged: bool,
    #[command(flatten)]
    pub(super) change: ChangeOptions,
}

#[derive(Debug, Args)]
pub(super) struct Builds {
    /// List at most N builds
    #[arg(short = 'n', long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    pub(super) limit: Option<NonZero<usize>>,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// Revision to roll back to, or its first characters; without it, repin lists the sets available
    /// for rollback
    #[arg(
        short,
        long,
        value_name = "REV",
        allow_hyphen_values = true,
        add = ArgValueCompleter::new(complete::rollbacks)
    )]
    pub(super) to: Option<String>,
    /// Test the listed sets in the registry: whether each pinned digest exists, and whether its tag still
    /// resolves to it; `repin rehearse` runs every check
    #[arg(long, conflicts_with = "to")]
    pub(super) remote: bool,
    #[command(flatten)]
    pub(super) change: ChangeOptions,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// List at most N entries
    #[arg(short = 'n', long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    pub(super) limit: Option<NonZero<usize>>,
    /// List every set below the current directory as one table: a column for each configuration file that
    /// git tracks, a row for each revision
    #[arg(long)]
    pub(super) all: bool,
    /// Write the sets to FILE as one self-contained HTML page; - is standard output. With --all, the page is
    /// the table of every set
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// With --html, add the changes of each set since the one before it, as `repin diff` finds them now: this
    /// reads the images from their registries
    #[arg(long, requires = "html", conflicts_with = "all")]
    pub(super) changes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Recover {
    /// Delete the journal and leave the files as they are
    #[arg(long)]
    pub(super) discard: bool,
    /// Report what recover would do without changing anything; an omitted or empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, num_args = 0..=1, default_missing_value = "true")]
    pub(super) dry_run: Option<bool>,
}

/// Completes the revisions of sets.
pub(super) fn revisions() -> ArgValueCompleter {
    ArgValueCompleter::new(complete::revisions)
}

/// Completes the names of configured images.
pub(super) fn images() -> ArgValueCompleter {
    ArgValueCompleter::new(complete::images)
}

/// Parses exactly `true`, `false`, or the empty string, which means `true`, so that an empty workflow input
/// changes nothing.
pub(super) fn strict_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" | "" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected `true`, `false` or the empty string, which means `true`".to_owned()),
    }
}

pub(super) fn whole_number<T: std::str::FromStr<Err = ParseIntError>>(
    text: &str,
) -> Result<T, String> {
    text.parse().map_err(|error: ParseIntError| {
        match error.kind() {
            IntErrorKind::PosOverflow => "the number is too large",
            IntErrorKind::Zero => "the number must be at least 1",
            _ => "expected a whole number",
        }
        .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn command_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Collects every command with the words that select it.
    fn paths(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
        for sub in command.get_subcommands() {
            let mut words = words.to_vec();
            words.push(sub.get_name().to_owned());
            paths(sub, &words, all);
            all.push(words);
        }
    }

    #[test]
    fn global_options_work_before_and_after_every_subcommand() {
        let mut all = Vec::new();
        paths(&Cli::command(), &["repin".to_owned()], &mut all);
        assert!(all.iter().any(|words| words.len() == 3), "{all:?}");
        let parse = |words: &[String]| {
            let matches = Cli::command().try_get_matches_from(words);
            matches.map(drop).map_err(|error| match error.kind() {
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ErrorKind::MissingSubcommand,
                kind => kind,
            })
        };
        for words in all {
            for index in 1..=words.len() {
                let mut with = words.clone();
                let globals = [
                    "--format", "json", "--color", "never", "-q", "--config", "x",
                ];
                with.splice(index..index, globals.map(str::to_owned));
                assert_eq!(parse(&with), parse(&words), "{with:?}");
            }
        }
        let restore = ["restore", "--image", "app", "--version", "1"];
        for words in [
            [
                &["repin", "prune", "--format", "json", "--source", "a=oci:b"],
                &restore[..],
            ]
            .concat(),
            [
                &["repin", "--source", "a=oci:b", "prune", "--format", "json"],
                &restore[..],
            ]
            .concat(),
            [
                &["repin", "prune"],
                &restore[..],
                &["--format", "json", "--source", "a=oci:b"],
            ]
            .concat(),
        ] {
            let cli = Cli::read(&words.iter().map(OsString::from).collect::<Vec<_>>()).unwrap();
            assert_eq!(cli.global.format, super::super::format::Format::Json);
            assert_eq!(cli.global.source, ["a=oci:b"], "{words:?}");
        }
        let words = ["repin", "--source", "a=oci:b", "scan", "--source=c=oci:d"];
        let cli = Cli::read(&words.map(OsString::from)).unwrap();
        assert_eq!(cli.global.source, ["a=oci:b", "c=oci:d"]);
    }

    #[test]
    fn revision_without_its_option_gets_a_tip() {
        let error = |words: &[&str]| {
            let words = ["repin"].iter().chain(words).map(OsString::from);
            Cli::read(&words.collect::<Vec<_>>())
                .unwrap_err()
                .to_string()
        };
        for (command, option) in [
            ("promote", "--revision"),
            ("rollback", "--to"),
            ("rehearse", "--to"),
        ] {
            let tip = format!("tip: a revision is written as '{option} 4f2a'");
            let message = error(&["-q", command, "4f2a"]);
            assert!(message.contains(&tip), "{message}");
        }
        for words in [["promote", "--nope"], ["scan", "4f2a"]] {
            let message = error(&words);
            assert!(!message.contains("a revision is written"), "{message}");
        }
    }

    #[test]
    fn booleans_are_strict() {
        assert_eq!(strict_bool("true"), Ok(true));
        assert_eq!(strict_bool(""), Ok(true));
        assert_eq!(strict_bool("false"), Ok(false));
        for wrong in ["True", "FALSE", "0", "1", "no", " true", "false "] {
            assert!(strict_bool(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_command_has_an_example() {
        let whole = Cli::command();
        for command in whole
            .get_subcommands()
            .flat_map(|command| std::iter::once(command).chain(command.get_subcommands()))
        {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("Example") && help.contains("repin "),
                "{}",
                command.get_name()
            );
        }
    }
}
