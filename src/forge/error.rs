//! Why a forge did not do what it was asked for.

/// What was asked for, what happened, and what to do next; without secrets.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Error {
    /// Who has to do something about it.
    pub kind: ErrorKind,
    /// What was asked for, and where.
    pub what: String,
    /// What happened.
    pub why: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Whether something that people can see may have been done before.
    pub begun: bool,
}

/// Who has to do something about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No answer, or one that can't be used: try again later.
    Unavailable,
    /// The forge limits requests for longer than this run may wait; nothing was done.
    Limited,
    /// Credentials or permissions.
    Denied,
    /// Somebody else's work is in the way.
    Conflict,
    /// A person or a rule of the repository said no.
    Refused,
    /// What the configuration names is not there.
    Misconfigured,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            why: why.into(),
            hint: None,
            begun: false,
        }
    }

    /// No answer, or one that can't be used.
    pub fn unavailable(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, what, why)
    }

    /// The same error with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}
