//! `repin completions`, `repin man`, `repin schema`: documents generated from the program.

use crate::{
    cli::{context::Context, exit::Exit},
    error::Errors,
};

const SCHEMA: &str = include_str!("../schema.json");

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(in crate::cli) fn completions(
    shell: clap_complete::Shell,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(), "repin", &mut text);
    cx.output.print(text);
    Ok(Exit::Done)
}

pub(in crate::cli) fn man(cx: &mut Context) -> Result<Exit, Errors> {
    let mut text = Vec::new();
    let mut root = crate::cli::command();
    // Gives each command its full name, `repin-promote`, which its page is headed with.
    root.build();
    let commands = root
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .cloned();
    let pages: Vec<_> = std::iter::once(root.clone()).chain(commands).collect();
    for page in pages {
        let rendered = clap_mangen::Man::new(page).render(&mut text);
        rendered.map_err(|error| Errors::io(format!("cannot render the manual page: {error}")))?;
    }
    cx.output.print(text);
    Ok(Exit::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(in crate::cli) fn schema(cx: &mut Context) -> Result<Exit, Errors> {
    cx.output.print(SCHEMA);
    Ok(Exit::Done)
}
