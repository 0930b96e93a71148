//! One file for each command: its arguments, then gather, decide, act, report.

mod branch;
mod builds;
mod check;
mod completions;
mod diff;
mod doctor;
mod documents;
mod explain;
mod fleet;
mod freshness;
mod gates;
mod history;
mod init;
mod inventory;
mod man;
mod promote;
mod prune;
mod recover;
mod rehearse;
mod resolve;
mod rollback;
mod scan;
mod schema;
mod set;
mod status;
mod trust;
mod wait;

use clap::Subcommand;

use super::{context::Context, output::Exit};
use crate::base::error::Errors;

/// Declares the commands in the order and the groups of the help, each with its module, which has the type
/// `Arguments` with the texts of the help, and the function `run`.
macro_rules! commands {
    ($($title:literal { $($command:ident => $module:ident),+ $(,)? })+) => {
        #[derive(Debug, Subcommand)]
        pub(super) enum Command {
            $($($command($module::Arguments),)+)+
        }

        /// The groups of commands with their titles.
        pub(super) const GROUPS: &[(&str, &[&str])] = &[$(($title, &[$(stringify!($module)),+])),+];

        pub(super) fn run(command: Command, context: &mut Context) -> Result<Exit, Errors> {
            match command {
                $($(Command::$command(args) => $module::run(&args, context),)+)+
            }
        }
    };
}

commands! {
    "Every day" {
        Status => status,
        Check => check,
        Scan => scan,
        History => history,
        Diff => diff,
        Builds => builds,
        Promote => promote,
        Rollback => rollback,
        Resolve => resolve,
        Trust => trust,
        Inventory => inventory,
        Recover => recover,
        Explain => explain,
    }
    "In CI" {
        Rehearse => rehearse,
        Freshness => freshness,
        Gates => gates,
        Wait => wait,
        Branch => branch,
        Prune => prune,
        Set => set,
        Fleet => fleet,
    }
    "Setting up" {
        Init => init,
        Doctor => doctor,
        Completions => completions,
        Man => man,
        Schema => schema,
    }
}
