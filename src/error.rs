//! What went wrong, for the person who has to act: one type for every layer.
//!
//! An [`Error`] says what failed and where, and what to do next; its [`Class`] says who has to act
//! and is the exit code of the program. Nothing is printed here, and texts from outside are
//! escaped and redacted before they come in or where they are shown.

use std::{fmt, sync::Arc};

/// Who has to act on an error. Public: the exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A check failed: look at the evidence.
    Failed,
    /// An answer that can be read as two things, or as another thing than it claims to be.
    Ambiguous,
    /// A person or a rule of a forge refused.
    Refused,
    /// Usage, configuration, a contract or other malformed input of the user: fix the input.
    Input,
    /// A registry, a forge, git or a disk did not answer, or answered with bytes that do not
    /// verify: try again later.
    Unavailable,
    /// A forge limits requests for longer than this run may wait; nothing was done.
    Limited,
    /// Credentials or permissions: fix them.
    Denied,
    /// Another process holds the lock, a journal needs a decision, or a branch has a foreign
    /// commit: resolve, then retry.
    Conflict,
}

impl Class {
    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed | Self::Ambiguous | Self::Refused => 1,
            Self::Input => 2,
            Self::Unavailable | Self::Limited => 3,
            Self::Denied => 4,
            Self::Conflict => 5,
        }
    }

    /// The code of an error that has none of its own.
    fn code(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Ambiguous => "manifest_ambiguous",
            Self::Refused | Self::Conflict => "conflict",
            Self::Input => "config",
            Self::Unavailable | Self::Limited => "unavailable",
            Self::Denied => "denied",
        }
    }

    /// The class that decides where both apply: the one to act on first.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |class| match class {
            Self::Input => 0,
            Self::Conflict => 1,
            Self::Failed | Self::Ambiguous | Self::Refused => 2,
            Self::Denied => 3,
            Self::Unavailable | Self::Limited => 4,
        };
        if rank(other) < rank(self) {
            other
        } else {
            self
        }
    }
}

/// A text file that places refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// The path as a person knows it: relative to the root where the file lies beneath it.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file that the place is in.
    pub source: SourceText,
    /// The bytes meant.
    pub span: Span,
    /// What to say at the place itself; may be empty.
    pub label: String,
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

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Who has to act.
    pub class: Class,
    /// A stable lower-snake-case word.
    pub code: &'static str,
    /// What was asked for, and where; without secrets.
    pub subject: Option<String>,
    /// What failed.
    pub message: String,
    /// Where, if the error has a place in a file.
    pub place: Option<Box<Place>>,
    /// What else is known, a line each.
    pub notes: Vec<String>,
    /// What to do next.
    pub help: Option<String>,
    /// Whether something that people can see may have been done before.
    pub begun: bool,
}

impl Error {
    /// An error without a place.
    pub fn new(class: Class, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            class,
            code,
            subject: None,
            message: message.into(),
            place: None,
            notes: Vec::new(),
            help: None,
            begun: false,
        }
    }

    /// An error about `subject`, with the code of its class.
    pub fn about(class: Class, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..Self::new(class, class.code(), message)
        }
    }

    /// `subject` did not answer, or with something that cannot be used.
    pub fn unavailable(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::about(Class::Unavailable, subject, message)
    }

    /// A failed check.
    pub fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Failed, code, message)
    }

    /// Malformed input.
    pub fn input(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Input, code, message)
    }

    /// A failure of the disk or the system.
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(Class::Unavailable, "io", message)
    }

    /// What failed, and behind it in parentheses what was asked for: evidence of a check.
    pub fn evidence(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{} ({subject})", self.message),
            None => self.message.clone(),
        }
    }

    /// What failed with what was asked for, but without the place.
    pub fn text(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{subject}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// What to do next, and that a next run goes on from what this one began.
    pub fn remedy(&self) -> Option<String> {
        const BEGUN: &str = "what was begun stays, and the next run goes on from there";
        match (&self.help, self.begun) {
            (Some(help), true) => Some(format!("{help}; {BEGUN}")),
            (None, true) => Some(BEGUN.to_owned()),
            (help, false) => help.clone(),
        }
    }

    /// The same error with another class, and the code of that class.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        Self {
            class,
            code: class.code(),
            ..self
        }
    }

    /// The same error with what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same error at a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            let (line, column) = place.line_column();
            write!(f, "{}:{line}:{column}: ", place.source.name)?;
        }
        f.write_str(&self.text())
    }
}

impl std::error::Error for Error {}

/// Why a run could not do its work; at least one error.
#[derive(Debug, Clone)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// A failure of the disk or the system.
    pub fn io(message: impl Into<String>) -> Self {
        Error::io(message).into()
    }

    /// The class that decides.
    pub fn class(&self) -> Class {
        let classes = self.0.iter().map(|error| error.class);
        // What any other class outranks.
        classes.fold(Class::Unavailable, Class::worse)
    }

    /// The errors with each cause once: those that differ by what was asked for alone become one
    /// error whose notes name all of it.
    pub fn by_cause(&self) -> Vec<Error> {
        let mut causes: Vec<Error> = Vec::new();
        for error in &self.0 {
            let same = |other: &&mut Error| {
                let other = Error {
                    subject: error.subject.clone(),
                    notes: error.notes.clone(),
                    ..(*other).clone()
                };
                error.subject.is_some() && other == *error
            };
            match causes.iter_mut().find(same) {
                Some(cause) => {
                    cause.notes.extend(cause.subject.take());
                    cause.notes.extend(error.subject.clone());
                    cause.notes.extend(error.notes.clone());
                }
                None => causes.push(error.clone()),
            }
        }
        causes
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl From<&Error> for Errors {
    fn from(error: &Error) -> Self {
        error.clone().into()
    }
}

impl From<Vec<Error>> for Errors {
    fn from(errors: Vec<Error>) -> Self {
        assert!(!errors.is_empty(), "a failure without an error");
        Self(errors)
    }
}

impl Extend<Error> for Errors {
    fn extend<I: IntoIterator<Item = Error>>(&mut self, errors: I) {
        self.0.extend(errors);
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Errors {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_cause_are_one_error_that_names_every_subject() {
        let refused = |subject: &str| Error::unavailable(subject, "refused").help("retry");
        let other = Error::unavailable("c", "refused").help("log in");
        let errors = Errors::from(vec![
            refused("a"),
            other.clone(),
            refused("b"),
            refused("d"),
            Error::io("full"),
            Error::io("full"),
        ]);
        let causes = errors.by_cause();
        assert_eq!(
            causes[0],
            Error {
                subject: None,
                notes: ["a", "b", "d"].map(str::to_owned).to_vec(),
                ..refused("")
            }
        );
        assert_eq!(causes[1..], [other, Error::io("full"), Error::io("full")]);
    }

    #[test]
    fn the_class_to_act_on_first_decides() {
        use Class::{Conflict, Denied, Failed, Input, Unavailable};
        let order = [Input, Conflict, Failed, Denied, Unavailable];
        for (at, first) in order.iter().enumerate() {
            for second in &order[at..] {
                assert_eq!(first.worse(*second), *first);
                assert_eq!(second.worse(*first), *first);
            }
        }
        assert_eq!(order.map(Class::exit_code), [2, 5, 1, 4, 3]);
    }
}
