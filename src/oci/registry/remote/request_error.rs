//! The errors of requests to registries.

use std::time::Duration;

use reqwest::StatusCode;

use super::MAX_MESSAGE;
use crate::base::{
    error::{Class, Error},
    http::{Cause, Failure, Network, Stage, StopReason, TlsFailure, error_body},
    untrusted::Secrets,
};

const ROOTS_HINT: &str = "for a private certificate authority, set REPIN_CA_FILE=FILE.pem";

const NO_TLS_HINT: &str = "for a plain HTTP registry, use `--source PREFIX=http://HOST`";

/// The error of a request; [`RequestError::about`] adds the name of the requested document.
#[derive(Debug, Clone)]
pub(super) struct RequestError {
    pub(super) class: Class,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// Whether the response had more bytes than the request allowed.
    pub(super) is_too_large: bool,
}

impl RequestError {
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::from_class(Class::Unavailable, reason)
    }

    pub(super) fn denied(reason: impl Into<String>) -> Self {
        Self::from_class(Class::Denied, reason)
    }

    pub(super) fn wrong_bytes(reason: impl Into<String>) -> Self {
        Self::from_class(Class::WrongBytes, reason)
    }

    pub(super) fn missing_content(reason: impl Into<String>) -> Self {
        Self::from_class(Class::MissingContent, reason)
    }

    fn from_class(class: Class, reason: impl Into<String>) -> Self {
        Self {
            class,
            reason: reason.into(),
            hint: None,
            is_too_large: false,
        }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The error of a failed request, without secrets.
    pub(super) fn from_failure(failure: &Failure, secrets: &Secrets) -> Self {
        Self::from_cause(&failure.cause, secrets).with_stop(failure.stop)
    }

    /// The error of a failed attempt, without secrets.
    pub(super) fn from_cause(cause: &Cause, secrets: &Secrets) -> Self {
        match cause {
            Cause::NoClient(reason) => Self::unavailable(reason).hint(ROOTS_HINT),
            Cause::Status { status, body } => {
                Self::unavailable(status_text(*status, body, secrets))
            }
            Cause::Network(network) => Self::from_network(network, secrets),
            Cause::Stalled(limit) => {
                Self::unavailable(format!("no data received for {}", seconds(*limit)))
                    .hint("to wait longer, set REPIN_HTTP_TIMEOUT, for example to 60s")
            }
            Cause::Overdue(limit) => Self::unavailable(format!(
                "the request was not finished after {}",
                seconds(*limit)
            )),
            Cause::TooLarge(max) => Self {
                is_too_large: true,
                ..Self::unavailable(format!("the response has more than {max} bytes"))
            },
            Cause::Compressed => Self::unavailable(
                "the response is compressed (Content-Encoding) without being requested",
            ),
            Cause::Parked => Self::unavailable("it was not sent"),
            Cause::Redirect(reason) => Self::unavailable(reason),
        }
    }

    fn from_network(network: &Network, secrets: &Secrets) -> Self {
        match &network.tls {
            Some(TlsFailure::NotTls) => {
                return Self::unavailable("the server does not speak TLS").hint(NO_TLS_HINT);
            }
            Some(TlsFailure::Other(tls)) => {
                let reason = format!("TLS failed: {}", secrets.clean(tls, MAX_MESSAGE));
                return Self::unavailable(reason).hint(ROOTS_HINT);
            }
            None => {}
        }
        let detail = secrets.clean(network.detail.as_deref().unwrap_or_default(), MAX_MESSAGE);
        match network.stage {
            Stage::Connecting => Self::unavailable(format!("cannot connect: {detail}"))
                .hint("check the host name, and that the registry is running"),
            Stage::Connected => {
                Self::unavailable(format!("the connection was interrupted: {detail}"))
            }
        }
    }

    /// Adds the reason that there was no further attempt.
    pub(super) fn with_stop(self, stop: StopReason) -> Self {
        let reason = match stop {
            StopReason::Final => return self,
            StopReason::LongWait { requested, longest } => format!(
                "{}; the server asked to wait {} s; repin waits at most {} s",
                self.reason,
                requested.as_secs(),
                longest.as_secs()
            ),
            StopReason::PastDeadline { wait, .. } => format!(
                "{}; the server asked to wait {} s, past the deadline",
                self.reason,
                wait.as_secs()
            ),
            StopReason::Attempts(attempts) => {
                format!("{} (tried {})", self.reason, times(attempts))
            }
            StopReason::Deadline(attempts) => format!(
                "{} (tried {}, until the time limit)",
                self.reason,
                times(attempts)
            ),
        };
        Self { reason, ..self }
    }

    /// The error for the document `name`.
    pub(super) fn about(self, name: &str) -> Error {
        Error {
            help: self.hint,
            ..Error::about(self.class, name, self.reason)
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

/// A status and the error message in the body, without secrets.
pub(super) fn status_text(status: StatusCode, body: &[u8], secrets: &Secrets) -> String {
    let mut text = format!("HTTP {}", status.as_u16());
    if let Some(reason) = status.canonical_reason() {
        text.push(' ');
        text.push_str(reason);
    }
    let message = error_body::registry_message(body).unwrap_or_default();
    let message = secrets.clean(&message, MAX_MESSAGE);
    if !message.is_empty() {
        text.extend([" (", &message, ")"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_to_stop_is_reported() {
        let (requested, longest) = (Duration::from_secs(61), Duration::from_secs(60));
        for (stop, reason) in [
            (StopReason::Final, "HTTP 503"),
            (StopReason::Attempts(1), "HTTP 503 (tried once)"),
            (StopReason::Attempts(5), "HTTP 503 (tried 5 times)"),
            (
                StopReason::Deadline(2),
                "HTTP 503 (tried 2 times, until the time limit)",
            ),
            (
                StopReason::LongWait { requested, longest },
                "HTTP 503; the server asked to wait 61 s; repin waits at most 60 s",
            ),
        ] {
            assert_eq!(
                RequestError::unavailable("HTTP 503").with_stop(stop).reason,
                reason
            );
        }
    }
}
