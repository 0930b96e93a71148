//! Standard output and standard error: results on the one, everything else on the other.
//!
//! Every text of every command passes one door here on its way out, [`Output::door`]: at a terminal
//! no hidden character gets through, and with `--format github` no line that a runner would obey,
//! on either stream. What has to arrive byte by byte goes to a pipe, or to a runner that was told
//! not to read it. Only [`Output::annotate`] writes commands, and only our own.

use std::{
    borrow::Cow,
    ffi::OsString,
    io::{self, Write},
};

use clap::ValueEnum;
use serde::Serialize;

use super::{display, environment::Environment, exit::Exit, github};
use crate::{
    error::{Class, Error, Errors},
    http::Announce,
    report::json::{ErrorDocument, ErrorRow},
    untrusted::{
        self, block,
        workflow::{self, Commands, Place},
    },
};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// One JSON document.
    Json,
    /// Annotations, outputs and a summary for GitHub Actions.
    Github,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// At a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Volume {
    /// Results and errors.
    Quiet,
    /// What helps.
    Normal,
    /// Every check.
    Verbose,
    /// Every check and every request.
    Requests,
}

/// Where standard output leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    /// A terminal, which obeys control characters.
    Terminal,
    /// A file or another program, which may want every byte.
    Pipe,
}

/// The two streams, and how they are written to.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) format: Format,
    pub(super) volume: Volume,
    pub(super) colour: bool,
    pub(super) error_colour: bool,
    stdout: Destination,
    /// Whether progress is shown.
    pub(super) progress: bool,
    /// Leads from where annotations are read to the root; ends with `/` or is empty.
    pub(super) folder: String,
    /// The first error of writing to standard output that is not a closed pipe.
    broken: Option<io::Error>,
}

impl Output {
    /// For errors that come before the arguments are known: only the format is looked for.
    pub(super) fn early(arguments: &[OsString], environment: &Environment) -> Self {
        let text: Vec<_> = arguments
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect();
        let is = |format: &str| {
            let joined = format!("--format={format}");
            text.iter().any(|argument| *argument == joined)
                || text
                    .windows(2)
                    .any(|pair| pair[0] == "--format" && pair[1] == format)
        };
        let format = match () {
            () if is("json") => Format::Json,
            () if is("github") => Format::Github,
            () => Format::Human,
        };
        Self::new(format, When::Auto, Volume::Normal, environment)
    }

    pub(super) fn new(
        format: Format,
        when: When,
        volume: Volume,
        environment: &Environment,
    ) -> Self {
        let wanted = |terminal: bool| match when {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                let dumb = environment
                    .variable("TERM")
                    .is_some_and(|term| term == "dumb");
                terminal && !dumb && environment.filled("NO_COLOR").is_none()
            }
        };
        Self {
            format,
            volume,
            colour: wanted(environment.stdout_is_terminal()),
            error_colour: wanted(environment.stderr_is_terminal()),
            stdout: if environment.stdout_is_terminal() {
                Destination::Terminal
            } else {
                Destination::Pipe
            },
            // A line that is redrawn and lines of the request log would overwrite one another.
            progress: environment.stderr_is_terminal()
                && !matches!(volume, Volume::Quiet | Volume::Requests)
                && format == Format::Human,
            folder: String::new(),
            broken: None,
        }
    }

    /// Writes a result.
    pub(super) fn print(&mut self, text: impl AsRef<[u8]>) {
        let text = self.door(text.as_ref());
        self.write(&text);
    }

    /// What becomes of a result on its way to where standard output leads.
    fn door<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let read = || String::from_utf8_lossy(text);
        match self.format {
            Format::Github => workflow::inert(&read(), self.colour).into_bytes().into(),
            _ if self.stdout == Destination::Terminal => {
                block(&read(), self.colour).into_bytes().into()
            }
            Format::Human | Format::Json => text.into(),
        }
    }

    /// Writes annotations.
    pub(super) fn annotate(&mut self, commands: &Commands) {
        self.write(commands.to_string().as_bytes());
    }

    /// Writes a result to a runner, byte by byte; an error if no word could be found to end it with.
    pub(super) fn print_unparsed(&mut self, text: impl AsRef<[u8]>) -> Result<(), Errors> {
        let token = github::token()?;
        let shown = if self.stdout == Destination::Terminal {
            block(&String::from_utf8_lossy(text.as_ref()), self.colour)
                .into_bytes()
                .into()
        } else {
            Cow::Borrowed(text.as_ref())
        };
        self.write(&workflow::unparsed(&shown, &token));
        Ok(())
    }

    /// Writes a diff: for people, or byte by byte to a pipe, where `git apply` may read it.
    /// `wanted`: it was asked for on standard output, so that it is not coloured in a pipe.
    pub(super) fn print_diff(&mut self, diff: &[u8], wanted: bool) {
        if self.stdout == Destination::Terminal || self.colour && !wanted {
            self.print(display::diff(diff, self.colour));
        } else {
            self.print(diff);
        }
    }

    /// Writes the body of a pull request.
    pub(super) fn print_body(&mut self, body: &str) {
        if self.stdout == Destination::Terminal {
            // Those are ours: foreign ones are escaped in a body. They would be shown here.
            self.print(body.replace('\u{200b}', ""));
        } else {
            self.print(body);
        }
    }

    fn write(&mut self, text: &[u8]) {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text).and_then(|()| stdout.flush());
        match written {
            // Whoever reads has seen enough; that is no reason to fail.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => self.broken = self.broken.take().or(Some(error)),
            Ok(()) => {}
        }
    }

    /// Writes a document.
    pub(super) fn json(&mut self, document: &impl Serialize) {
        match serde_json::to_string(document) {
            Ok(text) => self.print(untrusted::json(&text) + "\n"),
            Err(error) => self.broken = Some(io::Error::other(error)),
        }
    }

    /// Writes a message for people; nothing with `--quiet`.
    pub(super) fn note(&self, text: &str) {
        if self.volume != Volume::Quiet {
            self.error_text(&format!("{text}\n"));
        }
    }

    /// Writes a question for a person, who answers on the same line.
    pub(super) fn ask(&self, question: &str) {
        self.error_text(question);
    }

    /// Writes a warning or an error for people.
    pub(super) fn error_text(&self, text: &str) {
        write_error(self.format, self.error_colour, text);
    }

    /// Shows the pauses that a forge asks for. They are warnings, which `--quiet` leaves: nobody
    /// should take a minute's silence for a run that hangs.
    pub(super) fn announce(&self) -> Announce {
        let (format, colour) = (self.format, self.error_colour);
        Announce::to(move |pause| write_error(format, colour, &format!("warning: {pause}\n")))
    }

    /// Reports why a run could not do its work.
    pub(super) fn fault(&mut self, fault: &Errors) -> Exit {
        match self.format {
            Format::Json => {
                let errors = fault.iter().map(ErrorRow::of).collect();
                self.json(&ErrorDocument {
                    schema: "repin.error/1",
                    exit: fault.class().exit_code(),
                    errors,
                });
            }
            Format::Human => self.problems(fault),
            Format::Github => {
                for error in fault.by_cause() {
                    let row = ErrorRow::of(&error);
                    let place = row.file.as_deref().zip(row.line).zip(row.column);
                    let place = place.map(|((file, line), column)| Place { file, line, column });
                    let hint = row
                        .hint
                        .map_or_else(String::new, |hint| format!(" ({hint})"));
                    let message = format!("{}{hint}", row.message);
                    self.annotate(&Commands::error(&row.code, &message, place));
                }
                self.problems(fault);
            }
        }
        Exit::from(fault)
    }

    /// Reports what is wrong beside a command's own document.
    pub(super) fn fault_beside(&mut self, fault: &Errors) -> Exit {
        if self.format != Format::Json {
            return self.fault(fault);
        }
        self.problems(fault);
        Exit::from(fault)
    }

    fn problems(&self, fault: &Errors) {
        for error in fault.by_cause() {
            self.problem(&error);
        }
    }

    /// Writes one problem for people.
    pub(super) fn problem(&self, problem: &Error) {
        self.error_text(&display::problem(problem, self.error_colour));
    }

    /// Prints clap's help or version.
    pub(super) fn help(&mut self, help: &clap::Error) {
        let text = help.render();
        let text = if self.colour {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        self.print(text);
    }

    /// Prints clap's complaint.
    pub(super) fn usage(&self, error: &clap::Error) {
        let text = error.render();
        let text = if self.error_colour {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        self.error_text(&text);
    }

    /// The exit of a run whose results may not have been written.
    pub(super) fn finish(&mut self, exit: Exit) -> Exit {
        match self.broken.take() {
            Some(error) => {
                self.error_text(&format!("error: can't write to standard output: {error}\n"));
                exit.worse(Exit::Because(Class::Unavailable))
            }
            None => exit,
        }
    }
}

/// Writes text for people to standard error.
fn write_error(format: Format, colour: bool, text: &str) {
    let text = if format == Format::Github {
        workflow::inert(text, colour)
    } else {
        block(text, colour)
    };
    // Nobody is left to tell when standard error is gone.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
