//! The whole command line: the global options and a command.

use std::ffi::OsString;

use clap::{
    CommandFactory, FromArgMatches, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{args::Global, commands::Command, help};

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
        let mut command = Self::command();
        let matches = match command.try_get_matches_from_mut(arguments) {
            // Only the help and errors are arranged, which takes a tenth of a start.
            Err(error) if error.kind() != ErrorKind::DisplayVersion => {
                command = help::arranged(Self::command());
                command
                    .try_get_matches_from_mut(arguments)
                    .map_err(|error| with_revision_option(error, &command, arguments))
                    .map_err(with_command)?
            }
            other => other?,
        };
        let mut cli =
            Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        // clap drops the first values of a global option that is given before and after a subcommand.
        if sources.len() > cli.global.source.len() {
            cli.global.source = sources;
        }
        Ok(cli)
    }
}

/// The commands of other tools, and the tip to the command that does the same here.
const OTHER_COMMANDS: [[&str; 2]; 9] = [
    ["undo", "the command is `repin rollback --to previous`"],
    ["revert", "the command is `repin rollback --to previous`"],
    ["log", "the command is `repin history`"],
    ["list", "the command is `repin history`"],
    ["verify", "the command is `repin check --remote`"],
    ["version", "the command is `repin --version`"],
    ["update", "the command is `repin promote --revision newest`"],
    [
        "upgrade",
        "the command is `repin promote --revision newest`",
    ],
    [
        "pin",
        "`repin init --pin` pins images that have only a tag, and `repin promote` moves the pins",
    ],
];

/// Adds the command of repin to the error of a command that another tool has.
fn with_command(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let other = OTHER_COMMANDS.iter().find(|[other, _]| other == word);
    if let Some([_, tip]) = other {
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![(*tip).into()]),
        );
    }
    error
}

/// Adds the option that takes a revision, or that selects the set, to the error of a command with an unexpected word.
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
    let tip = option.and_then(|option| {
        let revision = match word.as_str() {
            "--all" => {
                return Some("a run changes one set, which '--config FILE' selects".to_owned());
            }
            "--revision" | "--to" | "-r" => "REV",
            word => Some(word).filter(|word| !word.starts_with('-'))?,
        };
        Some(format!("a revision is written as '--{option} {revision}'"))
    });
    if let Some(tip) = tip {
        error.remove(ContextKind::SuggestedArg);
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

#[cfg(test)]
mod tests {
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
            assert_eq!(
                cli.global.format.format(),
                super::super::format::Format::Json
            );
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
        for (words, tip) in [
            (["promote", "--to", "4f2a"], "'--revision REV'"),
            (["rollback", "--revision", "4f2a"], "'--to REV'"),
            (["rehearse", "-r", "4f2a"], "'--to REV'"),
            (["promote", "--all", "-rx"], "'--config FILE'"),
        ] {
            let message = error(&words);
            assert!(message.contains(tip), "{message}");
            assert_eq!(message.matches("tip:").count(), 1, "{message}");
        }
        for words in [["promote", "--nope"], ["scan", "4f2a"]] {
            let message = error(&words);
            assert!(!message.contains("a revision is written"), "{message}");
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
