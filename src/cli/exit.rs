//! Exit codes: public, and decided in one place.

use crate::{
    config::Problem,
    files::ReadError,
    forge,
    registry::{self, ErrorKind},
};

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// 0: done, or nothing to do.
    Done,
    /// 1: a check failed; nothing was changed.
    Failed,
    /// 2: usage, configuration, contract or other malformed input of ours.
    Input,
    /// 3: registry, forge, git or disk did not answer, or with bytes that don't verify.
    Unavailable,
    /// 4: credentials or permissions.
    Denied,
    /// 5: another run, a journal that can't be resolved alone, somebody else's change.
    Conflict,
}

impl Exit {
    /// The number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Input => 2,
            Self::Unavailable => 3,
            Self::Denied => 4,
            Self::Conflict => 5,
        }
    }

    /// The one that counts when both apply.
    pub(super) fn worse(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Input => 0,
            Self::Conflict => 1,
            Self::Failed => 2,
            Self::Denied => 3,
            Self::Unavailable => 4,
            Self::Done => 5,
        };
        if rank(other) < rank(self) {
            other
        } else {
            self
        }
    }
}

/// Why a run could not do its work, for the person who has to act.
#[derive(Debug)]
pub(super) struct Fault {
    /// How the run ends.
    pub(super) exit: Exit,
    /// What is wrong; at least one.
    pub(super) problems: Vec<Problem>,
}

impl Fault {
    /// Malformed input.
    pub(super) fn input(problem: Problem) -> Self {
        Self {
            exit: Exit::Input,
            problems: vec![problem],
        }
    }

    /// The disk did not do what it should.
    pub(super) fn io(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Unavailable,
            problems: vec![Problem::new("io", message)],
        }
    }
}

impl From<Vec<Problem>> for Fault {
    fn from(problems: Vec<Problem>) -> Self {
        Self {
            exit: Exit::Input,
            problems,
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::io(error.to_string())
    }
}

impl From<&registry::Error> for Fault {
    fn from(error: &registry::Error) -> Self {
        let (exit, code) = match error.kind {
            ErrorKind::Unavailable => (Exit::Unavailable, "unavailable"),
            ErrorKind::Denied => (Exit::Denied, "denied"),
            ErrorKind::Ambiguous => (Exit::Failed, "manifest_ambiguous"),
        };
        let mut problem = Problem::new(code, error.to_string());
        problem.hint.clone_from(&error.hint);
        Self {
            exit,
            problems: vec![problem],
        }
    }
}

impl From<forge::Error> for Fault {
    fn from(error: forge::Error) -> Self {
        let (exit, code) = match error.kind {
            forge::ErrorKind::Unavailable | forge::ErrorKind::Limited => {
                (Exit::Unavailable, "unavailable")
            }
            forge::ErrorKind::Denied => (Exit::Denied, "denied"),
            forge::ErrorKind::Conflict => (Exit::Conflict, "conflict"),
            forge::ErrorKind::Refused => (Exit::Failed, "conflict"),
            forge::ErrorKind::Misconfigured => (Exit::Input, "config"),
        };
        let mut problem = Problem::new(code, error.to_string());
        let begun = error
            .begun
            .then(|| "what was begun stays, and the next run goes on from there".to_owned());
        problem.hint = [error.hint, begun]
            .into_iter()
            .flatten()
            .reduce(|hint, begun| format!("{hint}; {begun}"));
        Self {
            exit,
            problems: vec![problem],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_the_one_to_act_on_first_counts() {
        use Exit::{Conflict, Denied, Done, Failed, Input, Unavailable};
        let order = [Input, Conflict, Failed, Denied, Unavailable, Done];
        for (at, first) in order.iter().enumerate() {
            for second in &order[at..] {
                assert_eq!(first.worse(*second), *first);
                assert_eq!(second.worse(*first), *first);
            }
        }
        assert_eq!(order.map(Exit::code), [2, 5, 1, 4, 3, 0]);
    }
}
