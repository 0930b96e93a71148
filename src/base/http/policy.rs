//! The policies for registries and forges, side by side.

use std::time::Duration;

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
