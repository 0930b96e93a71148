//! The command line: arguments and environment in, output and an exit code out.
//!
//! Only this module reads the environment, prints, and knows terminals. A command gathers, decides,
//! acts and reports; it receives everything it needs in a `Context`.

mod args;
mod change;
mod commands;
mod complete;
mod console;
mod context;
mod display;
mod environment;
mod exit;
mod format;
mod github;
mod help;
mod output;
mod render;
mod requests;
mod sarif;
mod signals;
mod write;

use std::{ffi::OsString, process::ExitCode};

use args::{Cli, Command};
use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    code::Code,
    error::{Class, Error, Errors},
    workflow::Environment,
};
use context::Context;
pub use environment::environment;
use exit::Exit;
use format::Format;
use output::Output;

/// Runs the program with its arguments (the first is its name).
pub fn run(arguments: Vec<OsString>, environment: Environment) -> ExitCode {
    if let Some(exit) = complete::answered(&arguments, &environment) {
        return exit;
    }
    // clap stops at the first wrong argument, so the format that its error is shown in is looked
    // for beforehand.
    let mut output = Output::early(&arguments, &environment);
    let exit = match parse(arguments, &mut output) {
        Ok(cli) => match Context::new(&cli, environment) {
            Ok(mut context) => {
                let exit = dispatch(cli.command, &mut context);
                context.name_what_forbade();
                let exit = context.output.finish(exit);
                context.services.close();
                exit
            }
            Err(fault) => {
                let exit = output.fault(&fault);
                output.finish(exit)
            }
        },
        Err(exit) => exit,
    };
    ExitCode::from(exit.code())
}

/// Ends a run whose current directory is unknown.
pub fn no_directory(error: &std::io::Error) -> ExitCode {
    use std::io::Write;
    // If standard error is closed too, the error cannot be reported.
    let _ = writeln!(
        std::io::stderr(),
        "error: cannot determine the current directory: {error}"
    );
    ExitCode::from(Exit::Because(Class::Unavailable).code())
}

fn dispatch(command: Command, context: &mut Context) -> Exit {
    let finds = matches!(command, Command::Scan | Command::Check { .. });
    if context.output.format == Format::Sarif && !finds {
        let error = Error::input(
            Code::USAGE,
            "`--format sarif` is for `check` and `scan` only",
        );
        let error = error.help("use --format json for the documents of other commands");
        return context.output.fault(&error.into());
    }
    let result = match command {
        Command::Init(args) => commands::init::run(&args, context),
        Command::Status => commands::status::run(context),
        Command::Scan => commands::scan::run(context),
        Command::Check { remote } => commands::check::run(remote, context),
        Command::Resolve { revision } => commands::resolve::run(&revision, context),
        Command::Set(args) => commands::set::run(&args, context),
        Command::Fleet(args) => commands::fleet::run(&args, context),
        Command::Promote(args) => commands::promote::run(&args, context),
        Command::Rollback(args) => commands::rollback::run(&args, context),
        Command::History(args) => commands::history::run(&args, context),
        Command::Inventory(command) => commands::inventory::run(command, context),
        Command::Trust(args) => commands::trust::run(&args, context),
        Command::Doctor(args) => commands::doctor::run(&args, context),
        Command::Prune(args) => commands::prune::run(&args, context),
        Command::Freshness(args) => commands::freshness::run(&args, context),
        Command::Gates(args) => commands::gates::run(&args, context),
        Command::Wait(args) => commands::wait::run(&args, context),
        Command::Branch(args) => commands::branch::run(&args, context),
        Command::Explain { code } => commands::explain::run(code.as_deref(), context),
        Command::Recover(args) => commands::recover::run(&args, context),
        Command::Completions { shell } => commands::documents::completions(shell, context),
        Command::Man => commands::documents::man(context),
        Command::Schema => commands::documents::schema(context),
    };
    result.unwrap_or_else(|fault| context.output.fault(&fault))
}

fn parse(arguments: Vec<OsString>, output: &mut Output) -> Result<Cli, Exit> {
    if help::asks_for_global(arguments.get(1..).unwrap_or_default()) {
        output.styled(&help::global(&command()));
        return Err(Exit::Done);
    }
    Cli::read(arguments).map_err(|error| {
        if !error.use_stderr() {
            output.help(&error);
            return Exit::Done;
        }
        if output.format == Format::Human {
            output.usage(&error);
            return Exit::Because(Class::Input);
        }
        let message = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            "missing subcommand or argument".to_owned()
        } else {
            // What is meant stands in the lines below, up to the usage.
            let text = error.to_string();
            let lines: Vec<_> = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.is_empty())
                .collect();
            lines.join(" ").trim_start_matches("error: ").to_owned()
        };
        let help = match suggested(&error) {
            Some(near) => format!("did you mean `{near}`? See `repin --help`"),
            None => "see `repin --help`".to_owned(),
        };
        output.fault(&Errors::from(Error::input(Code::USAGE, message).help(help)))
    })
}

/// What was probably meant: a command, an option or a value.
fn suggested(error: &clap::Error) -> Option<String> {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(near) => Some(near.clone()),
        // The likeliest is the last.
        ContextValue::Strings(near) => near.last().cloned(),
        _ => None,
    })
}

/// The command line's own description, for completions and the manual page.
fn command() -> clap::Command {
    Cli::command()
}
