//! Errors for the user who must act: one type for every layer.
//!
//! An [`Error`] states the failure, its location and the remedy; its [`Class`] determines who must
//! act, and the exit code. External text is escaped and redacted before it enters an error, or when
//! it is shown.
//!
//! The codes of checks, errors and lines of `repin doctor`, and their explanations.
//!
//! `src/base/codes.yaml` is the only list. The build script turns it into a constant for each code and
//! into one table, the source of `repin explain`, of `docs/reference.md` and of the `help:` line of
//! errors without specific help.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Who must act on an error; determines the exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A check failed: read the evidence.
    Failed,
    /// A response is ambiguous or contradicts itself.
    Ambiguous,
    /// A user or a rule of a forge refused.
    Refused,
    /// Usage, configuration, a contract or other input is malformed: fix the input.
    Input,
    /// A registry, a forge, git or a disk is unavailable, or returned bytes that do not verify: retry
    /// later.
    Unavailable,
    /// A registry returned bytes that are not those of their digest: never an occasion to skip them.
    WrongBytes,
    /// A registry reports that content which an index or a manifest lists is missing.
    MissingContent,
    /// A forge limits requests for longer than this run may wait. Returned before any change.
    Limited,
    /// Credentials or permissions are insufficient: fix them.
    Denied,
    /// Another process holds the lock, a journal needs a decision, or a branch has a foreign
    /// commit: resolve, then retry.
    Conflict,
}

impl Class {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed | Self::Ambiguous | Self::Refused => 1,
            Self::Input => 2,
            Self::Unavailable | Self::WrongBytes | Self::MissingContent | Self::Limited => 3,
            Self::Denied => 4,
            Self::Conflict => 5,
        }
    }

    /// The code of an error without a code of its own.
    fn code(self) -> Code {
        match self {
            Self::Failed => Code::FAILED,
            Self::Ambiguous => Code::MANIFEST_AMBIGUOUS,
            Self::Refused | Self::Conflict => Code::CONFLICT,
            Self::Input => Code::CONFIG,
            Self::Unavailable | Self::WrongBytes | Self::MissingContent | Self::Limited => {
                Code::UNAVAILABLE
            }
            Self::Denied => Code::DENIED,
        }
    }

    /// The class that decides if both apply: the one to act on first.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |class| match class {
            Self::Input => 0,
            Self::Conflict => 1,
            Self::Failed | Self::Ambiguous | Self::Refused => 2,
            Self::Denied => 3,
            Self::Unavailable | Self::WrongBytes | Self::MissingContent | Self::Limited => 4,
        };
        if rank(other) < rank(self) {
            other
        } else {
            self
        }
    }
}

/// A text file that locations refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// The path for messages: relative to the root if the file is inside it.
    pub name: String,
    /// The whole content.
    pub text: Arc<str>,
}

/// A range of bytes in a [`SourceText`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

/// A location in a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file that contains the location.
    pub source: SourceText,
    /// The range of bytes.
    pub span: Span,
    /// The label at the location; may be empty.
    pub label: String,
    /// Whether messages may show the text at the location. A configuration may refer to any file of the
    /// work tree, so messages about such a file show only the line and the column.
    pub quoted: bool,
}

impl Location {
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

/// A failure, with its location and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Who must act.
    pub class: Class,
    /// The failure, as a stable word.
    pub code: Code,
    /// The object of the failed operation, such as a URL without secrets.
    pub subject: Option<String>,
    /// The failure, in one sentence.
    pub message: String,
    /// The HTTP status of the response that failed.
    pub status: Option<u16>,
    /// The location in a file, if there is one.
    pub location: Option<Box<Location>>,
    /// Further facts, a line each.
    pub notes: Vec<String>,
    /// The remedy.
    pub help: Option<String>,
    /// Whether the run may have changed something visible before it failed.
    pub may_have_changed: bool,
}

impl Error {
    /// A panic in the work on one repository of a fleet.
    pub fn internal() -> Self {
        Self::new(Class::Unavailable, Code::INTERNAL, "internal error")
    }

    /// An error without a location.
    pub fn new(class: Class, code: Code, message: impl Into<String>) -> Self {
        Self {
            class,
            code,
            subject: None,
            message: message.into(),
            status: None,
            location: None,
            notes: Vec::new(),
            help: None,
            may_have_changed: false,
        }
    }

    /// An error about `subject`, with the code of its class.
    pub fn about(class: Class, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..Self::new(class, class.code(), message)
        }
    }

    /// An error about `subject`, which is unavailable or returned an unusable response.
    pub fn unavailable(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::about(Class::Unavailable, subject, message)
    }

    /// A failed check.
    pub fn failed(code: Code, message: impl Into<String>) -> Self {
        Self::new(Class::Failed, code, message)
    }

    /// Malformed input.
    pub fn input(code: Code, message: impl Into<String>) -> Self {
        Self::new(Class::Input, code, message)
    }

    /// A failure of the disk or the system.
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(Class::Unavailable, Code::IO, message)
    }

    /// The message with the subject in parentheses, as evidence of a check.
    pub fn evidence(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{} ({subject})", self.message),
            None => self.message.clone(),
        }
    }

    /// The subject and the message, without the location.
    pub fn text(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{subject}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// The remedy: the error's own help, or that of its code.
    pub fn remedy(&self) -> String {
        const BEGUN: &str = "the next run continues from what this run began";
        let help = self.help.clone().unwrap_or_else(|| self.code.help());
        if self.may_have_changed {
            format!("{help}; {BEGUN}")
        } else {
            help
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

    /// The same error with a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same error with the status of the response that failed.
    #[must_use]
    pub fn status(mut self, status: reqwest::StatusCode) -> Self {
        self.status = Some(status.as_u16());
        self
    }

    /// The same error at a location.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(Box::new(location));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            let (line, column) = location.line_column();
            write!(f, "{}:{line}:{column}: ", location.source.name)?;
        }
        f.write_str(&self.text())
    }
}

impl std::error::Error for Error {}

/// The errors that stopped a run; at least one.
#[derive(Debug, Clone)]
pub struct Errors(Vec<Error>);

/// A mistake in how the program was called.
pub(crate) fn usage(message: impl Into<String>) -> Errors {
    Errors::from(Error::input(Code::USAGE, message))
}

impl Errors {
    /// A failure of the disk or the system.
    pub fn io(message: impl Into<String>) -> Self {
        Error::io(message).into()
    }

    /// Whether the run may have changed something visible before it failed.
    pub fn may_have_changed(&self) -> bool {
        self.0.iter().any(|error| error.may_have_changed)
    }

    /// The class that decides the exit code.
    pub fn class(&self) -> Class {
        let classes = self.0.iter().map(|error| error.class);
        // Every other class outranks this one.
        classes.fold(Class::Unavailable, Class::worse)
    }

    /// The errors, one for each cause: errors that differ only by their subject become one error
    /// with the subjects as notes.
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

    /// An iterator over the errors.
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

/// A code: a public and stable word in lower snake case, with an entry in `src/base/codes.yaml`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

/// The meaning of a code, and the action that it requires.
#[derive(Debug)]
pub struct Explanation {
    /// The word of the code.
    pub code: &'static str,
    /// The subject that the code is listed under.
    pub section: &'static str,
    /// The reporter of the code.
    pub kind: Kind,
    /// The title of a passed check; `None` for a code that no check has.
    pub passed: Option<&'static str>,
    /// The exit codes of a run with this code only; 0 if it only warns or skips.
    pub exits: &'static [u8],
    /// The problem, in one sentence.
    pub summary: &'static str,
    /// The consequence, and the reason for a refusal.
    pub meaning: &'static str,
    /// The likely causes, the likeliest first.
    pub causes: &'static [&'static str],
    /// The action, as an imperative sentence.
    pub remedy: &'static str,
    /// A command that helps to find or remove the cause.
    pub example: &'static str,
    /// The previous name of the code.
    pub formerly: Option<&'static str>,
}

/// The reporter of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A check, which may also end a run before a chain of checks began.
    Check,
    /// An error of a run.
    Error,
    /// A line of `repin doctor`.
    Doctor,
}

include!(concat!(env!("OUT_DIR"), "/codes.rs"));

impl Code {
    /// The code with this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::all().find(|code| code.as_str() == word)
    }

    /// The code that had this word before it was renamed.
    pub fn renamed(word: &str) -> Option<Self> {
        Self::all().find(|code| code.explanation().formerly == Some(word))
    }

    /// Every code, by section.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map(Self).take(EXPLANATIONS.len())
    }

    /// The word of the code.
    pub fn as_str(self) -> &'static str {
        self.explanation().code
    }

    /// The title of a passed check.
    pub fn passed(self) -> &'static str {
        self.explanation().passed.unwrap_or(self.as_str())
    }

    /// The remedy as the text of a `help:` line: no capital, no full stop.
    pub fn help(self) -> String {
        let mut letters = self.explanation().remedy.trim_end_matches('.').chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        first.into_iter().chain(letters).collect()
    }

    /// The explanation of the code.
    pub fn explanation(self) -> &'static Explanation {
        &EXPLANATIONS[usize::from(self.0)]
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        let word = String::deserialize(text)?;
        // A set that an older build verified contains the former codes.
        let check = Self::of(&word)
            .or_else(|| Self::renamed(&word))
            .filter(|code| code.explanation().kind == Kind::Check);
        check.ok_or_else(|| de::Error::custom(format!("unknown code of a check `{word}`")))
    }
}

/// The explanations by section, in the order of `src/base/codes.yaml`.
pub(crate) fn sections() -> impl Iterator<Item = (&'static str, &'static [Explanation])> {
    EXPLANATIONS
        .chunk_by(|one, next| one.section == next.section)
        .map(|section| (section[0].section, section))
}

impl Kind {
    /// The word of the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Error => "error",
            Self::Doctor => "doctor",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn errors_of_several_subjects_become_one_error() {
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
    fn most_urgent_class_is_the_worst() {
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

    #[test]
    fn names_are_unique_and_former_names_are_free() {
        let explanations = || Code::all().map(Code::explanation);
        let former = explanations().filter_map(|entry| entry.formerly);
        let names: Vec<_> = explanations()
            .map(|entry| entry.code)
            .chain(former)
            .collect();
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert_eq!(Code::of("pin_count"), Some(Code::PIN_COUNT));
        assert_eq!(Code::of("nothing"), None);
    }

    #[test]
    fn former_name_of_a_check_is_read() {
        let code: Code = serde_json::from_str("\"enumeration_no_persona\"").unwrap();
        assert_eq!(code, Code::KINDS_ALL_EMPTY);
    }

    #[test]
    fn explanations_are_sentences_with_a_command() {
        for code in Code::all() {
            let found = code.explanation();
            let sentences = [found.summary, found.meaning];
            assert!(
                sentences
                    .iter()
                    .all(|text| text.ends_with('.') && text.len() > 20),
                "{code}"
            );
            assert!(!found.causes.is_empty(), "{code}");
            assert!(found.causes.iter().all(|cause| cause.len() > 15), "{code}");
            assert!(found.remedy.len() > 20, "{code}");
            assert!(
                found.example.starts_with("repin ") || found.example.starts_with("git "),
                "{code}"
            );
        }
    }
}
