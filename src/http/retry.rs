//! When a request is tried again: which answers may pass, how long a server asks to wait, and how
//! long is waited at most.
//!
//! No requests here: the client makes them and asks these rules.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use tokio::time::Instant;

use super::{Limits, Policy, clock::server_time, error_body};

/// Whether another attempt may do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The same would happen again.
    Never,
    /// After the usual pause.
    Later,
    /// The server said when.
    After(Duration),
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The same would happen again, or it may have been carried out and may not be twice.
    Final,
    /// The server asks for a wait that is longer than allowed.
    LongWait {
        /// The wait that the server asks for.
        asked: Duration,
        /// The longest one that is allowed.
        longest: Duration,
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

    fn is_over_after(self, wait: Duration) -> bool {
        self.0.is_some_and(|end| Instant::now() + wait > end)
    }
}

impl Policy {
    /// Whether an answer that is no success may become another one by itself; `None`: it is final.
    pub(super) fn passing(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: fn() -> SystemTime,
    ) -> Option<Again> {
        let github = self.limits == Limits::Github;
        let limited = || {
            text(headers, RETRY_AFTER.as_str()).is_some()
                || is_used_up(headers)
                || says_limit(&error_body::of_forge(body))
        };
        let forbidden = status == StatusCode::FORBIDDEN;
        let passes = is_transient(status) || github && forbidden && limited();
        if !passes {
            return None;
        }
        let wait = match text(headers, RETRY_AFTER.as_str()) {
            Some(after) => retry_after(after, headers, now),
            None if github && is_used_up(headers) => reset(headers, now),
            None => None,
        };
        Some(wait.map_or(Again::Later, Again::After))
    }

    /// The usual pause after so many attempts.
    pub fn usual_pause(&self, failed: u32) -> Duration {
        let doubled = self
            .backoff
            .saturating_mul(1 << failed.saturating_sub(1).min(16));
        doubled.mul_f64(1.0 - fastrand::f64() / 2.0)
    }

    /// The pause before the next attempt, or why there is none; `failed`: how many attempts there
    /// were.
    pub fn pause(&self, again: Again, failed: u32, until: Deadline) -> Result<Duration, Stop> {
        let asked = match again {
            Again::Never => return Err(Stop::Final),
            Again::Later => Duration::ZERO,
            Again::After(asked) => asked,
        };
        if asked > self.longest_wait {
            let longest = self.longest_wait;
            return Err(Stop::LongWait { asked, longest });
        }
        if failed >= self.attempts {
            return Err(Stop::Attempts(failed));
        }
        let wait = self.usual_pause(failed).max(asked);
        if until.is_over_after(wait) {
            return Err(Stop::Deadline(failed));
        }
        Ok(wait)
    }
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
    message.contains("rate limit") || message.contains("abuse detection")
}

/// The wait that `Retry-After` asks for (RFC 9110, section 10.2.3); one that can't be read asks
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

/// How far away a time is that the server named: by its own clock where it tells, since the two
/// need not agree.
fn until(time: SystemTime, headers: &HeaderMap, now: fn() -> SystemTime) -> Duration {
    let now = server_time(headers).unwrap_or_else(now);
    time.duration_since(now).unwrap_or_default()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
