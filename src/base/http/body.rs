//! Response bodies, limited in size and time.

use std::time::Duration;

use reqwest::Response;
use tokio::sync::OwnedSemaphorePermit;

use super::{AttemptError, Cause, Network, RetryAdvice, failure::LogRecord, policy::TimeBudget};

/// The body of a [`super::Reply`].
#[derive(Debug)]
pub(crate) enum Body {
    Complete(Vec<u8>),
    Open(Box<OpenBody>),
}

/// A body that is still being received. It occupies one of its host's request slots.
#[derive(Debug)]
pub(crate) struct OpenBody {
    pub(super) response: Response,
    pub(super) budget: TimeBudget,
    pub(super) slot: OwnedSemaphorePermit,
    pub(super) after_tls_failure: RetryAdvice,
    pub(super) record: LogRecord,
}

impl OpenBody {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, AttemptError> {
        let chunk = match self.budget.run(self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => {
                return Err(self.failed(network_error(&error, self.after_tls_failure)));
            }
            Err(timeout) => return Err(self.failed(timeout.into())),
        };
        let bytes = chunk.map(Vec::from);
        self.record.add_bytes(bytes.as_ref().map_or(0, Vec::len));
        Ok(bytes)
    }

    /// Logs the error and returns it.
    pub(super) fn failed(&mut self, error: AttemptError) -> AttemptError {
        self.record.set_failure(&error.cause);
        error
    }

    /// The length that the server states.
    pub(crate) fn stated_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    pub(crate) fn time_left(&self) -> Duration {
        self.budget.time_left()
    }

    /// Limits the remaining body to the remaining time of an earlier attempt.
    pub(crate) fn limit_time(&mut self, left: Duration) {
        self.budget.limit(left);
    }

    /// Drops the response and frees its slot; returns the remaining time.
    pub(super) fn close(self) -> TimeBudget {
        drop(self.slot);
        self.budget
    }

    /// The complete body, if it has at most `max` bytes.
    pub(super) async fn read_all(mut self, max: u64) -> Result<Vec<u8>, AttemptError> {
        if self.stated_length().is_some_and(|length| length > max) {
            return Err(self.failed(Cause::TooLarge(max).without_retry()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next().await? {
            if bytes.len() as u64 + chunk.len() as u64 > max {
                return Err(self.failed(Cause::TooLarge(max).without_retry()));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The first bytes of the body; an interrupted connection is not an error.
    pub(super) async fn read_prefix(&mut self, max: u64, time: Duration) -> Vec<u8> {
        let mut budget = TimeBudget::new(time, time);
        let mut bytes = Vec::new();
        while let Ok(Ok(Some(chunk))) = budget.run(self.response.chunk()).await {
            self.record.add_bytes(chunk.len());
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > max {
                break;
            }
        }
        bytes
    }
}

/// The attempt's error for an error of the HTTP library.
pub(super) fn network_error(
    error: &reqwest::Error,
    after_tls_failure: RetryAdvice,
) -> AttemptError {
    let network = Network::from_error(error);
    let retry = if network.tls.is_some() {
        after_tls_failure
    } else {
        RetryAdvice::Later
    };
    Cause::Network(network).with_retry(retry)
}
