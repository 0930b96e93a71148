//! When a request is tried again, and how long anything may take.
//!
//! No requests here: [`super::http`] makes them and asks these rules.

use std::time::{Duration, Instant, SystemTime};

use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};

use super::settings::Settings;
use crate::source::ErrorKind;

/// The longest `Retry-After` that is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why a request got no usable answer; what was asked for is added by the caller.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) kind: ErrorKind,
    pub(super) why: String,
    pub(super) hint: Option<String>,
}

/// Why one attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) again: Again,
    /// Whether the host seems to be down, and not just this request to be bad.
    pub(super) silent: bool,
}

/// Whether another attempt may do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The same would happen again.
    Never,
    /// After the usual pause.
    Later,
    /// The server said when.
    After(Duration),
}

impl Fault {
    pub(super) fn unavailable(why: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Unavailable,
            why: why.into(),
            hint: None,
        }
    }

    pub(super) fn denied(why: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Denied,
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

    pub(super) fn never(self) -> Failure {
        Failure {
            fault: self,
            again: Again::Never,
            silent: false,
        }
    }

    pub(super) fn later(self) -> Failure {
        self.after(Again::Later)
    }

    pub(super) fn after(self, again: Again) -> Failure {
        Failure {
            fault: self,
            again,
            silent: false,
        }
    }

    /// The error, once it is known what was asked for.
    pub(super) fn about(self, what: &str) -> crate::source::Error {
        crate::source::Error {
            kind: self.kind,
            what: what.to_owned(),
            why: self.why,
            hint: self.hint,
        }
    }
}

impl Failure {
    pub(super) fn silent(self) -> Self {
        Self {
            silent: true,
            ..self
        }
    }
}

/// Whether a status may pass by itself (RFC 9110, section 15, and RFC 6585, section 4).
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error()
}

/// The pause that a server asks for; without one, or with one that can't be read, the usual.
pub(super) fn retry_after(headers: &HeaderMap, now: fn() -> SystemTime) -> Again {
    let text = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .map(str::trim);
    let Some(text) = text else {
        return Again::Later;
    };
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Again::After(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let Ok(date) = httpdate::parse_http_date(text) else {
        return Again::Later;
    };
    // By the server's own clock where it tells: the two need not agree.
    let date_header = headers
        .get(reqwest::header::DATE)
        .and_then(|value| value.to_str().ok());
    let now = date_header
        .and_then(|text| httpdate::parse_http_date(text).ok())
        .unwrap_or_else(now);
    Again::After(date.duration_since(now).unwrap_or_default())
}

/// The pause before the next attempt, or why there is none. `failed`: how many attempts there were.
pub(super) fn pause(
    failure: Failure,
    failed: u32,
    settings: &Settings,
    until: Instant,
) -> Result<Duration, Fault> {
    let Failure { fault, again, .. } = failure;
    if again == Again::Never {
        return Err(fault);
    }
    if let Again::After(wait) = again
        && wait > LONGEST_WAIT
    {
        let why = format!(
            "{}; it asks to wait {} s, longer than repin does (60 s)",
            fault.why,
            wait.as_secs()
        );
        return Err(Fault { why, ..fault });
    }
    if failed >= settings.attempts {
        let why = format!("{} (tried {})", fault.why, times(failed));
        return Err(Fault { why, ..fault });
    }
    let doubled = settings.backoff.saturating_mul(1 << (failed - 1).min(16));
    let usual = doubled.mul_f64(1.0 - fastrand::f64() / 2.0);
    let wait = if let Again::After(wait) = again {
        wait.max(usual)
    } else {
        usual
    };
    if Instant::now() + wait > until {
        let why = format!(
            "{} (tried {}, and it took too long to go on)",
            fault.why,
            times(failed)
        );
        return Err(Fault { why, ..fault });
    }
    Ok(wait)
}

fn times(count: u32) -> String {
    if count == 1 {
        "once".to_owned()
    } else {
        format!("{count} times")
    }
}

/// The time that one attempt has left; waiting for a free place does not count.
#[derive(Debug)]
pub(super) struct Clock {
    whole: Duration,
    left: Duration,
    progress: Duration,
}

impl Clock {
    pub(super) fn new(whole: Duration, progress: Duration) -> Self {
        Self {
            whole,
            left: whole,
            progress,
        }
    }

    pub(super) fn left(&self) -> Duration {
        self.left
    }

    pub(super) fn limit(&mut self, left: Duration) {
        self.left = self.left.min(left);
    }

    /// Waits for the next sign of progress.
    pub(super) async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let limit = self.progress.min(self.left);
        let start = Instant::now();
        if let Ok(result) = tokio::time::timeout(limit, work).await {
            self.left = self.left.saturating_sub(start.elapsed());
            return Ok(result);
        }
        if limit < self.progress {
            let why = format!("it was not finished after {}", seconds(self.whole));
            return Err(Fault::unavailable(why).never().silent());
        }
        let why = format!(
            "no answer, or no more of it, for {}",
            seconds(self.progress)
        );
        Err(Fault::unavailable(why)
            .hint("REPIN_HTTP_TIMEOUT=60s, for example, waits longer")
            .later()
            .silent())
    }
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{duration:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::remote::settings::Environment;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn epoch() -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn settings() -> Settings {
        Settings::new(Environment::default(), epoch)
    }

    fn failure(again: Again) -> Failure {
        Fault::unavailable("HTTP 503").after(again)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |pairs: &[_]| retry_after(&headers(pairs), epoch);
        let seconds = |n| Again::After(Duration::from_secs(n));
        assert_eq!(after(&[("retry-after", " 7 ")]), seconds(7));
        assert_eq!(
            after(&[("retry-after", "99999999999999999999999")]),
            seconds(u64::MAX)
        );
        assert_eq!(
            after(&[("retry-after", "Thu, 01 Jan 1970 00:00:09 GMT")]),
            seconds(9)
        );
        let date = ("date", "Thu, 01 Jan 1970 00:00:05 GMT");
        assert_eq!(
            after(&[("retry-after", "Thu, 01 Jan 1970 00:00:09 GMT"), date]),
            seconds(4)
        );
        assert_eq!(
            after(&[("retry-after", "Thu, 01 Jan 1970 00:00:01 GMT"), date]),
            seconds(0)
        );
        for odd in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(&[("retry-after", odd)]), Again::Later, "{odd}");
        }
        assert_eq!(after(&[]), Again::Later);
    }

    #[test]
    fn pauses_double_and_chance_shortens_them_by_up_to_a_half() {
        let until = Instant::now() + Duration::from_secs(1000);
        for (failed, longest) in [(1, 500), (2, 1000), (3, 2000), (4, 4000)] {
            let pause = pause(failure(Again::Later), failed, &settings(), until).unwrap();
            assert!(
                pause <= Duration::from_millis(longest)
                    && pause >= Duration::from_millis(longest / 2)
            );
        }
        let asked = failure(Again::After(Duration::from_secs(60)));
        assert_eq!(
            pause(asked, 1, &settings(), until).unwrap(),
            Duration::from_secs(60)
        );
    }

    #[test]
    fn there_is_an_end_to_trying() {
        let until = Instant::now() + Duration::from_secs(1000);
        let why = |again, failed, until| {
            pause(failure(again), failed, &settings(), until)
                .unwrap_err()
                .why
        };
        assert_eq!(why(Again::Never, 1, until), "HTTP 503");
        assert_eq!(why(Again::Later, 5, until), "HTTP 503 (tried 5 times)");
        assert!(why(Again::After(Duration::from_secs(61)), 1, until).contains("wait 61 s"));
        assert!(why(Again::Later, 1, Instant::now()).contains("too long"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ran_out_of_its_whole_time_is_not_tried_again() {
        let mut clock = Clock::new(Duration::from_secs(60), Duration::from_secs(30));
        let silence = clock.run(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(silence.again, Again::Later);
        let mut clock = Clock::new(Duration::from_secs(20), Duration::from_secs(30));
        let over = clock.run(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(over.again, Again::Never);
    }
}
