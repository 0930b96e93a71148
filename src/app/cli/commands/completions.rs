//! `repin completions`: prints the completions of a shell.

use clap::Args;
use clap_complete::Shell;

use super::documents;
use crate::{
    app::cli::{context::Context, output::Exit},
    base::error::Errors,
};

/// Print shell completions
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  repin completions bash > ~/.local/share/bash-completion/completions/repin"
)]
pub(in crate::app::cli) struct Arguments {
    /// Shell to print completions for
    shell: Shell,
}

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let mut text = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut crate::app::cli::command(),
        "repin",
        &mut text,
    );
    documents::print("completions", &text, cx);
    Ok(Exit::Done)
}
