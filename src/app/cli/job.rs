//! The report of a run to a CI job: the outputs and the summary of its step, and a notice if it was skipped.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use rustix::fs::{Mode, OFlags};

use super::{context::Context, format::Format, output::Exit, write_file::random_id};
use crate::{
    app::{report::github::error_lines, workflow::Environment},
    base::{
        error::{Class, Error, Errors},
        untrusted::{
            markdown,
            workflow::{self, Commands, Level},
        },
    },
};

/// The maximum size of a summary, in bytes (GitHub Actions, "Adding a job summary": 1 MiB per step).
const MAX_SUMMARY: u64 = 1024 * 1024;

const NOTICE: &str = "\n\n> The rest was left out, because a step summary is limited to 1 MiB.\n";

/// The files that GitHub Actions processes after a step. They are opened before any change, so that a wrong path stops
/// the run in time.
pub(super) struct StepFiles {
    output: Option<File>,
    summary: Option<File>,
}

impl StepFiles {
    pub(super) fn open(environment: &Environment) -> Result<Self, Errors> {
        let open = |name: &str| {
            let Some(path) = environment.filled(name) else {
                return Ok(None);
            };
            let path = environment.directory().join(path);
            open_for_append(&path).map(Some).map_err(|error| {
                Errors::io(format!("cannot open {name} ({}): {error}", path.display()))
            })
        };
        Ok(Self {
            output: open("GITHUB_OUTPUT")?,
            summary: open("GITHUB_STEP_SUMMARY")?,
        })
    }

    pub(super) fn outputs(&mut self, values: &[(&str, String)]) -> Result<(), Errors> {
        let Some(file) = &mut self.output else {
            return Ok(());
        };
        let mut text = String::new();
        for (name, value) in values {
            // A value could contain a predictable delimiter and inject further outputs.
            let mut delimiter = random_id()?;
            while value.contains(&delimiter) {
                delimiter = random_id()?;
            }
            text.push_str(&workflow::output(name, value, &delimiter));
        }
        file.write_all(text.as_bytes())
            .map_err(|error| Errors::io(format!("cannot write to GITHUB_OUTPUT: {error}")))
    }

    /// Appends to the summary, up to its maximum size.
    pub(super) fn summary(&mut self, text: &str) -> Result<(), Errors> {
        let Some(file) = &mut self.summary else {
            return Ok(());
        };
        let fail =
            |error: io::Error| Errors::io(format!("cannot write to GITHUB_STEP_SUMMARY: {error}"));
        let spare = MAX_SUMMARY
            .saturating_sub(file.metadata().map_err(fail)?.len() + NOTICE.len() as u64 + 1);
        let mut end = text.len().min(usize::try_from(spare).unwrap_or(usize::MAX));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let notice = match end {
            0 => "",
            end if end < text.len() => NOTICE,
            _ => "\n",
        };
        file.write_all(format!("{}{notice}", &text[..end]).as_bytes())
            .map_err(fail)
    }
}

/// Opens a file without waiting for the reader of a pipe.
fn open_for_append(path: &Path) -> io::Result<File> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))?;
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file.into())
}

impl Context {
    /// Opens the files of the step; `None` in another format than `github`.
    pub(super) fn step_files(&self) -> Result<Option<StepFiles>, Errors> {
        match self.output.format {
            Format::Github => StepFiles::open(&self.services.environment).map(Some),
            _ => Ok(None),
        }
    }

    /// Writes outputs of the step in the format `github`.
    pub(super) fn write_outputs(&self, values: &[(&str, String)]) -> Result<(), Errors> {
        match self.step_files()? {
            Some(mut files) => files.outputs(values),
            None => Ok(()),
        }
    }

    /// Ends a run that has printed its result: reports the errors after it, and writes outputs and step summary.
    pub(super) fn end_step(
        &mut self,
        outputs: &[(&str, String)],
        mut summary: String,
        errors: Option<&Errors>,
    ) -> Exit {
        let mut exit = Exit::Done;
        if let Some(errors) = errors {
            exit = self.output.report_errors_separately(errors);
            summary = summary + "\n" + &error_lines(errors);
        }
        if let Err(errors) = self.write_outputs(outputs) {
            exit = exit.worse(self.output.report_errors_separately(&errors));
        }
        self.summarize(&summary, exit)
    }

    /// Appends to the step summary, if there is one. A summary that cannot be written makes the exit worse.
    pub(super) fn summarize(&mut self, text: &str, exit: Exit) -> Exit {
        let files = StepFiles::open(&self.services.environment);
        match files.and_then(|mut files| files.summary(text)) {
            Ok(()) => exit,
            Err(errors) => exit.worse(self.output.report_errors_separately(&errors)),
        }
    }

    /// Appends the errors that stopped a run to the step summary, below `title`.
    pub(super) fn summarize_errors(
        &mut self,
        title: &str,
        result: Result<Exit, Errors>,
    ) -> Result<Exit, Errors> {
        if let Err(errors) = &result {
            let text = format!("### {title}\n\n{}", error_lines(errors));
            // The run fails anyway, and the error of the summary is reported.
            self.summarize(&text, Exit::Done);
        }
        result
    }

    /// Reports in a notice and in the step summary that the run, or a part of it, was skipped, so that it is not
    /// mistaken for a success.
    pub(super) fn note_skip(&mut self, command: &str, reason: &str) -> Exit {
        if self.output.format == Format::Github {
            let mut notice = Commands::default();
            let title = format!("{command} was skipped");
            notice.annotate(Level::Notice, &title, reason, None);
            self.output.annotate(&notice);
        }
        let mut text = format!("### {command}\n\n");
        let _ = writeln!(text, "Skipped: {}", markdown::inline(reason));
        self.summarize(&text, Exit::Done)
    }
}

/// The outputs of a step about a pull request at the end of the run.
#[derive(Debug, Default)]
pub(super) struct PullOutputs {
    /// `None` without a pull request.
    pub(super) number: Option<u64>,
    pub(super) url: String,
    /// `open`, `merged`, `closed` or `unknown`; `skipped` if the run was skipped; empty without a pull request.
    pub(super) state: &'static str,
    pub(super) merge_commit: String,
}

impl PullOutputs {
    /// Those of a run that was skipped.
    pub(super) fn skipped() -> Self {
        Self {
            state: "skipped",
            ..Self::default()
        }
    }

    /// The outputs, each with its name.
    pub(super) fn values(self) -> [(&'static str, String); 4] {
        let number = self.number.map(|number| number.to_string());
        [
            ("pull-request", number.unwrap_or_default()),
            ("pull-request-url", self.url),
            ("pull-request-state", self.state.to_owned()),
            ("merge-commit", self.merge_commit),
        ]
    }
}

/// Removes the refusals of access, which `--if-unconfigured skip` accepts, and returns each cause once.
pub(super) fn take_denied(errors: &mut Vec<Error>) -> Vec<String> {
    let (denied, others): (Vec<_>, Vec<_>) = std::mem::take(errors)
        .into_iter()
        .partition(|error| error.class == Class::Denied);
    *errors = others;
    if denied.is_empty() {
        return Vec::new();
    }
    let causes = Errors::from(denied).by_cause();
    causes.iter().map(Error::text).collect()
}
