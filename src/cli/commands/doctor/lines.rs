//! The lines of a diagnosis, and the exit that they lead to.

use crate::{
    checks::Status,
    cli::exit::Exit,
    code::Code,
    error::Errors,
    report::{doctor::DoctorRow, json::ErrorRow},
};

/// Lines, in their order of discovery.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) rows: Vec<DoctorRow>,
    pub(super) exit: Exit,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            rows: Vec::new(),
            exit: Exit::Done,
        }
    }

    pub(super) fn pass(&mut self, code: Code, detail: impl Into<String>) {
        self.push(code, Status::Pass, detail.into(), None);
    }

    /// Adds a warning, which never changes the exit.
    pub(super) fn warn(&mut self, code: Code, detail: String, hint: &str) {
        self.push(code, Status::Warn, detail, Some(hint.to_owned()));
    }

    pub(super) fn skip(&mut self, code: Code, detail: impl Into<String>) {
        self.push(code, Status::Skip, detail.into(), None);
    }

    /// Adds a line that does not concern the configuration, because it lacks the block `without`.
    pub(super) fn unconcerned(&mut self, code: Code, without: &'static str) {
        let detail = format!("not needed: no `{without}` is configured");
        self.push(code, Status::Skip, detail, None);
        if let Some(row) = self.rows.last_mut() {
            row.without = Some(without);
        }
    }

    /// Adds a failure, with the exit of its cause in any command.
    pub(super) fn fail(&mut self, code: Code, exit: Exit, detail: String, hint: String) {
        self.exit = self.exit.worse(exit);
        self.push(code, Status::Fail, detail, Some(hint));
    }

    /// Adds the errors that would stop another command as failures, one for each.
    pub(super) fn fault(&mut self, code: Code, fault: &Errors) {
        self.about(code, "", fault);
    }

    /// The same, about `subject`.
    pub(super) fn about(&mut self, code: Code, subject: &str, fault: &Errors) {
        self.exit = self.exit.worse(Exit::from(fault));
        for row in fault.iter().map(ErrorRow::of) {
            let place = match (row.file, row.line, row.column) {
                (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
                _ => String::new(),
            };
            self.push(
                code,
                Status::Fail,
                format!("{subject}{place}{}", row.message),
                row.hint,
            );
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.exit = self.exit.worse(other.exit);
    }

    fn push(&mut self, code: Code, status: Status, detail: String, hint: Option<String>) {
        self.rows.push(DoctorRow {
            code,
            status,
            detail,
            hint,
            without: None,
        });
    }
}
