//! Standard output for results, and standard error for everything else.
//!
//! [`Output::escaped`] escapes all text of all commands: a terminal never receives a hidden character, and
//! with `--format github` a runner finds no workflow command in either stream. Exact bytes are written only to
//! a pipe, or to a runner between `stop-commands` markers. Only [`Output::annotate`] writes workflow commands.
//!
//! The result of a run, which determines the exit code.

use std::{
    borrow::Cow,
    ffi::OsString,
    io::{self, BufRead as _, BufWriter, Read as _, Write},
    sync::Arc,
};

use clap::builder::StyledStr;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    diagnostics::{self, Heading, ProgressLine, StandardError},
    format::{Format, Volume, When},
    source_locations::{Directories, SourceLocations},
    write_file,
};
use crate::{
    app::{
        report::{
            code_quality,
            explain::by_cause,
            github::with_help,
            json::{ErrorDocument, ErrorRow},
            layout::{Palette, wrapped},
            sarif::{self, Findings},
        },
        workflow::{Console, Environment, Interruption},
    },
    base::{
        error::{Class, Code, Error, Errors},
        untrusted::{
            self, block, plain,
            workflow::{self, AnnotationPlace, Commands},
        },
    },
    config::{Config, SetPath},
    core::checks::{Check, Status},
};

/// The number of attempts of a prompt.
pub(super) const PROMPT_ATTEMPTS: usize = 3;

/// The maximum length of an answer, in bytes.
const MAX_ANSWER: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    /// A terminal, which interprets control characters.
    Terminal,
    /// A file or another program, which may require the exact bytes.
    Pipe,
}

/// Standard output and standard error with their settings.
pub(super) struct Output {
    pub(super) format: Format,
    pub(super) volume: Volume,
    pub(super) color: bool,
    pub(super) error_color: bool,
    stdout: Destination,
    /// The width of results; `None` without a terminal.
    pub(super) columns: Option<usize>,
    /// Whether progress is a line that is redrawn.
    redraws: bool,
    line: ProgressLine,
    heading: Heading,
    /// The time zone of the reader.
    zone: fn() -> TimeZone,
    /// Notified before a part of the result is printed.
    pub(super) interruption: Option<Arc<Interruption>>,
    /// The path from the top of the repository to the root, for annotations; empty or with a final
    /// `/`.
    pub(super) directory: String,
    /// The directories for relative paths of places.
    pub(super) directories: Directories,
    /// The codes of the errors that were reported.
    codes: Vec<Code>,
    /// The first error of writing to standard output, except a closed pipe.
    stdout_error: Option<io::Error>,
}

impl Output {
    /// The output for errors of the arguments: only the format is known.
    pub(super) fn before_parsing(arguments: &[OsString], environment: &Environment) -> Self {
        let text: Vec<_> = arguments
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect();
        let is_given = |format: &str| {
            let joined = format!("--format={format}");
            text.iter().any(|argument| *argument == joined)
                || text
                    .windows(2)
                    .any(|pair| pair[0] == "--format" && pair[1] == format)
        };
        let format = match () {
            () if is_given("json") => Format::Json,
            () if is_given("github") => Format::Github,
            () if is_given("sarif") => Format::Sarif,
            () if is_given("gitlab") => Format::Gitlab,
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
        let uses_color = |is_terminal: bool| match when {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                let is_dumb = environment
                    .variable("TERM")
                    .is_some_and(|term| term == "dumb");
                is_terminal && !is_dumb && environment.filled("NO_COLOR").is_none()
            }
        };
        Self {
            format,
            volume,
            color: uses_color(environment.terminals.stdout),
            error_color: uses_color(environment.terminals.stderr),
            stdout: if environment.terminals.stdout {
                Destination::Terminal
            } else {
                Destination::Pipe
            },
            columns: environment
                .terminals
                .columns
                .filter(|_| format != Format::Github),
            // A redrawn line and the request log would overwrite each other.
            redraws: environment.terminals.stderr
                && environment
                    .filled("TERM")
                    .is_some_and(|term| term != "dumb")
                && !matches!(volume, Volume::Quiet | Volume::Requests)
                && format == Format::Human,
            line: ProgressLine::default(),
            heading: Heading::default(),
            zone: environment.zone,
            interruption: None,
            directory: String::new(),
            directories: Directories {
                current: environment.directory().to_owned(),
                root: environment.directory().to_owned(),
            },
            codes: Vec::new(),
            stdout_error: None,
        }
    }

    /// Prints a result as it is, such as a document, a diff or a file.
    pub(super) fn print(&mut self, text: impl AsRef<[u8]>) {
        let text = self.escaped(text.as_ref());
        self.write(&text);
    }

    /// Prints a result for people, with the times of the reader's zone.
    pub(super) fn print_text(&mut self, text: &str) {
        let text = self.local(text);
        self.print(text);
    }

    /// A text with the times of the reader's zone.
    pub(super) fn local(&self, text: &str) -> String {
        self.stderr().local(text).into_owned()
    }

    /// The colors of results.
    pub(super) fn palette(&self) -> Palette {
        if self.color {
            Palette::Colored
        } else {
            Palette::Plain
        }
    }

    /// Escapes a result as its destination requires.
    fn escaped<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let decoded = || String::from_utf8_lossy(text);
        match self.format {
            Format::Github => workflow::inert(&decoded(), self.color).into_bytes().into(),
            _ if self.stdout == Destination::Terminal => {
                block(&decoded(), self.color).into_bytes().into()
            }
            Format::Human | Format::Json | Format::Sarif | Format::Gitlab => text.into(),
        }
    }

    pub(super) fn annotate(&mut self, commands: &Commands) {
        self.write(commands.to_string().as_bytes());
    }

    /// Prints a result to a runner without changes; fails if no random end marker can be created.
    pub(super) fn print_unparsed(&mut self, text: impl AsRef<[u8]>) -> Result<(), Errors> {
        let token = write_file::random_id()?;
        let text = if self.stdout == Destination::Terminal {
            block(&String::from_utf8_lossy(text.as_ref()), self.color)
                .into_bytes()
                .into()
        } else {
            Cow::Borrowed(text.as_ref())
        };
        self.write(&workflow::unparsed(&text, &token));
        Ok(())
    }

    /// Prints a diff: rendered for a terminal, or exactly to a pipe, for `git apply`. A diff that was requested
    /// with `--diff-file -` has no color in a pipe.
    pub(super) fn print_diff(&mut self, diff: &[u8], is_requested: bool) {
        if self.stdout == Destination::Terminal || self.color && !is_requested {
            self.print(diagnostics::diff(diff, self.palette()));
        } else {
            self.print(diff);
        }
    }

    /// Prints the body of a pull request.
    pub(super) fn print_body(&mut self, body: &str) {
        if self.stdout == Destination::Terminal {
            // These characters are repin's own, since foreign ones are escaped; a terminal would show them.
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
            self.record_write_error(error);
        }
    }

    fn before_result(&self) {
        if let Some(interruption) = &self.interruption {
            interruption.before_result();
        }
    }

    fn record_write_error(&mut self, error: io::Error) {
        // A reader such as `head` may close the pipe early, which is not a failure.
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.stdout_error.get_or_insert(error);
        }
    }

    pub(super) fn print_json(&mut self, document: &impl Serialize) {
        if self.format == Format::Github || self.stdout == Destination::Terminal {
            let mut text = Vec::new();
            match untrusted::json(document, &mut text) {
                Ok(()) => self.print([text.as_slice(), b"\n"].concat()),
                Err(error) => self.record_write_error(error.into()),
            }
            return;
        }
        // The serialization escapes hidden characters, so a large document need not be in memory.
        self.before_result();
        let mut stdout = BufWriter::new(io::stdout().lock());
        let written = untrusted::json(document, &mut stdout)
            .map_err(io::Error::from)
            .and_then(|()| stdout.write_all(b"\n"))
            .and_then(|()| stdout.flush());
        if let Err(error) = written {
            self.record_write_error(error);
        }
    }

    /// Prints a SARIF log or a report for GitLab, and its errors to standard error.
    pub(super) fn print_findings(
        &mut self,
        findings: &Findings,
        errors: Option<&Errors>,
        exit: Exit,
    ) {
        self.print_only_findings(findings, errors, exit.code());
        if let Some(errors) = errors {
            self.write_errors(errors);
        }
    }

    /// Prints only a SARIF log or a report for GitLab.
    pub(super) fn print_only_findings(
        &mut self,
        findings: &Findings,
        errors: Option<&Errors>,
        code: u8,
    ) {
        let mut locations = SourceLocations::new(self.directories.clone());
        if self.format == Format::Gitlab {
            let report = code_quality::report(findings, errors, &mut locations);
            self.print_json(&report);
        } else {
            let log = sarif::log(findings, errors, code, &mut locations);
            self.print_json(&log);
        }
    }

    pub(super) fn stderr(&self) -> StandardError {
        StandardError {
            format: self.format,
            volume: self.volume,
            color: self.error_color,
            redraws: self.redraws,
            line: self.line.clone(),
            heading: self.heading.clone(),
            zone: self.zone,
        }
    }

    /// Writes the set path before the next message, if one follows.
    pub(super) fn start_section(&self, path: &SetPath) {
        self.heading.set(format!("{}:\n", plain(&path.to_string())));
    }

    pub(super) fn end_section(&self) {
        self.heading.set(String::new());
    }

    pub(super) fn warn(&self, text: &str) {
        self.stderr().warn(text);
    }

    /// Writes a message to standard error, unless `--quiet` is given.
    pub(super) fn note(&self, text: &str) {
        self.stderr().note(text);
    }

    /// Writes a message to standard error, also with `--quiet`.
    pub(super) fn remark(&self, text: &str) {
        self.stderr().remark(text);
    }

    /// Writes a message to standard error, wrapped at the width of the terminal.
    pub(super) fn wrapped_note(&self, text: &str) {
        let columns = self.columns.unwrap_or(usize::MAX);
        self.note(&wrapped(text, columns).join("\n"));
    }

    /// Prompts for a line; `None` at the end of the input.
    pub(super) fn ask(&self, question: &str) -> Result<Option<String>, Errors> {
        self.write_stderr(question);
        let mut answer = String::new();
        let length = io::stdin()
            .lock()
            .take(MAX_ANSWER)
            .read_line(&mut answer)
            .map_err(|error| Errors::io(format!("cannot read the answer: {error}")))?;
        Ok((length > 0).then_some(answer))
    }

    /// Writes a warning or an error.
    pub(super) fn write_stderr(&self, text: &str) {
        self.stderr().write(text);
    }

    /// Reports the errors that stopped a run, in the chosen format.
    pub(super) fn report_errors(&mut self, errors: &Errors) -> Exit {
        // A signal to the process group also stops git. The signal is then reported, not the error of git.
        if let Some(interruption) = &self.interruption {
            interruption.before_result();
        }
        match self.format {
            Format::Json => {
                self.print_json(&ErrorDocument::new(errors));
            }
            Format::Human => self.write_errors(errors),
            Format::Sarif | Format::Gitlab => {
                self.print_findings(&Findings::default(), Some(errors), Exit::from(errors));
            }
            Format::Github => {
                for error in errors.by_cause() {
                    let row = ErrorRow::of(&error);
                    let place = match (&row.file, row.line, row.column) {
                        (Some(file), Some(line), Some(column)) => {
                            Some(AnnotationPlace { file, line, column })
                        }
                        _ => None,
                    };
                    let message = with_help(&row.message, row.hint.as_deref());
                    self.annotate(&Commands::error(&row.code, &message, place));
                }
                self.write_errors(errors);
            }
        }
        Exit::from(errors)
    }

    /// Reports errors of a command that has already printed its document.
    pub(super) fn report_errors_separately(&mut self, errors: &Errors) -> Exit {
        if self.format != Format::Json {
            return self.report_errors(errors);
        }
        self.write_errors(errors);
        Exit::from(errors)
    }

    fn write_errors(&mut self, errors: &Errors) {
        let causes = errors.by_cause();
        for (index, error) in causes.iter().enumerate() {
            // A default remedy that errors share is printed once, after the last of them.
            let remedy = error.remedy();
            let mut later = causes[index + 1..].iter();
            let is_repeated = error.help.is_none() && later.any(|later| later.remedy() == remedy);
            self.write_error(error, (!is_repeated).then_some(&*remedy));
        }
    }

    fn write_error(&mut self, error: &Error, help: Option<&str>) {
        // The quoted lines of a file are not changed.
        let mut shown = error.clone();
        shown.message = self.local(&shown.message);
        for note in &mut shown.notes {
            *note = self.local(note);
        }
        let help = help.map(|help| self.local(help));
        let text = diagnostics::error(&shown, help.as_deref(), self.error_color);
        self.write_stderr(&text);
        self.record_code(error.code);
    }

    /// Records a reported code for [`Self::print_explain_hint`].
    pub(super) fn record_code(&mut self, code: Code) {
        if !self.codes.contains(&code) {
            self.codes.push(code);
        }
    }

    /// Writes failed checks and warnings to standard error, each cause once.
    pub(super) fn print_causes(&mut self, checks: &[Check], config: &Config) {
        for cause in by_cause(checks) {
            match cause.status() {
                Status::Fail => {
                    self.write_error(&diagnostics::failed(&cause, config), cause.help());
                }
                Status::Warn => {
                    self.write_stderr(&self.local(&diagnostics::warning(&cause)));
                }
                Status::Pass | Status::Skip => {}
            }
        }
    }

    /// Refers to `repin explain` for the reported errors.
    pub(super) fn print_explain_hint(&mut self) {
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
    pub(super) fn print_help(&mut self, help: &clap::Error) {
        self.print_styled(&help.render());
    }

    /// Prints clap's text.
    pub(super) fn print_styled(&mut self, text: &StyledStr) {
        let text = if self.color {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        self.print(text);
    }

    pub(super) fn print_usage_error(&self, error: &clap::Error) {
        self.print_short_help(&error.render());
    }

    /// Prints clap's text about missing or wrong arguments to standard error.
    pub(super) fn print_short_help(&self, text: &StyledStr) {
        let text = if self.error_color {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        self.write_stderr(&text);
    }

    /// Completes the output; a result that could not be written changes the exit.
    pub(super) fn finish(&mut self, exit: Exit) -> Exit {
        self.print_explain_hint();
        match self.stdout_error.take() {
            Some(error) => {
                self.write_stderr(&format!(
                    "error: cannot write to standard output: {error}\n"
                ));
                exit.worse(Exit::Failed(Class::Unavailable))
            }
            None => exit,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Success, or nothing to do.
    Done,
    Failed(Class),
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed(class) => class.exit_code(),
        }
    }

    /// The exit that determines the exit code if both apply.
    pub(super) fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Failed(one), Self::Failed(other)) => Self::Failed(one.worse(other)),
            (Self::Done, exit) | (exit, Self::Done) => exit,
        }
    }
}

impl From<&Errors> for Exit {
    fn from(errors: &Errors) -> Self {
        Self::Failed(errors.class())
    }
}
