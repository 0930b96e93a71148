//! The policies for registries and forges, side by side.
//!
//! The time limits of one attempt. Waiting for a free request slot does not count.

use std::time::Duration;

use tokio::time::Instant;

/// Whether a retry may succeed, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryAdvice {
    /// A retry would fail in the same way.
    Never,
    /// After the usual pause.
    Later,
    /// After the wait that the server requests.
    After(Duration),
    /// After the rate limit; `None` if the server does not report its end.
    Limited(Option<Duration>),
}

impl RetryAdvice {
    /// The server's reason to request a wait; `None` if it requests none.
    pub(super) fn wait_reason(self) -> Option<WaitReason> {
        match self {
            Self::Never | Self::Later => None,
            Self::After(_) => Some(WaitReason::Busy),
            Self::Limited(_) => Some(WaitReason::Limit),
        }
    }
}

/// The reason of a wait that a server requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitReason {
    /// A rate limit.
    Limit,
    /// The server is busy.
    Busy,
}

/// The treatment of requests to one kind of server.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The maximum number of attempts, including the first one.
    pub(crate) attempts: u32,
    /// The pause before the second attempt. It doubles with each further one, and a random factor
    /// shortens it by up to a half.
    pub(crate) backoff: Duration,
    /// The longest pause that a server may request; a longer one fails the request. `None`: only
    /// the deadline limits it.
    pub(crate) longest_wait: Option<Duration>,
    /// The pause after a rate limit if the server does not report its end. It doubles with each
    /// further one.
    pub(crate) limit_pause: Duration,
    /// The time after which a request is not retried; `None`: only `attempts` limits it.
    pub(crate) patience: Option<Duration>,
    /// The longest time without progress: connecting, headers, or the next bytes.
    pub(crate) stall_timeout: Duration,
    /// The total time of one attempt for a buffered document.
    pub(crate) document_timeout: Duration,
    /// The total time of a body that is streamed.
    pub(crate) stream_timeout: Duration,
    pub(crate) redirects: Redirects,
    pub(crate) limits: Limits,
    /// Whether a request is retried after a TLS failure.
    pub(crate) after_tls_failure: RetryAdvice,
    pub(crate) outages: Outages,
    pub(crate) encodings: Encodings,
    pub(crate) error_body: ErrorBody,
}

/// The treatment of redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redirects {
    /// Returned like any other response.
    Return,
    /// Followed for GET, at most this many times, without credentials for another origin.
    Follow(u32),
}

/// The responses that signal a rate limit. `408`, `429` and `5xx` are temporary for every policy,
/// and `Retry-After` states the wait.
///
/// A recognized limit may repeat until the deadline; it does not count as a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// None: `429` is a temporary failure.
    Status,
    /// `429`; 403 with a header or message about a limit; 422 with "was submitted too quickly"; and
    /// GraphQL errors. `X-RateLimit-Reset` also states the wait (GitHub REST API, "Rate limits",
    /// "Exceeding the rate limit").
    Github,
}

/// The effect of an unresponsive host on other requests to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outages {
    /// None: each request makes its own attempts.
    PerRequest,
    /// After one request for a document failed, all others to this host fail at once.
    PerHost,
}

/// The treatment of compressed responses; the client never requests compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encodings {
    /// Accepted, not decompressed.
    Accept,
    /// Refused: the size of the bytes does not limit the size of their content.
    Refuse,
}

/// The part of an error's body that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorBody {
    /// The first bytes; a longer, late or interrupted body is not a failure.
    Prefix { max: u64, time: Duration },
    /// The complete body, as for a success; more bytes than this are a failure.
    Complete { max: u64 },
}

const ATTEMPTS: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(500);
/// GitHub requires at least a minute (REST API, "Rate limits", "Exceeding the rate limit").
const LIMIT_PAUSE: Duration = Duration::from_secs(60);
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// For registries and their token servers (docs/decisions/0004-registries.md).
pub(crate) const REGISTRIES: Policy = Policy {
    attempts: ATTEMPTS,
    backoff: BACKOFF,
    longest_wait: Some(Duration::from_secs(60)),
    limit_pause: LIMIT_PAUSE,
    patience: Some(Duration::from_secs(180)),
    stall_timeout: STALL_TIMEOUT,
    document_timeout: DOCUMENT_TIMEOUT,
    stream_timeout: Duration::from_secs(600),
    redirects: Redirects::Follow(5),
    limits: Limits::Status,
    after_tls_failure: RetryAdvice::Never,
    outages: Outages::PerHost,
    encodings: Encodings::Refuse,
    error_body: ErrorBody::Prefix {
        max: 8 * 1024,
        time: Duration::from_secs(5),
    },
};

/// For forges' APIs (docs/decisions/0012-http.md).
pub(crate) const FORGES: Policy = Policy {
    attempts: ATTEMPTS,
    backoff: BACKOFF,
    longest_wait: None,
    limit_pause: LIMIT_PAUSE,
    patience: None,
    stall_timeout: STALL_TIMEOUT,
    document_timeout: DOCUMENT_TIMEOUT,
    stream_timeout: DOCUMENT_TIMEOUT,
    redirects: Redirects::Return,
    limits: Limits::Github,
    after_tls_failure: RetryAdvice::Later,
    outages: Outages::PerRequest,
    encodings: Encodings::Accept,
    error_body: ErrorBody::Complete { max: 64 * 1024 },
};

/// The total time of an attempt, and the longest time without progress.
#[derive(Debug)]
pub(super) struct TimeBudget {
    total: Duration,
    left: Duration,
    stall: Duration,
}

/// The limit that an attempt exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    /// No progress within this time.
    Stalled(Duration),
    /// Not complete within this time.
    Overdue(Duration),
}

impl TimeBudget {
    pub(super) fn new(total: Duration, stall: Duration) -> Self {
        Self {
            total,
            left: total,
            stall,
        }
    }

    pub(super) fn time_left(&self) -> Duration {
        self.left
    }

    pub(super) fn limit(&mut self, left: Duration) {
        self.left = self.left.min(left);
    }

    /// Runs work. Its completion counts as progress.
    pub(super) async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Timeout> {
        let limit = self.stall.min(self.left);
        let start = Instant::now();
        if let Ok(result) = tokio::time::timeout(limit, work).await {
            self.left = self.left.saturating_sub(start.elapsed());
            return Ok(result);
        }
        Err(if limit < self.stall {
            Timeout::Overdue(self.total)
        } else {
            Timeout::Stalled(self.stall)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::http::AttemptError;

    #[tokio::test(start_paused = true)]
    async fn overdue_attempt_is_not_retried() {
        let seconds = Duration::from_secs;
        let mut budget = TimeBudget::new(seconds(60), seconds(30));
        let stalled = budget.run(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(stalled, Timeout::Stalled(seconds(30)));
        assert_eq!(AttemptError::from(stalled).retry, RetryAdvice::Later);
        let mut budget = TimeBudget::new(seconds(20), seconds(30));
        let overdue = budget.run(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(overdue, Timeout::Overdue(seconds(20)));
        assert_eq!(AttemptError::from(overdue).retry, RetryAdvice::Never);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_does_not_extend_the_total_time() {
        let mut budget = TimeBudget::new(Duration::from_secs(60), Duration::from_secs(30));
        for _ in 0..2 {
            let work = tokio::time::sleep(Duration::from_secs(25));
            assert_eq!(budget.run(work).await, Ok(()));
        }
        assert_eq!(budget.time_left(), Duration::from_secs(10));
        let overdue = budget.run(std::future::pending::<()>()).await;
        assert_eq!(overdue, Err(Timeout::Overdue(Duration::from_secs(60))));
    }
}
