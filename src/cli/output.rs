//! Standard output and standard error: results on the one, everything else on the other.

use std::{
    ffi::OsString,
    io::{self, Write},
};

use clap::ValueEnum;
use serde::Serialize;

use super::{
    args::When,
    display,
    environment::Environment,
    exit::{Exit, Fault},
};
use crate::{
    config::Problem,
    report::{
        annotations,
        json::{ErrorDocument, ErrorRow},
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

/// The two streams, and how they are written to.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) format: Format,
    pub(super) volume: Volume,
    pub(super) colour: bool,
    pub(super) error_colour: bool,
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
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.as_ref())
            .and_then(|()| stdout.flush());
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
            Ok(text) => self.print(text + "\n"),
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
    #[expect(
        clippy::unused_self,
        reason = "everything that is written goes through the output"
    )]
    pub(super) fn error_text(&self, text: &str) {
        // Nobody is left to tell when standard error is gone.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Reports why a run could not do its work.
    pub(super) fn fault(&mut self, fault: &Fault) -> Exit {
        match self.format {
            Format::Json => {
                let errors = fault.problems.iter().map(ErrorRow::of).collect();
                self.json(&ErrorDocument {
                    schema: "repin.error/1",
                    exit: fault.exit.code(),
                    errors,
                });
            }
            Format::Human => self.problems(fault),
            Format::Github => {
                for problem in &fault.problems {
                    let row = ErrorRow::of(problem);
                    let place = row.file.as_deref().zip(row.line).zip(row.column);
                    let place = place.map(|((file, line), column)| (file, line, column));
                    let hint = row
                        .hint
                        .map_or_else(String::new, |hint| format!(" ({hint})"));
                    let line =
                        annotations::error(&row.code, &format!("{}{hint}", row.message), place);
                    self.print(line);
                }
                self.problems(fault);
            }
        }
        fault.exit
    }

    /// Reports what is wrong beside a command's own document.
    pub(super) fn fault_beside(&mut self, fault: &Fault) -> Exit {
        if self.format != Format::Json {
            return self.fault(fault);
        }
        self.problems(fault);
        fault.exit
    }

    fn problems(&self, fault: &Fault) {
        fault
            .problems
            .iter()
            .for_each(|problem| self.problem(problem));
    }

    /// Writes one problem for people.
    pub(super) fn problem(&self, problem: &Problem) {
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
                exit.worse(Exit::Unavailable)
            }
            None => exit,
        }
    }
}
