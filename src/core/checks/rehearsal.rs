//! The verdict on the rehearsal of a rollback.

use super::{Check, any_failed};
use crate::base::{
    error::{Class, Error},
    text::words,
};

words! {
    /// Whether a rollback to a set would succeed.
    pub(crate) enum RehearsalVerdict {
        Ready = "ready",
        /// A check failed.
        Fails = "fails",
        /// A registry was unavailable or refused access, so that checks are missing.
        Unknown = "unknown",
    }
}

/// Judges the chain of a set: its checks, and the errors that prevented further checks.
pub(crate) fn judge_rehearsal(checks: &[Check], errors: &[Error]) -> RehearsalVerdict {
    let is_refused = |error: &Error| {
        !matches!(
            error.class,
            Class::Unavailable
                | Class::WrongBytes
                | Class::MissingContent
                | Class::Limited
                | Class::Denied
        )
    };
    if any_failed(checks) || errors.iter().any(is_refused) {
        RehearsalVerdict::Fails
    } else if errors.is_empty() {
        RehearsalVerdict::Ready
    } else {
        RehearsalVerdict::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::code::Code, core::checks::Status};

    #[test]
    fn failed_check_outranks_an_outage() {
        let check = |status| Check::new(Code::TAG_MISSING, status, "detail");
        let outage = |class| Error::about(class, "registry", "reason");
        for (checks, errors, verdict) in [
            (vec![], vec![], RehearsalVerdict::Ready),
            (
                vec![check(Status::Warn), check(Status::Skip)],
                vec![],
                RehearsalVerdict::Ready,
            ),
            (
                vec![check(Status::Pass)],
                vec![outage(Class::Unavailable)],
                RehearsalVerdict::Unknown,
            ),
            (
                vec![],
                vec![outage(Class::Denied)],
                RehearsalVerdict::Unknown,
            ),
            (
                vec![],
                vec![outage(Class::Limited), outage(Class::Input)],
                RehearsalVerdict::Fails,
            ),
            (
                vec![check(Status::Fail)],
                vec![outage(Class::Denied)],
                RehearsalVerdict::Fails,
            ),
        ] {
            assert_eq!(judge_rehearsal(&checks, &errors), verdict, "{errors:?}");
        }
    }
}
