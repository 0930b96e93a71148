//! One file for each command: gather, decide, act, report.

mod branch;
mod builds;
mod check;
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
mod set;
mod sets;
mod status;
mod trust;
mod wait;

use super::{args::Command, context::Context, exit::Exit};
use crate::error::Errors;

pub(super) fn run(command: Command, context: &mut Context) -> Result<Exit, Errors> {
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Status { all } => status::run(all, context),
        Command::Scan => scan::run(context),
        Command::Check { remote, all } => check::run(remote, all, context),
        Command::Resolve { revision } => resolve::run(&revision, context),
        Command::Diff(args) => diff::run(&args, context),
        Command::Builds(args) => builds::run(&args, context),
        Command::Set(args) => set::run(&args, context),
        Command::Fleet(args) => fleet::run(&args, context),
        Command::Promote(args) => promote::run(&args, context),
        Command::Rollback(args) => rollback::run(&args, context),
        Command::History(args) => history::run(&args, context),
        Command::Inventory(command) => inventory::run(command, context),
        Command::Trust(args) => trust::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Prune(args) => prune::run(&args, context),
        Command::Rehearse(args) => rehearse::run(&args, context),
        Command::Freshness(args) => freshness::run(&args, context),
        Command::Gates(args) => gates::run(&args, context),
        Command::Wait(args) => wait::run(&args, context),
        Command::Branch(args) => branch::run(&args, context),
        Command::Explain { code } => explain::run(code.as_deref(), context),
        Command::Recover(args) => recover::run(&args, context),
        Command::Completions { shell } => documents::completions(shell, context),
        Command::Man => man::run(context),
        Command::Schema => documents::schema(context),
    }
}
