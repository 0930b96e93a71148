//! `repin trust`: who signed images (`show`), and the trusted roots that decide on it (`update`).

mod show;
mod update;

use crate::{
    cli::{args, context::Context, exit::Exit},
    error::Errors,
};

pub(in crate::cli) fn run(args: &args::Trust, cx: &mut Context) -> Result<Exit, Errors> {
    match args {
        args::Trust::Show(show) => show::run(show, cx),
        args::Trust::Update(update) => update::run(update, cx),
    }
}
