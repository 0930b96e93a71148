//! `repin fleet`: one set for many repositories. The subcommands share the input and output of this file.

mod close;
mod list;
mod merge;
mod promote;

use std::path::Path;

use clap::{Args, Subcommand};

use crate::{
    app::{
        cli::{context::Context, format::Format, job::StepFiles, output::Exit},
        fleet::{self, FleetCause, FleetDocument, FleetList},
        report::github::with_help,
    },
    base::{
        error::{Code, Error, Errors},
        input_file,
        untrusted::workflow::Commands,
    },
};

/// The maximum size of a list, a set or a report, in bytes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  repin fleet list --org acme --has repin.yaml > list.txt
  repin fleet promote --list list.txt --revision 4f2a…
  repin fleet merge shard-*.jsonl --list list.txt
  repin fleet close --revision 4f2a… --list list.txt";

/// Work on many repositories with one set
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::app::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::Arguments),
    Promote(promote::Promotion),
    Rollback(promote::Rollback),
    Merge(merge::Arguments),
    Close(close::Arguments),
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    match &args.action {
        Action::List(args) => list::run(args, cx),
        Action::Promote(args) => promote::promote(args, cx),
        Action::Rollback(args) => promote::rollback(args, cx),
        Action::Merge(args) => merge::run(args, cx),
        Action::Close(args) => close::run(args, cx),
    }
}

fn read_list(file: &Path, cx: &Context) -> Result<FleetList, Errors> {
    let bytes = read_file(file, Code::FLEET_LIST, cx)?;
    Ok(FleetList::parse(&file.to_string_lossy(), &bytes)?)
}

/// Loads a file that the user specified.
fn read_file(file: &Path, code: Code, cx: &Context) -> Result<Vec<u8>, Errors> {
    let path = cx.services.environment.directory().join(file);
    input_file::read(&path, MAX_FILE).map_err(|error| {
        let message = format!("cannot read {}: {error}", file.display());
        let help = "check the path and its permissions";
        Errors::from(Error::input(code, message).help(help))
    })
}

/// Prints a report, and writes the step summary for GitHub Actions.
fn print_report(
    document: &FleetDocument,
    step: Option<&mut StepFiles>,
    cx: &mut Context,
) -> Result<(), Errors> {
    match cx.output.format {
        Format::Json => cx.output.print_json(document),
        Format::Human | Format::Sarif | Format::Gitlab => {
            cx.output.print_text(&fleet::table(document));
        }
        Format::Github => {
            annotate(document, cx);
            cx.output.print_text(&fleet::table(document));
        }
    }
    match step {
        Some(step) => step.summary(&fleet::summary(document)),
        None => Ok(()),
    }
}

fn annotate(document: &FleetDocument, cx: &mut Context) {
    for cause in FleetCause::all(document) {
        let detail = cause.detail.as_deref().unwrap_or("no detail was reported");
        let message = format!("{}: {detail}", cause.names());
        let message = with_help(&message, cause.help.as_deref());
        let annotation = Commands::error(&cause.title(), &message, None);
        cx.output.annotate(&annotation);
    }
}
