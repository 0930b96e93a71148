//! How a run ends.

use crate::error::{Class, Error, Errors};

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Not done, and who has to act.
    Because(Class),
}

impl Exit {
    /// The exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Because(class) => class.exit_code(),
        }
    }

    /// The one that decides where both apply.
    pub(super) fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Because(one), Self::Because(other)) => Self::Because(one.worse(other)),
            (Self::Done, exit) | (exit, Self::Done) => exit,
        }
    }
}

impl From<&Errors> for Exit {
    fn from(errors: &Errors) -> Self {
        Self::Because(errors.class())
    }
}

/// A mistake in how the program was called.
pub(super) fn usage(message: impl Into<String>) -> Errors {
    Errors::from(Error::input("usage", message))
}
