//! Why nothing, or nothing more, is deleted.

use crate::{files::ReadError, forge, git::GitError, registry};

/// A reason not to delete, for the person who has to act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Who has to do something.
    pub kind: Kind,
    /// A stable word for it.
    pub code: &'static str,
    /// What is the matter.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// Something that a person should know and that refuses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A stable word for it.
    pub code: &'static str,
    /// What is the matter.
    pub detail: String,
}

/// Who has to do something about a [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It may be better later, or after a fetch.
    Later,
    /// A person has to look.
    Failed,
    /// Credentials, permissions, or a registry that does not delete.
    Denied,
    /// What the configuration names is not there.
    Input,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// What may be better later.
    pub fn later(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Later, code, message)
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl From<registry::Error> for Refusal {
    fn from(error: registry::Error) -> Self {
        let (kind, code) = match error.kind {
            registry::ErrorKind::Unavailable => (Kind::Later, "unavailable"),
            registry::ErrorKind::Denied => (Kind::Denied, "denied"),
            registry::ErrorKind::Ambiguous => (Kind::Failed, "manifest_ambiguous"),
        };
        Self {
            kind,
            code,
            message: error.to_string(),
            hint: error.hint,
        }
    }
}

impl From<forge::Error> for Refusal {
    fn from(error: forge::Error) -> Self {
        let (kind, code) = match error.kind {
            forge::ErrorKind::Unavailable | forge::ErrorKind::Limited => {
                (Kind::Later, "unavailable")
            }
            forge::ErrorKind::Denied => (Kind::Denied, "denied"),
            forge::ErrorKind::Misconfigured => (Kind::Input, "config"),
            forge::ErrorKind::Conflict | forge::ErrorKind::Refused => (Kind::Failed, "conflict"),
        };
        Self {
            kind,
            code,
            message: error.to_string(),
            hint: error.hint,
        }
    }
}

impl From<GitError> for Refusal {
    fn from(error: GitError) -> Self {
        Self::later("unavailable", format!("git history: {error}")).hint(error.hint())
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::later("io", error.to_string())
    }
}
