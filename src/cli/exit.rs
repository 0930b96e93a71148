//! How a run ends.

use crate::error::{Class, Errors};

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Not done; the class says who must act.
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

    /// The exit that decides if both apply.
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
