//! Arguments that several commands share, exactly as typed, and the parsers of values. Each command declares
//! its own arguments; `context` derives the values for a run from them.

mod change;

use std::{
    num::{IntErrorKind, ParseIntError},
    path::PathBuf,
    time::Duration,
};

use clap::{ArgAction, Args};
use clap_complete::ArgValueCompleter;

pub(super) use change::{
    ApplyOptions, ChangeOptions, DiffOptions, IfUnconfigured, PullRequestState,
};

use super::complete;
use crate::config::duration;

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
    duration::parse(text).map_err(|error| error.to_string())
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
