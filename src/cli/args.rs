//! The arguments exactly as they are typed; what they mean for a run is in [`super::context`].

mod after;
mod doctor;
mod inventory;
mod prune;

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub(super) use after::{Between, Branch, Freshness, Gates, Promotion, Wait};
pub(super) use doctor::Doctor;
pub(super) use inventory::{Inventory, OfImage};
pub(super) use prune::{Prune, PruneAction, Restore};

/// Move a set of container images, pinned by digest, from one verified build to another.
#[derive(Debug, Parser)]
#[command(
    name = "repin",
    version,
    propagate_version = false,
    max_term_width = 100,
    subcommand_required = true
)]
#[command(arg_required_else_help = false, after_help = EXITS)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// Reads the arguments; the first is the program's name.
    pub(super) fn read(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let sources = sources(&arguments);
        let mut cli = Self::try_parse_from(arguments)?;
        // Of a global option that stands before and after a subcommand, clap keeps the last.
        if sources.len() > cli.global.source.len() {
            cli.global.source = sources;
        }
        Ok(cli)
    }
}

/// The values of every `--source`.
fn sources(arguments: &[OsString]) -> Vec<String> {
    let texts: Vec<_> = arguments
        .iter()
        .map(|text| text.to_string_lossy())
        .collect();
    let mut sources = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        if text == "--source" {
            sources.extend(texts.get(at + 1).map(ToString::to_string));
        } else if let Some(value) = text.strip_prefix("--source=") {
            sources.push(value.to_owned());
        }
    }
    sources
}

const EXITS: &str = "\
Exit codes:
  0  done, or nothing to do
  1  a check failed; nothing was changed
  2  usage, configuration or other malformed input
  3  unavailable: a registry, git or the disk did not answer, or with bytes that don't verify
  4  denied: credentials or permissions
  5  in conflict: another run, or an interrupted one that can't be resolved alone";

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Global {
    /// The configuration; its folder is the root [default: the nearest repin.yaml upward]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Read repositories that start with PREFIX from oci:DIR or http[s]://HOST[:PORT][/PATH]
    #[arg(long, global = true, value_name = "PREFIX=WHERE")]
    pub(super) source: Vec<String>,
    /// How results are printed: human, json, or github (annotations, outputs and summary of GitHub
    /// Actions)
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "human",
        hide_possible_values = true
    )]
    pub(super) format: super::output::Format,
    /// When to use colour: always, never, or auto (at a terminal, unless `NO_COLOR` is set)
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(super) color: super::output::When,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Print every check, also those that passed; -vv also every request, on standard error
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a commented repin.yaml from the pins found in the tree
    #[command(after_help = INIT)]
    Init(Init),
    /// List every pin: file, line, column, image, digest
    #[command(after_help = "Example:\n  repin scan --format json | jq '.pins[].file'")]
    Scan,
    /// Check that counts are exact and that all pins of an image agree
    #[command(after_help = "Example, as a pre-merge job:\n  repin check --remote --format github")]
    Check {
        /// Also ask whether the pinned set is what it claims to be: digests, labels, tags,
        /// provenance
        #[arg(long)]
        remote: bool,
    },
    /// Show what each image's tag names: digest, platforms, revision label
    #[command(
        after_help = "Example:\n  repin resolve --revision 4f2a… --format json | jq -r '.images[].digest'"
    )]
    Resolve {
        /// The commit that the images were built from
        #[arg(long, value_name = "REV", allow_hyphen_values = true)]
        revision: String,
    },
    /// Move every pin of the set to one verified revision
    #[command(after_help = PROMOTE)]
    Promote(Promote),
    /// Move every pin back to a set that was promoted before
    #[command(after_help = ROLLBACK)]
    Rollback(Rollback),
    /// List the sets in git history, newest first
    #[command(after_help = "Example:\n  repin history --limit 5")]
    History {
        /// Show at most N entries
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Look into images: what they contain, and whether that is what they have to
    #[command(subcommand, after_help = INVENTORY)]
    Inventory(Inventory),
    /// Look whether everything that a run needs is there, without changing anything
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(Doctor),
    /// Delete pending versions of the images, and never anything that is or was pinned
    #[command(after_help = prune::EXAMPLES)]
    Prune(Prune),
    /// Tell how far pinned references to other repositories have fallen behind
    #[command(after_help = after::FRESHNESS)]
    Freshness(Freshness),
    /// Show how the required statuses of a commit stand
    #[command(after_help = after::GATES)]
    Gates(Gates),
    /// Wait until a pull request is merged, and start what its forge does not
    #[command(after_help = after::WAIT)]
    Wait(Wait),
    /// Bring one long-lived branch into another
    #[command(subcommand, after_help = after::BRANCH)]
    Branch(Branch),
    /// Finish or undo an --apply that was interrupted
    #[command(after_help = "Example:\n  repin recover --dry-run true    # says what it would do")]
    Recover(Recover),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  repin completions bash > ~/.local/share/bash-completion/completions/repin"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  repin man | man -l -")]
    Man,
    /// Print the JSON schema of repin.yaml
    #[command(after_help = "Example:\n  repin schema > repin.schema.json")]
    Schema,
}

const INIT: &str = "\
The images of one owner that are pinned by digest become the set: the remote's owner's, else the likeliest. At a terminal \
it asks where that is not sure; in a pipe it says so in the file. A file that is there is never overwritten without --force.

Examples:
  repin init
  repin init --dry-run true    # prints the file instead of writing it";

const INVENTORY: &str = "\
Layers are read as they stream, from a registry or a layout; no container engine is needed.

Example:
  repin inventory check --revision 4f2a…";

const PROMOTE: &str = "\
Without --apply or --pr it is a dry run: the table, the diff and the reports are made, and no file of the repository changes.

Examples:
  repin promote --revision 4f2a…                  # what would change, and whether it may
  repin promote --revision 4f2a… --apply          # change every pin, or none
  repin promote --revision 4f2a… --pr ready       # one commit, one branch, one pull request
  repin promote --revision 4f2a… --digest review=sha256:9c1d… --format github --body-file body.md";

const ROLLBACK: &str = "\
The set has to be in git history as promoted, and every tag has to name the digest that was pinned then.

Examples:
  repin rollback                                  # the sets that one can go back to
  repin rollback --to 4f2a…                       # what would change, and whether it may
  repin rollback --to 4f2a… --apply               # change every pin, or none
  repin rollback --to 4f2a… --pr draft            # one commit, one branch, one pull request";

#[derive(Debug, Args)]
pub(super) struct Init {
    /// true prints the file instead of writing it; an empty BOOL is true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    pub(super) dry_run: Option<bool>,
    /// Replace a file that is there
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Promote {
    /// The commit that the images were built from
    #[arg(long, value_name = "REV", allow_hyphen_values = true)]
    pub(super) revision: String,
    /// The digest that an image's tag has to name, as its build reported it
    #[arg(long, value_name = "NAME=DIGEST")]
    pub(super) digest: Vec<String>,
    /// Promote although the revision is an ancestor of the one that is pinned now
    #[arg(long)]
    pub(super) allow_older: bool,
    /// Promote although a rollback undid this set
    #[arg(long)]
    pub(super) force_after_rollback: bool,
    #[command(flatten)]
    pub(super) change: Change,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The revision to go back to; without it, those that one can go back to are listed
    #[arg(long, value_name = "REV", allow_hyphen_values = true)]
    pub(super) to: Option<String>,
    #[command(flatten)]
    pub(super) change: Change,
}

/// Options of commands that change pins.
#[derive(Debug, Args)]
pub(super) struct Change {
    /// Write the new pins to the work tree
    #[arg(long)]
    pub(super) apply: bool,
    /// Open a pull request with the new pins, against the base branch's head
    #[arg(long, value_name = "STATE", conflicts_with = "apply")]
    pub(super) pr: Option<PullRequestState>,
    /// Open it again although a person closed it
    #[arg(long, requires = "pr")]
    pub(super) reopen: bool,
    /// skip: a token that is missing is no error
    #[arg(long, value_name = "WHAT")]
    pub(super) if_unconfigured: Option<IfUnconfigured>,
    /// true forbids every change, false is --apply (with --pr: nothing more); an empty BOOL is true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    pub(super) dry_run: Option<bool>,
    /// Write the diff to F; - is standard output
    #[arg(long, value_name = "F")]
    pub(super) diff_file: Option<PathBuf>,
    /// Write the pull request's body to F; - is standard output
    #[arg(long, value_name = "F")]
    pub(super) body_file: Option<PathBuf>,
}

/// How a pull request is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PullRequestState {
    /// As a draft.
    Draft,
    /// Ready for review.
    Ready,
}

/// What a missing token or secret means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum IfUnconfigured {
    /// The run is skipped, and says why.
    Skip,
}

#[derive(Debug, Args)]
pub(super) struct Recover {
    /// Drop the journal and leave the files as they are
    #[arg(long)]
    pub(super) discard: bool,
    /// true only says what would be done; an empty BOOL is true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    pub(super) dry_run: Option<bool>,
}

/// Exactly `true`, `false`, or the empty string, which means `true`: an input that was left empty
/// changes nothing.
pub(super) fn strict_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" | "" => Ok(true),
        "false" => Ok(false),
        _ => Err(
            "it takes exactly `true`, `false` or the empty string, which means `true`".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    #[test]
    fn the_description_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command with the words that lead to it.
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
            for at in 1..=words.len() {
                let mut with = words.clone();
                let globals = [
                    "--format", "json", "--color", "never", "-q", "--config", "x",
                ];
                with.splice(at..at, globals.map(str::to_owned));
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
            let cli = Cli::read(words.iter().map(OsString::from).collect()).unwrap();
            assert_eq!(cli.global.format, super::super::output::Format::Json);
            assert_eq!(cli.global.source, ["a=oci:b"], "{words:?}");
        }
        let words = ["repin", "--source", "a=oci:b", "scan", "--source=c=oci:d"];
        let cli = Cli::read(words.map(OsString::from).into()).unwrap();
        assert_eq!(cli.global.source, ["a=oci:b", "c=oci:d"], "at both places");
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
