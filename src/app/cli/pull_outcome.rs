//! The pull request of a run as text, and as outputs of a step of GitHub Actions.

use std::fmt::Write as _;

use super::{context::Context, format::Format, write_file::StepFiles};
use crate::{app::report::json::WaitDocument, base::error::Errors};

/// A pull request, and its state at the end of the run.
#[derive(Debug, Default)]
pub(super) struct PullOutcome {
    /// `None` without a pull request.
    pub(super) number: Option<u64>,
    pub(super) url: String,
    /// `open`, `merged`, `closed` or `unknown`; `skipped` if the run was skipped; empty without a pull request.
    pub(super) state: &'static str,
    pub(super) merge_commit: String,
}

impl PullOutcome {
    /// The outcome of a run that was skipped.
    pub(super) fn skipped() -> Self {
        Self {
            state: "skipped",
            ..Self::default()
        }
    }

    /// The outputs, each with a name and a value.
    pub(super) fn outputs(self) -> [(&'static str, String); 4] {
        let number = self.number.map(|number| number.to_string());
        [
            ("pull-request", number.unwrap_or_default()),
            ("pull-request-url", self.url),
            ("pull-request-state", self.state.to_owned()),
            ("merge-commit", self.merge_commit),
        ]
    }

    /// Writes the outputs in a step of GitHub Actions.
    pub(super) fn write(self, cx: &Context) -> Result<(), Errors> {
        if cx.output.format != Format::Github {
            return Ok(());
        }
        StepFiles::open(&cx.services.environment)?.outputs(&self.outputs())
    }
}

/// The outcome of a wait for the pull request with this mark, as text.
pub(super) fn awaited_lines(document: &WaitDocument, mark: &str) -> String {
    let Some(state) = document.state else {
        return String::new();
    };
    let commit = match &document.merge_commit {
        Some(commit) => format!(" as {commit}"),
        None => String::new(),
    };
    let mut text = format!("{mark} {state}{commit}\n");
    for workflow in &document.dispatched {
        let _ = writeln!(text, "started {workflow}");
    }
    text
}
