//! The outcome of a repository, with its reasons.
//!
//! Panics in the work on one repository of a fleet, which must not end the work on the others.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use crate::{
    app::{
        fleet::{FleetOutcome, LineCheck, PinFacts, Report},
        report::json::{ErrorRow, PullRequest},
        workflow::{Stop, base_kept_moving},
    },
    base::error::{Class, Code, Error, Errors},
    core::{
        checks::{Check, Stopped, any_failed},
        plan::PlanError,
    },
};

impl Report {
    /// The report of a repository that needs no action.
    pub(super) fn done(outcome: FleetOutcome) -> Self {
        Self {
            outcome,
            exit: 0,
            pins: PinFacts::default(),
            pull_request: None,
            checks: Vec::new(),
            error: None,
        }
    }

    /// The report of a failed repository.
    pub(super) fn failed(errors: impl Into<Errors>) -> Self {
        let errors = errors.into();
        Self::done(FleetOutcome::from_failure(&errors)).because(errors)
    }

    /// The report of a repository with failed checks.
    pub(super) fn refused(checks: &[Check]) -> Self {
        Self {
            exit: Class::Failed.exit_code(),
            checks: LineCheck::failed(checks),
            ..Self::done(FleetOutcome::Refused)
        }
    }

    /// Adds an error that requires action.
    pub(super) fn because(self, errors: impl Into<Errors>) -> Self {
        let errors = errors.into();
        Self {
            exit: errors.class().exit_code(),
            error: ErrorRow::worst(&errors),
            ..self
        }
    }

    /// Adds an error that requires no action.
    pub(super) fn noting(self, error: impl Into<Errors>) -> Self {
        Self {
            error: ErrorRow::worst(&error.into()),
            ..self
        }
    }

    /// The message of the error.
    pub(super) fn reason(&self) -> Option<String> {
        Some(self.error.as_ref()?.message.clone())
    }

    pub(super) fn with_pins(self, pins: PinFacts) -> Self {
        Self { pins, ..self }
    }

    pub(super) fn with_pull(self, pull: PullRequest) -> Self {
        Self {
            pull_request: Some(pull),
            ..self
        }
    }
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        Self::failed(error)
    }
}

impl From<Errors> for Report {
    fn from(errors: Errors) -> Self {
        Self::failed(errors)
    }
}

impl From<PlanError> for Report {
    fn from(error: PlanError) -> Self {
        Stop::from(error).into()
    }
}

impl From<Stop> for Report {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Chain(Stopped { checks, errors }) => match errors.as_slice() {
                [_, ..] if !any_failed(&checks) => Self::failed(errors),
                _ => Self::refused(&checks),
            },
            Stop::Count(checks) => Self::refused(&checks),
            Stop::Unconfigured(reason) => {
                Self::failed(Error::new(Class::Denied, Code::DENIED, reason))
            }
            Stop::BaseMoved => Self::failed(base_kept_moving()),
            Stop::Errors(errors) => Self::failed(errors),
        }
    }
}

/// Does the work, and returns an internal error if it panics. The panic is also reported on standard error,
/// like every panic.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    // The work of one repository shares counters and memory with the others, and both stay valid.
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Error::internal())
}

/// Does asynchronous work, and returns an internal error if it panics.
pub(super) async fn catch_async<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let mut work = pin!(work);
    poll_fn(|context| match catch(|| work.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::core::checks::{Check, Status};

    #[test]
    fn error_class_decides_outcome_and_exit_code() {
        for (class, outcome, exit) in [
            (Class::Failed, FleetOutcome::Refused, 1),
            (Class::Refused, FleetOutcome::Refused, 1),
            (Class::Input, FleetOutcome::Refused, 2),
            (Class::Unavailable, FleetOutcome::Unavailable, 3),
            (Class::Limited, FleetOutcome::Pending, 3),
            (Class::Denied, FleetOutcome::Denied, 4),
            (Class::Conflict, FleetOutcome::ForeignCommit, 5),
        ] {
            let report = Report::failed(Error::about(class, "it", "failed"));
            assert_eq!((report.outcome, report.exit), (outcome, exit), "{class:?}");
            assert!(report.error.unwrap().message.contains("it: failed"));
        }
        let both = vec![
            Error::about(Class::Limited, "a", "later"),
            Error::unavailable("b", "timeout"),
        ];
        assert_eq!(Report::failed(both).outcome, FleetOutcome::Unavailable);
    }

    #[test]
    fn failed_check_refuses_despite_outages() {
        let check = |status| Check::new(Code::STAGE_SOAK, status, "it");
        let outcome = |status, errors| {
            let checks = vec![check(status)];
            Report::from(Stop::Chain(Stopped { checks, errors })).outcome
        };
        let unavailable = || vec![Error::unavailable("a", "timeout")];
        assert_eq!(outcome(Status::Fail, unavailable()), FleetOutcome::Refused);
        assert_eq!(outcome(Status::Fail, Vec::new()), FleetOutcome::Refused);
        assert_eq!(
            outcome(Status::Pass, unavailable()),
            FleetOutcome::Unavailable
        );
    }

    #[tokio::test]
    async fn panic_is_an_error_of_one_repository() {
        let results = join_all((0..3).map(|number| {
            catch_async(async move {
                tokio::task::yield_now().await;
                assert_ne!(number, 1, "one panics");
                number
            })
        }))
        .await;
        assert_eq!(results, [Ok(0), Err(Error::internal()), Ok(2)]);
        assert_eq!(catch(|| 1), Ok(1));
    }
}
