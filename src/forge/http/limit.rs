//! Rate limits, and the pauses between attempts. No requests here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;

use super::{Reply, Settings};

type Now = fn() -> SystemTime;

/// How long to wait before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// As long as always.
    Usual,
    /// As long as the server says.
    Told(Duration),
}

/// Whether an answer may become another one by itself; `None`: it is final.
pub(super) fn judge(reply: &Reply, now: Now) -> Option<Wait> {
    let status = reply.status;
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        return Some(told(reply, now).unwrap_or(Wait::Usual));
    }
    // GitHub's limits come as 403, too (Rate limits for the REST API, "Exceeding the rate limit").
    let limited = status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::FORBIDDEN
            && (reply.header("retry-after").is_some()
                || reply.header("x-ratelimit-remaining") == Some("0")
                || says_limit(&reply.body));
    limited.then(|| told(reply, now).unwrap_or(Wait::Usual))
}

fn says_limit(body: &[u8]) -> bool {
    let text = super::reply::said(body).to_ascii_lowercase();
    text.contains("rate limit") || text.contains("abuse detection")
}

fn told(reply: &Reply, now: Now) -> Option<Wait> {
    if let Some(after) = reply.header("retry-after").map(str::trim) {
        if !after.is_empty() && after.bytes().all(|b| b.is_ascii_digit()) {
            return Some(Wait::Told(Duration::from_secs(
                after.parse().unwrap_or(u64::MAX),
            )));
        }
        let date = httpdate::parse_http_date(after).ok()?;
        return Some(Wait::Told(date.duration_since(now()).unwrap_or_default()));
    }
    if reply.header("x-ratelimit-remaining") != Some("0") {
        return None;
    }
    let reset = UNIX_EPOCH + Duration::from_secs(reply.header("x-ratelimit-reset")?.parse().ok()?);
    Some(Wait::Told(reset.duration_since(now()).unwrap_or_default()))
}

/// The pause after `made` attempts, or why there is no further one.
pub(super) fn pause(wait: Wait, made: u32, settings: &Settings) -> Result<Duration, String> {
    if let Wait::Told(told) = wait
        && told > settings.longest_wait
    {
        let longest = settings.longest_wait.as_secs();
        return Err(format!(
            "it asks to wait {} s, longer than repin does ({longest} s)",
            told.as_secs()
        ));
    }
    if made >= settings.attempts {
        return Err(if made == 1 {
            "tried once".to_owned()
        } else {
            format!("tried {made} times")
        });
    }
    let doubled = settings.backoff.saturating_mul(1 << (made - 1).min(16));
    let usual = doubled.mul_f64(1.0 - fastrand::f64() / 2.0);
    Ok(if let Wait::Told(told) = wait {
        told.max(usual)
    } else {
        usual
    })
}
