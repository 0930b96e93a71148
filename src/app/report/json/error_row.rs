//! An error in a document.

use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Errors};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ErrorRow {
    pub code: String,
    pub message: String,
    pub file: Option<String>,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub hint: Option<String>,
}

impl ErrorRow {
    pub(crate) fn of(error: &Error) -> Self {
        let location = error.location.as_ref();
        let line_column = location.map(|location| location.line_column());
        let mut message = error.text();
        for note in &error.notes {
            message.push_str("; ");
            message.push_str(note);
        }
        Self {
            code: error.code.to_string(),
            message,
            file: location.map(|location| location.source.name.clone()),
            line: line_column.map(|(line, _)| line),
            column: line_column.map(|(_, column)| column),
            hint: Some(error.remedy()),
        }
    }

    /// The errors that determine the exit code, as one row.
    pub(crate) fn worst(errors: &Errors) -> Option<Self> {
        let code = errors.class().exit_code();
        let causes = errors.by_cause();
        let worst = causes
            .iter()
            .filter(|error| error.class.exit_code() == code);
        worst.map(Self::of).reduce(|all, row| Self {
            message: format!("{}; {}", all.message, row.message),
            ..all
        })
    }
}
