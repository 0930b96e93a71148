//! Bodies of answers: within their caps and their time.

use std::time::Duration;

use reqwest::Response;
use tokio::sync::OwnedSemaphorePermit;

use super::{AttemptError, Cause, Network, RetryAdvice, budget::Budget, log::Entry};

/// The body of a [`super::Reply`].
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Read(Vec<u8>),
    /// Still to be read.
    Open(Box<Open>),
}

/// A body in progress, which holds one of its host's places.
#[derive(Debug)]
pub struct Open {
    pub(super) response: Response,
    pub(super) budget: Budget,
    pub(super) place: OwnedSemaphorePermit,
    pub(super) after_tls_failure: RetryAdvice,
    pub(super) entry: Entry,
}

impl Open {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, AttemptError> {
        let chunk = match self.budget.run(self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => return Err(self.failed(network(&error, self.after_tls_failure))),
            Err(timeout) => return Err(self.failed(timeout.into())),
        };
        let chunk = chunk.map(Vec::from);
        self.entry.received(chunk.as_ref().map_or(0, Vec::len));
        Ok(chunk)
    }

    pub(super) fn failed(&mut self, error: AttemptError) -> AttemptError {
        self.entry.failed(&error.cause);
        error
    }

    /// How many bytes it says it has.
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// How much of its time is left.
    pub fn left(&self) -> Duration {
        self.budget.left()
    }

    /// Takes over what another attempt left of the time.
    pub fn limit(&mut self, left: Duration) {
        self.budget.limit(left);
    }

    /// Ends it, and gives its place back; the time that is left.
    pub(super) fn end(self) -> Budget {
        drop(self.place);
        self.budget
    }

    /// All of a body, if it has at most `max` bytes.
    pub(super) async fn all(mut self, max: u64) -> Result<Vec<u8>, AttemptError> {
        if self.length().is_some_and(|length| length > max) {
            return Err(self.failed(Cause::TooLarge(max).never()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next().await? {
            if bytes.len() as u64 + chunk.len() as u64 > max {
                return Err(self.failed(Cause::TooLarge(max).never()));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The beginning of a body; that it breaks off changes nothing.
    pub(super) async fn beginning(&mut self, max: u64, time: Duration) -> Vec<u8> {
        let mut budget = Budget::new(time, time);
        let mut bytes = Vec::new();
        while let Ok(Ok(Some(chunk))) = budget.run(self.response.chunk()).await {
            self.entry.received(chunk.len());
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > max {
                break;
            }
        }
        bytes
    }
}

/// What a library's error means.
pub(super) fn network(error: &reqwest::Error, after_tls_failure: RetryAdvice) -> AttemptError {
    let network = Network::of(error);
    let again = if network.tls.is_some() {
        after_tls_failure
    } else {
        RetryAdvice::Later
    };
    Cause::Network(network).again(again)
}
