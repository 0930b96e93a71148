//! `repin inventory`: list what images contain, write it as a contract, and compare it with one.

mod check;
mod enumerate;
mod matching;
mod report;
mod subject;

use crate::{
    cli::{args::Inventory, context::Context, exit::Exit},
    error::Errors,
};

pub(in crate::cli) fn run(command: Inventory, cx: &mut Context) -> Result<Exit, Errors> {
    match command {
        Inventory::Enumerate(args) => enumerate::run(&args, enumerate::As::Json, cx),
        Inventory::Init(args) => enumerate::run(&args, enumerate::As::Contract, cx),
        Inventory::Match {
            enumeration,
            expected,
        } => matching::run(&enumeration, &expected, cx),
        Inventory::Check { images, revision } => check::run(&images, revision.as_deref(), cx),
    }
}
