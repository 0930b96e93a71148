//! The options of the commands that change pins.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::strict_bool;
use crate::{app::workflow::MissingCredential, forge::Readiness};

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
    /// Open a pull request with the new pins against the head of the base branch
    #[arg(long, value_name = "STATE", conflicts_with = "apply")]
    pub(in crate::app::cli) pr: Option<PullRequestState>,
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
