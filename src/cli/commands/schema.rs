//! `repin schema`: prints the JSON Schema of the configuration.

use clap::Args;

use super::documents;
use crate::{
    cli::{context::Context, exit::Exit},
    config,
    error::Errors,
};

/// Print the JSON Schema of repin.yaml
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  repin schema > repin.schema.json")]
pub(in crate::cli) struct Arguments;

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(in crate::cli) fn run(_: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let text = format!("{:#}\n", config::schema());
    documents::print("schema", text.as_bytes(), cx);
    Ok(Exit::Done)
}
