//! The result of a run, which determines the exit code.

use crate::base::error::{Class, Errors};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Success, or nothing to do.
    Done,
    Failed(Class),
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed(class) => class.exit_code(),
        }
    }

    /// The exit that determines the exit code if both apply.
    pub(super) fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Failed(one), Self::Failed(other)) => Self::Failed(one.worse(other)),
            (Self::Done, exit) | (exit, Self::Done) => exit,
        }
    }
}

impl From<&Errors> for Exit {
    fn from(errors: &Errors) -> Self {
        Self::Failed(errors.class())
    }
}
