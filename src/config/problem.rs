//! A problem in a file of ours, with its place: what every layer reports malformed input with.

use std::{fmt, sync::Arc};

/// A text file that places refer to.
#[derive(Debug, Clone)]
pub struct SourceText {
    /// The path as a person knows it: relative to the root where it lies beneath it.
    pub name: String,
    /// The whole content.
    pub text: Arc<str>,
}

/// A range of bytes in a [`SourceText`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

/// A place in a text file.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file that the place is in.
    pub source: SourceText,
    /// The bytes meant.
    pub span: Span,
    /// What to say at the place itself; may be empty.
    pub label: String,
}

/// Something wrong with input, written for the person who has to mend it.
#[derive(Debug, Clone)]
pub struct Problem {
    /// A stable lower-snake-case word.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where, if it has a place in a file.
    pub place: Option<Place>,
    /// More to know, a line each.
    pub notes: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a place.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            place: None,
            notes: Vec::new(),
            hint: None,
        }
    }

    /// The same problem with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem at a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

impl Place {
    /// The 1-based line and the 1-based column in bytes.
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.source.text.as_bytes()[..self.span.start.min(self.source.text.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        (
            memchr::memchr_iter(b'\n', before).count() + 1,
            before.len() - line_start + 1,
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            let (line, column) = place.line_column();
            write!(f, "{}:{line}:{column}: ", place.source.name)?;
        }
        f.write_str(&self.message)
    }
}
