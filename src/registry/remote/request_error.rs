//! Why a registry gave no usable answer, in words.

use std::time::Duration;

use reqwest::StatusCode;

use super::SHOWN;
use crate::{
    error::{Class, Error},
    http::{Cause, Failure, Network, Stage, StopReason, TlsFailure, error_body},
    untrusted::Secrets,
};

const ROOTS_HINT: &str = "for a private certificate authority, set REPIN_CA_FILE=FILE.pem";

const NO_TLS_HINT: &str = "for a plain HTTP registry, use `--source PREFIX=http://HOST`";

/// Why a request got no usable answer; what was requested is added by the caller.
#[derive(Debug, Clone)]
pub(super) struct RequestError {
    pub(super) kind: Class,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

impl RequestError {
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self {
            kind: Class::Unavailable,
            reason: reason.into(),
            hint: None,
        }
    }

    pub(super) fn denied(reason: impl Into<String>) -> Self {
        Self {
            kind: Class::Denied,
            reason: reason.into(),
            hint: None,
        }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// A request that was given up, without secrets.
    pub(super) fn of(failure: &Failure, secrets: &Secrets) -> Self {
        Self::caused(&failure.cause, secrets).stopped(failure.stop)
    }

    /// What happened to an attempt, without secrets.
    pub(super) fn caused(cause: &Cause, secrets: &Secrets) -> Self {
        match cause {
            Cause::NoClient(reason) => Self::unavailable(reason).hint(ROOTS_HINT),
            Cause::Status { status, body } => {
                Self::unavailable(status_text(*status, body, secrets))
            }
            Cause::Network(network) => Self::below_http(network, secrets),
            Cause::Stalled(progress) => {
                Self::unavailable(format!("no data received for {}", seconds(*progress)))
                    .hint("to wait longer, set REPIN_HTTP_TIMEOUT, for example to 60s")
            }
            Cause::Overdue(whole) => Self::unavailable(format!(
                "the request was not finished after {}",
                seconds(*whole)
            )),
            Cause::TooLarge(max) => {
                Self::unavailable(format!("the response has more than {max} bytes"))
            }
            Cause::Compressed => Self::unavailable(
                "the response is compressed (Content-Encoding) without being requested",
            ),
            Cause::Parked => Self::unavailable("it was not sent"),
            Cause::Redirect(reason) => Self::unavailable(reason),
        }
    }

    /// A certificate does not get better by asking again.
    fn below_http(network: &Network, secrets: &Secrets) -> Self {
        match &network.tls {
            Some(TlsFailure::NotTls) => {
                return Self::unavailable("the server does not speak TLS").hint(NO_TLS_HINT);
            }
            Some(TlsFailure::Other(tls)) => {
                let reason = format!("TLS failed: {}", secrets.clean(tls, SHOWN));
                return Self::unavailable(reason).hint(ROOTS_HINT);
            }
            None => {}
        }
        let detail = secrets.clean(network.detail.as_deref().unwrap_or_default(), SHOWN);
        match network.stage {
            Stage::Connecting => Self::unavailable(format!("cannot connect: {detail}"))
                .hint("check the host name, and that the registry is running"),
            Stage::Connected => {
                Self::unavailable(format!("the connection was interrupted: {detail}"))
            }
        }
    }

    /// The same with why there was no further attempt.
    pub(super) fn stopped(self, stop: StopReason) -> Self {
        let reason = match stop {
            StopReason::Final => return self,
            StopReason::LongWait { asked, longest } => format!(
                "{}; the server asked to wait {} s; repin waits at most {} s",
                self.reason,
                asked.as_secs(),
                longest.as_secs()
            ),
            StopReason::PastDeadline { wait, .. } => format!(
                "{}; the server asked to wait {} s, past the deadline",
                self.reason,
                wait.as_secs()
            ),
            StopReason::Attempts(made) => format!("{} (tried {})", self.reason, times(made)),
            StopReason::Deadline(made) => {
                format!(
                    "{} (tried {}, until the time limit)",
                    self.reason,
                    times(made)
                )
            }
        };
        Self { reason, ..self }
    }

    /// The error, once it is known what was requested.
    pub(super) fn about(self, what: &str) -> Error {
        Error {
            help: self.hint,
            ..Error::about(self.kind, what, self.reason)
        }
    }
}

fn times(count: u32) -> String {
    if count == 1 {
        "once".to_owned()
    } else {
        format!("{count} times")
    }
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{duration:?}")
    }
}

/// What a status and the body of an error say, without secrets.
pub(super) fn status_text(status: StatusCode, body: &[u8], secrets: &Secrets) -> String {
    let reason = status
        .canonical_reason()
        .map(|reason| format!(" {reason}"))
        .unwrap_or_default();
    let said = error_body::of_registry(body)
        .map(|said| secrets.clean(&said, SHOWN))
        .filter(|said| !said.is_empty());
    let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
    format!("HTTP {}{reason}{said}", status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_for_no_further_attempt_is_reported() {
        let (asked, longest) = (Duration::from_secs(61), Duration::from_secs(60));
        for (stop, reason) in [
            (StopReason::Final, "HTTP 503"),
            (StopReason::Attempts(1), "HTTP 503 (tried once)"),
            (StopReason::Attempts(5), "HTTP 503 (tried 5 times)"),
            (
                StopReason::Deadline(2),
                "HTTP 503 (tried 2 times, until the time limit)",
            ),
            (
                StopReason::LongWait { asked, longest },
                "HTTP 503; the server asked to wait 61 s; repin waits at most 60 s",
            ),
        ] {
            assert_eq!(
                RequestError::unavailable("HTTP 503").stopped(stop).reason,
                reason
            );
        }
    }
}
