//! What a run reports to a CI job besides its result: a step summary, and that a part of it was skipped.

use std::fmt::Write as _;

use super::{context::Context, format::Format, output::Exit, write_file::StepFiles};
use crate::{
    app::report::github::error_lines,
    base::{
        error::{Class, Error, Errors},
        untrusted::{
            markdown,
            workflow::{Commands, Level},
        },
    },
};

impl Context {
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

/// Removes the refusals of access, which `--if-unconfigured skip` accepts, and returns each cause once.
pub(super) fn take_denied(outages: &mut Vec<Error>) -> Vec<String> {
    let (denied, others): (Vec<_>, Vec<_>) = std::mem::take(outages)
        .into_iter()
        .partition(|error| error.class == Class::Denied);
    *outages = others;
    if denied.is_empty() {
        return Vec::new();
    }
    let causes = Errors::from(denied).by_cause();
    causes.iter().map(Error::text).collect()
}
