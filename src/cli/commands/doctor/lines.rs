//! The lines of a diagnosis, and the exit that they add up to.

use crate::{
    checks::Status,
    cli::exit::Exit,
    error::{Class, Errors},
    report::{doctor::DoctorRow, json::ErrorRow},
};

/// Lines, in the order in which they were found out.
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

    pub(super) fn pass(&mut self, code: &'static str, detail: impl Into<String>) {
        self.push(code, Status::Pass, detail.into(), None);
    }

    pub(super) fn skip(&mut self, code: &'static str, detail: impl Into<String>) {
        self.push(code, Status::Skip, detail.into(), None);
    }

    /// A failure, with the exit that its cause has wherever it is met.
    pub(super) fn fail(&mut self, code: &'static str, exit: Exit, detail: String, hint: String) {
        self.exit = self.exit.worse(exit);
        self.push(code, Status::Fail, detail, Some(hint));
    }

    /// What another command would stop with, as failures: one for each problem.
    pub(super) fn fault(&mut self, code: &'static str, fault: &Errors) {
        self.about(code, "", fault);
    }

    /// The same, about `subject`.
    pub(super) fn about(&mut self, code: &'static str, subject: &str, fault: &Errors) {
        self.exit = self.exit.worse(Exit::from(fault));
        for row in fault.iter().map(ErrorRow::of) {
            let place = match (row.file, row.line, row.column) {
                (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
                _ => String::new(),
            };
            let hint = row.hint.unwrap_or_else(|| remedy(fault.class()).to_owned());
            self.push(
                code,
                Status::Fail,
                format!("{subject}{place}{}", row.message),
                Some(hint),
            );
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.exit = self.exit.worse(other.exit);
    }

    fn push(&mut self, code: &'static str, status: Status, detail: String, hint: Option<String>) {
        self.rows.push(DoctorRow {
            code,
            status,
            detail,
            hint,
        });
    }
}

/// What the exits of the documentation ask for, where a cause says nothing of its own.
fn remedy(class: Class) -> &'static str {
    match class {
        Class::Failed | Class::Ambiguous | Class::Refused => "look at the evidence",
        Class::Input => "correct it where it stands",
        Class::Unavailable | Class::Limited => {
            "try again later; if it stays, look whether this machine is let there"
        }
        Class::Denied => "correct the credentials",
        Class::Conflict => "resolve it, then look again",
    }
}
