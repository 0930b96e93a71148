//! Why a registry gave no usable answer, in words.

use std::time::Duration;

use reqwest::StatusCode;

use super::SHOWN;
use crate::{
    error::{Class, Error},
    http::{Cause, Failure, Network, Stage, Stop, error_body},
    untrusted::Secrets,
};

const ROOTS_HINT: &str = "a registry with a certificate of its own needs REPIN_CA_FILE=FILE.pem; \
                          one without TLS is read by `--source PREFIX=http://HOST`";

/// Why a request got no usable answer; what was asked for is added by the caller.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) kind: Class,
    pub(super) why: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn unavailable(why: impl Into<String>) -> Self {
        Self {
            kind: Class::Unavailable,
            why: why.into(),
            hint: None,
        }
    }

    pub(super) fn denied(why: impl Into<String>) -> Self {
        Self {
            kind: Class::Denied,
            why: why.into(),
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
            Cause::NoClient(why) => Self::unavailable(why).hint(ROOTS_HINT),
            Cause::Status { status, body } => {
                Self::unavailable(status_text(*status, body, secrets))
            }
            Cause::Network(network) => Self::below_http(network, secrets),
            Cause::Stalled(progress) => Self::unavailable(format!(
                "no answer, or no more of it, for {}",
                seconds(*progress)
            ))
            .hint("REPIN_HTTP_TIMEOUT=60s, for example, waits longer"),
            Cause::Overdue(whole) => {
                Self::unavailable(format!("it was not finished after {}", seconds(*whole)))
            }
            Cause::TooLarge(max) => Self::unavailable(format!("it has more than {max} bytes")),
            Cause::Compressed => {
                Self::unavailable("it is compressed (Content-Encoding), which was not asked for")
            }
            Cause::Redirect(why) => Self::unavailable(why),
        }
    }

    /// A certificate does not get better by asking again.
    fn below_http(network: &Network, secrets: &Secrets) -> Self {
        if let Some(tls) = &network.tls {
            let why = format!("TLS failed: {}", secrets.clean(tls, SHOWN));
            return Self::unavailable(why).hint(ROOTS_HINT);
        }
        let detail = secrets.clean(network.detail.as_deref().unwrap_or_default(), SHOWN);
        match network.stage {
            Stage::Connecting => Self::unavailable(format!("can't connect: {detail}"))
                .hint("is the host name right, and is the registry up?"),
            Stage::Connected => Self::unavailable(format!("the connection broke: {detail}")),
        }
    }

    /// The same with why there was no further attempt.
    pub(super) fn stopped(self, stop: Stop) -> Self {
        let why = match stop {
            Stop::Final => return self,
            Stop::LongWait { asked, longest } => format!(
                "{}; it asks to wait {} s, longer than repin does ({} s)",
                self.why,
                asked.as_secs(),
                longest.as_secs()
            ),
            Stop::PastDeadline { wait, .. } => format!(
                "{}; it asks to wait {} s, longer than there is time for",
                self.why,
                wait.as_secs()
            ),
            Stop::Attempts(made) => format!("{} (tried {})", self.why, times(made)),
            Stop::Deadline(made) => format!(
                "{} (tried {}, and it took too long to go on)",
                self.why,
                times(made)
            ),
        };
        Self { why, ..self }
    }

    /// The error, once it is known what was asked for.
    pub(super) fn about(self, what: &str) -> Error {
        Error {
            help: self.hint,
            ..Error::about(self.kind, what, self.why)
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
    fn why_there_is_no_further_attempt_is_said() {
        let (asked, longest) = (Duration::from_secs(61), Duration::from_secs(60));
        for (stop, why) in [
            (Stop::Final, "HTTP 503"),
            (Stop::Attempts(1), "HTTP 503 (tried once)"),
            (Stop::Attempts(5), "HTTP 503 (tried 5 times)"),
            (
                Stop::Deadline(2),
                "HTTP 503 (tried 2 times, and it took too long to go on)",
            ),
            (
                Stop::LongWait { asked, longest },
                "HTTP 503; it asks to wait 61 s, longer than repin does (60 s)",
            ),
        ] {
            assert_eq!(Fault::unavailable("HTTP 503").stopped(stop).why, why);
        }
    }
}
