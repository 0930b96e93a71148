//! Standard output for results, and standard error for everything else.
//!
//! Every text of every command passes [`Output::door`]: a terminal never receives a hidden character,
//! and with `--format github` neither stream carries a line that a runner would obey. Exact bytes go
//! to a pipe, or to a runner between `stop-commands` markers. Only [`Output::annotate`] writes
//! workflow commands, and only repin's own.

use std::{
    borrow::Cow,
    ffi::OsString,
    io::{self, BufWriter, Write},
    sync::Arc,
};

use clap::builder::StyledStr;
use serde::Serialize;

use super::{
    console::{ProgressLine, StandardError},
    display,
    exit::Exit,
    format::{Format, Volume, When},
    github,
    sarif::{Directories, Locations},
};
use crate::{
    checks::{Check, Status},
    code::Code,
    config::Config,
    error::{Class, Error, Errors},
    report::{
        annotations::with_help,
        causes::by_cause,
        json::{ErrorDocument, ErrorRow},
        sarif::{self, Findings},
        wrap::wrapped,
    },
    untrusted::{
        self, block,
        workflow::{self, Commands, Place},
    },
    workflow::{Console, Environment, Interruption},
};

/// Where standard output leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    /// A terminal, which obeys control characters.
    Terminal,
    /// A file or another program, which may want every byte.
    Pipe,
}

/// The two streams, and how they are written to.
pub(super) struct Output {
    pub(super) format: Format,
    pub(super) volume: Volume,
    pub(super) colour: bool,
    pub(super) error_colour: bool,
    stdout: Destination,
    /// The width that results for people keep to; `None` without a terminal.
    pub(super) columns: Option<usize>,
    /// Whether progress is shown.
    pub(super) progress: bool,
    line: ProgressLine,
    /// Asked before a part of the result is printed.
    pub(super) interruption: Option<Arc<Interruption>>,
    /// Leads from where annotations are read to the root; ends with `/` or is empty.
    pub(super) directory: String,
    /// The directories that places are relative to.
    pub(super) directories: Directories,
    /// The explained codes of the errors written so far, each once.
    codes: Vec<Code>,
    /// The first error of writing to standard output that is not a closed pipe.
    broken: Option<io::Error>,
}

impl Output {
    /// For errors before the arguments are parsed: only the format is read.
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
            () if is("sarif") => Format::Sarif,
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
            colour: wanted(environment.terminals.stdout),
            error_colour: wanted(environment.terminals.stderr),
            stdout: if environment.terminals.stdout {
                Destination::Terminal
            } else {
                Destination::Pipe
            },
            columns: environment
                .terminals
                .columns
                .filter(|_| format != Format::Github),
            // A line that is redrawn and lines of the request log would overwrite one another.
            progress: environment.terminals.stderr
                && environment
                    .filled("TERM")
                    .is_some_and(|term| term != "dumb")
                && !matches!(volume, Volume::Quiet | Volume::Requests)
                && format == Format::Human,
            line: ProgressLine::default(),
            interruption: None,
            directory: String::new(),
            directories: Directories {
                current: environment.directory().to_owned(),
                root: environment.directory().to_owned(),
            },
            codes: Vec::new(),
            broken: None,
        }
    }

    /// Writes a result.
    pub(super) fn print(&mut self, text: impl AsRef<[u8]>) {
        let text = self.door(text.as_ref());
        self.write(&text);
    }

    /// Escapes a result as its destination requires.
    fn door<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let read = || String::from_utf8_lossy(text);
        match self.format {
            Format::Github => workflow::inert(&read(), self.colour).into_bytes().into(),
            _ if self.stdout == Destination::Terminal => {
                block(&read(), self.colour).into_bytes().into()
            }
            Format::Human | Format::Json | Format::Sarif => text.into(),
        }
    }

    /// Writes annotations.
    pub(super) fn annotate(&mut self, commands: &Commands) {
        self.write(commands.to_string().as_bytes());
    }

    /// Writes a result to a runner, byte by byte; fails if no random end marker can be made.
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
    /// `wanted`: the caller asked for it on standard output, so a pipe gets no colour.
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
        self.before_result();
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text).and_then(|()| stdout.flush());
        if let Err(error) = written {
            self.failed(error);
        }
    }

    fn before_result(&self) {
        if let Some(interruption) = &self.interruption {
            interruption.before_result();
        }
    }

    /// Notes that a result could not be written.
    fn failed(&mut self, error: io::Error) {
        // Whoever reads has seen enough; that is no reason to fail.
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.broken.get_or_insert(error);
        }
    }

    /// Writes a document.
    pub(super) fn json(&mut self, document: &impl Serialize) {
        if self.format == Format::Github || self.stdout == Destination::Terminal {
            let mut text = Vec::new();
            match untrusted::json(document, &mut text) {
                Ok(()) => self.print([text.as_slice(), b"\n"].concat()),
                Err(error) => self.failed(error.into()),
            }
            return;
        }
        // Escaped as it is: a large one need not be in memory as a whole.
        self.before_result();
        let mut stdout = BufWriter::new(io::stdout().lock());
        let written = untrusted::json(document, &mut stdout).map_err(io::Error::from);
        let written = written.and_then(|()| stdout.write_all(b"\n"));
        if let Err(error) = written.and_then(|()| stdout.flush()) {
            self.failed(error);
        }
    }

    /// Writes a log, and its errors for people.
    pub(super) fn sarif(&mut self, findings: &Findings, errors: Option<&Errors>, exit: Exit) {
        self.sarif_log(findings, errors, exit.code());
        if let Some(errors) = errors {
            self.problems(errors);
        }
    }

    /// Writes a log alone.
    pub(super) fn sarif_log(&mut self, findings: &Findings, errors: Option<&Errors>, code: u8) {
        let mut locations = Locations::new(self.directories.clone());
        let log = sarif::log(findings, errors, code, &mut locations);
        self.json(&log);
    }

    /// Standard error, with its format and colour.
    pub(super) fn stderr(&self) -> StandardError {
        StandardError {
            format: self.format,
            volume: self.volume,
            colour: self.error_colour,
            progress: self.progress,
            line: self.line.clone(),
        }
    }

    /// Writes a message for people; nothing with `--quiet`.
    pub(super) fn note(&self, text: &str) {
        self.stderr().note(text);
    }

    /// Writes a message for people in lines that fit the terminal of the result.
    pub(super) fn wrapped_note(&self, text: &str) {
        let columns = self.columns.unwrap_or(usize::MAX);
        self.note(&wrapped(text, columns).join("\n"));
    }

    /// Writes a warning or an error for people.
    pub(super) fn error_text(&self, text: &str) {
        self.stderr().write(text);
    }

    /// Reports the errors that stopped a run.
    pub(super) fn fault(&mut self, fault: &Errors) -> Exit {
        // A signal that reaches the whole process group makes git fail, too: that is not the cause.
        if let Some(interruption) = &self.interruption {
            interruption.before_result();
        }
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
            Format::Sarif => self.sarif(&Findings::default(), Some(fault), Exit::from(fault)),
            Format::Github => {
                for error in fault.by_cause() {
                    let row = ErrorRow::of(&error);
                    let place = row.file.as_deref().zip(row.line).zip(row.column);
                    let place = place.map(|((file, line), column)| Place { file, line, column });
                    let message = with_help(&row.message, row.hint.as_deref());
                    self.annotate(&Commands::error(&row.code, &message, place));
                }
                self.problems(fault);
            }
        }
        Exit::from(fault)
    }

    /// Reports errors beside a command's own document.
    pub(super) fn fault_beside(&mut self, fault: &Errors) -> Exit {
        if self.format != Format::Json {
            return self.fault(fault);
        }
        self.problems(fault);
        Exit::from(fault)
    }

    fn problems(&mut self, fault: &Errors) {
        let causes = fault.by_cause();
        for (at, error) in causes.iter().enumerate() {
            // A remedy that several errors share is printed once, after the last of them.
            let remedy = error.remedy();
            let repeated = causes[at + 1..]
                .iter()
                .any(|later| error.help.is_none() && later.remedy() == remedy);
            self.problem(error, (!repeated).then_some(&*remedy));
        }
    }

    /// Writes one error for people.
    fn problem(&mut self, problem: &Error, help: Option<&str>) {
        self.error_text(&display::problem(problem, help, self.error_colour));
        self.reported(problem.code);
    }

    /// Records a reported code, so that [`Self::refer`] names its explanation.
    pub(super) fn reported(&mut self, code: Code) {
        if !self.codes.contains(&code) {
            self.codes.push(code);
        }
    }

    /// Writes checks that failed or warn for people, each cause once.
    pub(super) fn causes(&mut self, checks: &[Check], config: &Config) {
        for cause in by_cause(checks) {
            match cause.status() {
                Status::Fail => self.problem(&display::failed(&cause, config), cause.help()),
                Status::Warn => self.error_text(&display::warning(&cause)),
                Status::Pass | Status::Skip => {}
            }
        }
    }

    /// Names the command that explains the errors written so far, on a line of its own.
    pub(super) fn refer(&mut self) {
        match std::mem::take(&mut self.codes).as_slice() {
            [] => {}
            [code] => self.note(&format!("for more: repin explain {code}")),
            codes => {
                let codes: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
                self.wrapped_note(&format!(
                    "for more: repin explain CODE ({})",
                    codes.join(", ")
                ));
            }
        }
    }

    /// Prints clap's help or version.
    pub(super) fn help(&mut self, help: &clap::Error) {
        self.styled(&help.render());
    }

    /// Prints text of clap.
    pub(super) fn styled(&mut self, text: &StyledStr) {
        let text = if self.colour {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        self.print(text);
    }

    /// Prints clap's error.
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
        self.refer();
        match self.broken.take() {
            Some(error) => {
                self.error_text(&format!(
                    "error: cannot write to standard output: {error}\n"
                ));
                exit.worse(Exit::Because(Class::Unavailable))
            }
            None => exit,
        }
    }
}
