//! The rules for retries: temporary responses, the pauses that servers request, and their limits.
//! The client applies them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
};

use super::{
    Deadline, Limits, Policy, RetryAdvice, WaitReason,
    clock::server_time,
    error_body::{self, GraphqlError},
};

/// The reason that there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// A retry would fail in the same way, or might carry out the request twice.
    Final,
    /// The server requests a longer wait than the policy allows.
    LongWait {
        requested: Duration,
        longest: Duration,
    },
    /// The server requests a wait that exceeds the deadline.
    PastDeadline { reason: WaitReason, wait: Duration },
    /// After the maximum number of attempts.
    Attempts(u32),
    /// After this number of attempts until the deadline.
    Deadline(u32),
}

impl StopReason {
    /// A rate limit that lasts longer than the deadline.
    pub(super) fn past_limit(wait: Duration) -> Self {
        let reason = WaitReason::Limit;
        Self::PastDeadline { reason, wait }
    }
}

impl Policy {
    /// The advice for a response that may be temporary; `None` if it is final. The response is not
    /// a success.
    pub(super) fn temporary_failure(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: fn() -> SystemTime,
    ) -> Option<RetryAdvice> {
        if self.limits == Limits::Github && is_rate_limit(status, headers, body) {
            return Some(rate_limit(headers, now));
        }
        if !is_temporary(status) {
            return None;
        }
        let wait = text(headers, RETRY_AFTER.as_str())
            .and_then(|value| parse_retry_after(value, headers, now));
        Some(wait.map_or(RetryAdvice::Later, RetryAdvice::After))
    }

    /// The advice for a GraphQL response that reports a rate limit, although its status is a
    /// success.
    pub(super) fn graphql_rate_limit(
        &self,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
        now: fn() -> SystemTime,
    ) -> Option<RetryAdvice> {
        if self.limits != Limits::Github || !url.path().ends_with("/graphql") {
            return None;
        }
        let errors = error_body::graphql_errors(body);
        errors
            .iter()
            .any(is_graphql_limit)
            .then(|| rate_limit(headers, now))
    }

    /// The pause after this number of failed attempts.
    pub(crate) fn usual_pause(&self, failed: u32) -> Duration {
        double(self.backoff, failed).mul_f64(1.0 - fastrand::f64() / 2.0)
    }

    /// The pause before the next attempt, or the reason that there is none. `failed` counts the
    /// attempts that failed in the same way: at a rate limit, or otherwise.
    pub(crate) fn pause(
        &self,
        retry: RetryAdvice,
        failed: u32,
        until: Deadline,
    ) -> Result<Duration, StopReason> {
        let requested = match retry {
            RetryAdvice::Never => return Err(StopReason::Final),
            RetryAdvice::Later => Duration::ZERO,
            RetryAdvice::After(requested) => requested,
            RetryAdvice::Limited(requested) => return self.limit_pause(requested, failed, until),
        };
        if let Some(longest) = self.longest_wait.filter(|longest| requested > *longest) {
            return Err(StopReason::LongWait { requested, longest });
        }
        if failed >= self.attempts {
            return Err(StopReason::Attempts(failed));
        }
        let wait = self.usual_pause(failed).max(requested);
        if !until.is_over_after(wait) {
            return Ok(wait);
        }
        Err(if requested.is_zero() {
            StopReason::Deadline(failed)
        } else {
            let reason = WaitReason::Busy;
            StopReason::PastDeadline { reason, wait }
        })
    }

    /// The pause after a rate limit, restricted only by the deadline. `limits` counts the limits.
    fn limit_pause(
        &self,
        requested: Option<Duration>,
        limits: u32,
        until: Deadline,
    ) -> Result<Duration, StopReason> {
        let wait = match requested {
            Some(requested) => self.usual_pause(limits).max(requested),
            None => double(self.limit_pause, limits),
        };
        if until.is_over_after(wait) {
            return Err(StopReason::past_limit(wait));
        }
        Ok(wait)
    }
}

/// Doubles a pause for each failure after the first one.
fn double(pause: Duration, failures: u32) -> Duration {
    pause.saturating_mul(1 << failures.saturating_sub(1).min(16))
}

/// Whether GitHub reports a rate limit (REST API, "Rate limits", "Exceeding the rate limit"). A 403
/// without a sign of a limit is a denial.
fn is_rate_limit(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => {
            text(headers, RETRY_AFTER.as_str()).is_some()
                || is_used_up(headers)
                || mentions_limit(&String::from_utf8_lossy(body))
        }
        StatusCode::UNPROCESSABLE_ENTITY => is_too_quick(&String::from_utf8_lossy(body)),
        _ => false,
    }
}

/// The advice for a rate limit, with its end if the server reports it.
fn rate_limit(headers: &HeaderMap, now: fn() -> SystemTime) -> RetryAdvice {
    RetryAdvice::Limited(match text(headers, RETRY_AFTER.as_str()) {
        Some(value) => parse_retry_after(value, headers, now),
        None if is_used_up(headers) => time_until_reset(headers, now),
        None => None,
    })
}

fn is_graphql_limit(error: &GraphqlError) -> bool {
    error.kind == "RATE_LIMITED" || mentions_limit(&error.message) || is_too_quick(&error.message)
}

/// Whether a status may be temporary (RFC 9110, section 15, and RFC 6585, section 4).
fn is_temporary(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error()
}

fn is_used_up(headers: &HeaderMap) -> bool {
    limit_header(headers, "remaining") == Some("0")
}

/// A header about a rate limit, of GitHub (`X-RateLimit-…`) or GitLab (`RateLimit-…`).
pub(super) fn limit_header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let prefixes = ["x-ratelimit", "ratelimit"];
    let mut values = prefixes
        .iter()
        .filter_map(|prefix| text(headers, &format!("{prefix}-{name}")));
    values.next()
}

fn mentions_limit(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "secondary rate limit",
        "rate limit exceeded",
        "abuse detection",
    ]
    .iter()
    .any(|text| message.contains(text))
}

/// Whether GitHub limits the creation of content, which it reports as a validation error.
fn is_too_quick(message: &str) -> bool {
    message.contains("was submitted too quickly")
}

/// The wait in a `Retry-After` header (RFC 9110, section 10.2.3); `None` if it is malformed.
fn parse_retry_after(
    value: &str,
    headers: &HeaderMap,
    now: fn() -> SystemTime,
) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(time_until(date, headers, now))
}

/// The time until the server resets a used-up limit.
fn time_until_reset(headers: &HeaderMap, now: fn() -> SystemTime) -> Option<Duration> {
    let seconds = limit_header(headers, "reset")?.parse().ok()?;
    let reset = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    Some(time_until(reset, headers, now))
}

/// The time until a moment that the server states. The server's clock is preferred, because the
/// clocks may differ.
fn time_until(time: SystemTime, headers: &HeaderMap, now: fn() -> SystemTime) -> Duration {
    let now = server_time(headers).unwrap_or_else(now);
    time.duration_since(now).unwrap_or_default()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
