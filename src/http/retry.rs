//! When a request is tried again: which answers may pass, how long a server asks to wait, and how
//! long is waited at most.
//!
//! No requests here: the client makes them and asks these rules.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
};
use tokio::time::Instant;

use super::{
    Limits, Policy, RetryAdvice, WaitReason,
    clock::server_time,
    error_body::{self, GraphqlError},
};

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The same would happen again, or it may have been carried out and may not be twice.
    Final,
    /// The server asks for a wait that is longer than allowed.
    LongWait {
        /// The wait that the server asks for.
        asked: Duration,
        /// The longest one that is allowed.
        longest: Duration,
    },
    /// The server asks for a wait that would pass the deadline.
    PastDeadline {
        /// What for.
        reason: WaitReason,
        /// How long the wait would be.
        wait: Duration,
    },
    /// There were this many attempts, which is enough.
    Attempts(u32),
    /// There were this many attempts, and no time is left for another.
    Deadline(u32),
}

/// When no further attempt begins.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now; without a duration, or with one that no clock reaches, never.
    pub fn after(patience: Option<Duration>) -> Self {
        Self(patience.and_then(|patience| Instant::now().checked_add(patience)))
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        self.is_over_after(Duration::ZERO)
    }

    pub(super) fn is_over_after(self, wait: Duration) -> bool {
        // A wait that no clock reaches is past every deadline.
        let past = |end| Instant::now().checked_add(wait).is_none_or(|at| at > end);
        self.0.is_some_and(past)
    }
}

impl Policy {
    /// Whether a response that is not a success may become another one by itself; `None`: it is
    /// final.
    pub(super) fn passing(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: fn() -> SystemTime,
    ) -> Option<RetryAdvice> {
        if self.limits == Limits::Github && is_limit(status, headers, body) {
            return Some(limited(headers, now));
        }
        let wait = || retry_after(text(headers, RETRY_AFTER.as_str())?, headers, now);
        is_transient(status).then(|| wait().map_or(RetryAdvice::Later, RetryAdvice::After))
    }

    /// Whether a response of GraphQL, whose status is that of a success, says that requests are
    /// limited.
    pub(super) fn limited_graphql(
        &self,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
        now: fn() -> SystemTime,
    ) -> Option<RetryAdvice> {
        let asked = self.limits == Limits::Github && url.path().ends_with("/graphql");
        if !asked
            || !error_body::graphql_errors(body)
                .iter()
                .any(is_graphql_limit)
        {
            return None;
        }
        Some(limited(headers, now))
    }

    /// The usual pause after so many attempts.
    pub fn usual_pause(&self, failed: u32) -> Duration {
        doubled(self.backoff, failed).mul_f64(1.0 - fastrand::f64() / 2.0)
    }

    /// The pause before the next attempt, or why there is none; `failed`: how many attempts there
    /// were that ended like this one, at a limit or otherwise.
    pub fn pause(
        &self,
        again: RetryAdvice,
        failed: u32,
        until: Deadline,
    ) -> Result<Duration, StopReason> {
        let asked = match again {
            RetryAdvice::Never => return Err(StopReason::Final),
            RetryAdvice::Later => Duration::ZERO,
            RetryAdvice::After(asked) => asked,
            RetryAdvice::Limited(asked) => return self.limit_pause(asked, failed, until),
        };
        if let Some(longest) = self.longest_wait.filter(|longest| asked > *longest) {
            return Err(StopReason::LongWait { asked, longest });
        }
        if failed >= self.attempts {
            return Err(StopReason::Attempts(failed));
        }
        let wait = self.usual_pause(failed).max(asked);
        if !until.is_over_after(wait) {
            return Ok(wait);
        }
        Err(if asked.is_zero() {
            StopReason::Deadline(failed)
        } else {
            let reason = WaitReason::Busy;
            StopReason::PastDeadline { reason, wait }
        })
    }

    /// The pause until a limit ends; only the deadline counts. `limits`: how many there were.
    fn limit_pause(
        &self,
        asked: Option<Duration>,
        limits: u32,
        until: Deadline,
    ) -> Result<Duration, StopReason> {
        let wait = match asked {
            Some(asked) => self.usual_pause(limits).max(asked),
            None => doubled(self.limit_pause, limits),
        };
        if until.is_over_after(wait) {
            let reason = WaitReason::Limit;
            return Err(StopReason::PastDeadline { reason, wait });
        }
        Ok(wait)
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16))
}

/// Whether a response of GitHub says that requests are limited (REST API, "Rate limits",
/// "Exceeding the rate limit"). A 403 that says nothing of it is a denial.
fn is_limit(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => {
            text(headers, RETRY_AFTER.as_str()).is_some()
                || is_used_up(headers)
                || says_limit(&String::from_utf8_lossy(body))
        }
        StatusCode::UNPROCESSABLE_ENTITY => is_too_quick(&String::from_utf8_lossy(body)),
        _ => false,
    }
}

/// When a limit ends, where the server says so.
fn limited(headers: &HeaderMap, now: fn() -> SystemTime) -> RetryAdvice {
    RetryAdvice::Limited(match text(headers, RETRY_AFTER.as_str()) {
        Some(after) => retry_after(after, headers, now),
        None if is_used_up(headers) => reset(headers, now),
        None => None,
    })
}

fn is_graphql_limit(error: &GraphqlError) -> bool {
    error.kind == "RATE_LIMITED" || says_limit(&error.message) || is_too_quick(&error.message)
}

/// Whether a status may pass by itself (RFC 9110, section 15, and RFC 6585, section 4).
fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error()
}

fn is_used_up(headers: &HeaderMap) -> bool {
    text(headers, "x-ratelimit-remaining") == Some("0")
}

fn says_limit(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "secondary rate limit",
        "rate limit exceeded",
        "abuse detection",
    ]
    .iter()
    .any(|text| message.contains(text))
}

/// Whether GitHub limits what is created, which it calls a validation error.
fn is_too_quick(message: &str) -> bool {
    message.contains("was submitted too quickly")
}

/// The wait that `Retry-After` asks for (RFC 9110, section 10.2.3); one that cannot be read asks
/// for none.
fn retry_after(after: &str, headers: &HeaderMap, now: fn() -> SystemTime) -> Option<Duration> {
    let after = after.trim();
    if !after.is_empty() && after.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(after.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(after).ok()?;
    Some(until(date, headers, now))
}

/// The wait until a used-up limit begins again, in seconds since 1970.
fn reset(headers: &HeaderMap, now: fn() -> SystemTime) -> Option<Duration> {
    let seconds = text(headers, "x-ratelimit-reset")?.parse().ok()?;
    let reset = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    Some(until(reset, headers, now))
}

/// Returns the time until a moment given by the server, by the server's clock if known, because the
/// clocks may differ.
fn until(time: SystemTime, headers: &HeaderMap, now: fn() -> SystemTime) -> Duration {
    let now = server_time(headers).unwrap_or_else(now);
    time.duration_since(now).unwrap_or_default()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
