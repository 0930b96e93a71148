//! Arguments that several commands share, exactly as typed, and the parsers of values. Each command declares
//! its own arguments; `context` derives the values for a run from them.
//!
//! The options of the commands that change pins.

use std::{
    num::{IntErrorKind, ParseIntError},
    path::PathBuf,
    time::Duration,
};

use clap::{ArgAction, Args, ValueEnum};
use clap_complete::ArgValueCompleter;

use super::complete;
use crate::{app::workflow::MissingCredential, config, forge::Readiness};

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
    /// for check and scan sarif or gitlab (Code Quality), or plain (prune --protected)
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "human",
        hide_possible_values = true
    )]
    pub(super) format: super::format::FormatWord,
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

/// Parses a duration such as `90s`, `30m` or `2h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    config::duration::parse(text).map_err(|error| error.to_string())
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

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
pub(in crate::app::cli) struct ChangeOptions {
    /// Write the new pins to the work tree
    #[arg(long)]
    pub(in crate::app::cli) apply: bool,
    /// With --apply, also commit exactly the changed files, in the form that `repin history`
    /// recognizes
    #[arg(long, conflicts_with = "pr")]
    pub(in crate::app::cli) commit: bool,
    /// With --commit, also push exactly this commit to the branch that counts; if the branch moved, repin
    /// fetches it and plans again
    #[arg(long, requires_all = ["commit", "apply"])]
    pub(in crate::app::cli) push: bool,
    /// Open a pull request with the new pins against the head of the base branch
    #[arg(long, value_name = "STATE", conflicts_with = "apply")]
    pub(in crate::app::cli) pr: Option<PullRequestState>,
    /// With --pr, wait until the pull request is merged, as `repin wait` does, and give up after this time
    /// [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, require_equals = true, default_missing_value = "30m", requires = "pr", conflicts_with = "apply")]
    pub(in crate::app::cli) wait: Option<Duration>,
    /// Reopen the pull request even if a user closed it
    #[arg(long, requires = "pr")]
    pub(in crate::app::cli) reopen: bool,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "ACTION")]
    pub(in crate::app::cli) if_unconfigured: Option<IfUnconfigured>,
    /// true forbids every change; false applies it, as --apply does, unless --pr is given;
    /// an omitted or empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, num_args = 0..=1, default_missing_value = "true")]
    pub(in crate::app::cli) dry_run: Option<bool>,
    #[command(flatten)]
    pub(in crate::app::cli) diff: DiffOptions,
    /// Write the diff to FILE; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(in crate::app::cli) diff_file: Option<PathBuf>,
    /// Write the pull request body to FILE; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(in crate::app::cli) body_file: Option<PathBuf>,
    /// Omit the section "What changes" of the pull request body, and the requests that only it needs
    #[arg(long, conflicts_with = "contents")]
    pub(in crate::app::cli) no_changes: bool,
    /// Also compare the contents of the images: packages, privileged files and inventory names
    #[arg(long)]
    pub(in crate::app::cli) contents: bool,
}

/// Options that allow or forbid changes.
#[derive(Debug, Args)]
pub(in crate::app::cli) struct ApplyOptions {
    /// Make the changes
    #[arg(long)]
    pub(in crate::app::cli) apply: bool,
    /// true forbids every change; false applies it, as --apply does; an omitted or empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, num_args = 0..=1, default_missing_value = "true")]
    pub(in crate::app::cli) dry_run: Option<bool>,
}

/// Options for the output of changes.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::app::cli) struct DiffOptions {
    /// List the changed files with their number of pins instead of the diff
    #[arg(long, conflicts_with = "no_diff")]
    pub(in crate::app::cli) stat: bool,
    /// Print neither the diff nor the changed files
    #[arg(long)]
    pub(in crate::app::cli) no_diff: bool,
}

/// State in which a pull request is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::app::cli) enum PullRequestState {
    Draft,
    Ready,
}

impl From<PullRequestState> for Readiness {
    fn from(state: PullRequestState) -> Self {
        match state {
            PullRequestState::Draft => Self::Draft,
            PullRequestState::Ready => Self::Ready,
        }
    }
}

/// What to do if a token, a permission or a secret is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::app::cli) enum IfUnconfigured {
    Skip,
}

impl From<Option<IfUnconfigured>> for MissingCredential {
    fn from(option: Option<IfUnconfigured>) -> Self {
        match option {
            Some(IfUnconfigured::Skip) => Self::Skip,
            None => Self::Fail,
        }
    }
}

/// What to do if gates are pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::app::cli) enum IfPending {
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_strict() {
        assert_eq!(strict_bool("true"), Ok(true));
        assert_eq!(strict_bool(""), Ok(true));
        assert_eq!(strict_bool("false"), Ok(false));
        for wrong in ["True", "FALSE", "0", "1", "no", " true", "false "] {
            assert!(strict_bool(wrong).is_err(), "{wrong:?}");
        }
    }
}
