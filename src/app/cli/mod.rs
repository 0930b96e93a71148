//! The command line: arguments and environment in, output and an exit code out.
//!
//! Only this module accesses the environment, prints, and detects terminals. A command gathers,
//! decides, acts and reports, with a `Context`.

mod args;
mod change;
mod command_line;
mod commands;
mod complete;
mod context;
mod diagnostics;
mod format;
mod help;
mod job;
mod output;
mod signals;
mod source_locations;
mod write_file;

use std::{ffi::OsString, process::ExitCode};

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::workflow::environment::RENDER_TEMPLATE;
use crate::{
    app::workflow::Environment,
    base::error::{Class, Code, Error, Errors},
};
use command_line::Cli;
use commands::Command;
#[cfg(test)]
pub(crate) use complete::Silence;
use context::Context;
use format::Format;
use output::{Exit, Output};
pub use signals::environment;

/// Runs the program; the first argument is its name.
pub fn run(arguments: &[OsString], environment: Environment) -> ExitCode {
    if arguments
        .get(1)
        .is_some_and(|argument| argument == RENDER_TEMPLATE)
    {
        return context::run();
    }
    if let Some(exit) = complete::print_completions(arguments, &environment) {
        return exit;
    }
    // clap stops at the first wrong argument, so the format of its error is determined beforehand.
    let mut output = Output::before_parsing(arguments, &environment);
    let exit = match parse(arguments, &mut output) {
        Ok(cli) => match Context::new(&cli.global, environment) {
            Ok(mut context) => {
                let exit = dispatch(cli.command, &mut context);
                context.note_forbidden_change();
                context.warn_of_unmatched_sources();
                let exit = context.output.finish(exit);
                context.services.close();
                exit
            }
            Err(errors) => {
                let exit = output.report_errors(&errors);
                output.finish(exit)
            }
        },
        Err(exit) => output.finish(exit),
    };
    ExitCode::from(exit.code())
}

/// The exit of a run without a current directory.
pub fn no_directory(error: &std::io::Error) -> ExitCode {
    use std::io::Write;
    // If standard error is closed too, the error cannot be reported.
    let _ = writeln!(
        std::io::stderr(),
        "error: cannot determine the current directory: {error}"
    );
    ExitCode::from(Exit::Failed(Class::Unavailable).code())
}

fn dispatch(command: Command, context: &mut Context) -> Exit {
    let has_findings = matches!(command, Command::Scan(_) | Command::Check(_));
    if context.output.format.lists_findings() && !has_findings {
        let format = match context.output.format {
            Format::Gitlab => "gitlab",
            _ => "sarif",
        };
        let message = format!("`--format {format}` is for `check` and `scan` only");
        let error = Error::input(Code::USAGE, message)
            .help("use --format json for the documents of other commands");
        return context.output.report_errors(&error.into());
    }
    let has_plain = matches!(&command, Command::Prune(prune) if prune.lists_protected());
    if context.is_plain && !has_plain {
        let message = "`--format plain` is for `prune --protected FILE` only";
        let error = Error::input(Code::USAGE, message).help("leave --format out, or use json");
        return context.output.report_errors(&error.into());
    }
    commands::run(command, context).unwrap_or_else(|errors| context.output.report_errors(&errors))
}

fn parse(arguments: &[OsString], output: &mut Output) -> Result<Cli, Exit> {
    if help::is_global_help(arguments.get(1..).unwrap_or_default()) {
        output.print_styled(&help::global(&command()));
        return Err(Exit::Done);
    }
    Cli::read(arguments).map_err(|error| {
        if !error.use_stderr() {
            output.print_help(&error);
            return Exit::Done;
        }
        if output.format == Format::Human && arguments.len() == 1 {
            output.print_short_help(&help::short(&command()));
            return Exit::Failed(Class::Input);
        }
        if output.format == Format::Human {
            output.print_usage_error(&error);
            return Exit::Failed(Class::Input);
        }
        let message = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            "missing subcommand or argument".to_owned()
        } else {
            // The message may have more lines, up to an empty line before the usage.
            let text = error.to_string();
            let lines: Vec<_> = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.is_empty())
                .collect();
            lines.join(" ").trim_start_matches("error: ").to_owned()
        };
        let help = match (suggestion(&error), error.get(ContextKind::Suggested)) {
            (Some(near), _) => format!("did you mean `{near}`? See `repin --help`"),
            (None, Some(ContextValue::StyledStrs(tips))) => {
                let tips: Vec<_> = tips.iter().map(ToString::to_string).collect();
                tips.join("; ")
            }
            (None, _) => "see `repin --help`".to_owned(),
        };
        output.report_errors(&Errors::from(Error::input(Code::USAGE, message).help(help)))
    })
}

/// The command, option or value that clap suggests.
fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(near) => Some(near.clone()),
        // The last one is the most similar one.
        ContextValue::Strings(near) => near.last().cloned(),
        _ => None,
    })
}

/// The definition of the command line, for completions and the manual page.
fn command() -> clap::Command {
    Cli::command()
}
