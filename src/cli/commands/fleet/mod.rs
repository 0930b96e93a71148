//! `repin fleet`: one set for many repositories.

mod close;
mod list;
mod merge;
mod promote;
mod report_file;
mod shard;
mod show;

use crate::{
    cli::{args, context::Context, exit::Exit},
    error::Errors,
};

pub(in crate::cli) fn run(args: &args::Fleet, cx: &mut Context) -> Result<Exit, Errors> {
    match args {
        args::Fleet::List(args) => list::run(args, cx),
        args::Fleet::Promote(args) => promote::promote(args, cx),
        args::Fleet::Rollback(args) => promote::rollback(args, cx),
        args::Fleet::Merge(args) => merge::run(args, cx),
        args::Fleet::Close(args) => close::run(args, cx),
    }
}
