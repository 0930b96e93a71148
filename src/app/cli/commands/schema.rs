//! `repin schema`: prints the JSON Schema of the configuration.

use clap::Args;

use super::documents;
use crate::{
    app::cli::{context::Context, output::Exit},
    base::error::Errors,
    config,
};

/// Print the JSON Schema of repin.yaml
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  repin schema > repin.schema.json")]
pub(in crate::app::cli) struct Arguments;

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(in crate::app::cli) fn run(_: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let text = format!("{:#}\n", config::schema());
    documents::print("schema", text.as_bytes(), cx);
    Ok(Exit::Done)
}
