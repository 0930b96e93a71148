//! The policies for registries and forges, side by side.

use std::time::Duration;

/// Whether another attempt may do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAdvice {
    /// The same would happen again.
    Never,
    /// After the usual pause.
    Later,
    /// At a time given by the server.
    After(Duration),
    /// The server limits how often it is asked; it reported when the limit ends, or `None`.
    Limited(Option<Duration>),
}

impl RetryAdvice {
    /// What the server asks to wait for, if it asks.
    pub(super) fn reason(self) -> Option<WaitReason> {
        match self {
            Self::Never | Self::Later => None,
            Self::After(_) => Some(WaitReason::Busy),
            Self::Limited(_) => Some(WaitReason::Limit),
        }
    }
}

/// Why a server asks to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// It limits how often it is asked.
    Limit,
    /// It is busy.
    Busy,
}

/// How requests to one kind of server are made and tried again.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How often a request is tried, the first time included.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further one, and chance shortens
    /// it by up to a half.
    pub backoff: Duration,
    /// The longest wait that a server may ask for; a longer one ends the request at once. `None`:
    /// the deadline alone limits.
    pub longest_wait: Option<Duration>,
    /// The pause after a limit whose end the server does not name; it doubles with each further
    /// one.
    pub limit_pause: Duration,
    /// After how long a request makes no further attempt; `None`: `attempts` alone limits.
    pub patience: Option<Duration>,
    /// How long a response may make no progress: connecting, headers, or the next bytes.
    pub progress: Duration,
    /// How long one attempt for a document may take in all.
    pub whole: Duration,
    /// How long a body that is read later may take in all.
    pub stream: Duration,
    /// What a redirect is.
    pub redirects: Redirects,
    /// How servers say that they limit.
    pub limits: Limits,
    /// Whether a request whose TLS failed is tried again.
    pub after_tls_failure: RetryAdvice,
    /// What a host that does not respond means for other requests.
    pub outages: Outages,
    /// What a compressed answer is.
    pub encodings: Encodings,
    /// How much of the body of an error is read.
    pub error_body: ErrorBody,
}

/// What a redirect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// A response like any other.
    Answer,
    /// A GET continues there, at most so many times, without credentials for another origin.
    Follow(u32),
}

/// How servers say that they limit requests. `408`, `429` and `5xx` may pass everywhere, and
/// `Retry-After` says when.
///
/// A limit that is known as one is waited out until the deadline, however often it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// By nothing else; `429` is retried like any other of them.
    Status,
    /// By `429`, by 403 with a header or a text that says so, by 422 for what "was submitted too
    /// quickly" and by errors of GraphQL; `X-RateLimit-Reset` says when, too (GitHub REST API,
    /// "Rate limits", "Exceeding the rate limit").
    Github,
}

/// What a host that does not respond means for other requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outages {
    /// Each request finds out alone.
    Each,
    /// When one request for a document gave up, all others to this host give up at once.
    Shared,
}

/// What a compressed answer is; none is ever asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encodings {
    /// A response like any other; its bytes are left as they are.
    Pass,
    /// Refused: its size says nothing about what it unpacks to.
    Refuse,
}

/// How much of the body of an error is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorBody {
    /// Its beginning; that it is longer, late or breaks off changes nothing.
    Beginning {
        /// How many bytes.
        max: u64,
        /// How long it may take.
        time: Duration,
    },
    /// All of it, like the body of a success; more bytes than this are a failure.
    Whole {
        /// How many bytes.
        max: u64,
    },
}

const ATTEMPTS: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(500);
/// GitHub asks for at least a minute (REST API, "Rate limits", "Exceeding the rate limit").
const LIMIT_PAUSE: Duration = Duration::from_secs(60);
const PROGRESS: Duration = Duration::from_secs(30);
const WHOLE: Duration = Duration::from_secs(60);

/// For registries and their token servers (docs/decisions/0004-registries.md).
pub const REGISTRIES: Policy = Policy {
    attempts: ATTEMPTS,
    backoff: BACKOFF,
    longest_wait: Some(Duration::from_secs(60)),
    limit_pause: LIMIT_PAUSE,
    patience: Some(Duration::from_secs(180)),
    progress: PROGRESS,
    whole: WHOLE,
    stream: Duration::from_secs(600),
    redirects: Redirects::Follow(5),
    limits: Limits::Status,
    after_tls_failure: RetryAdvice::Never,
    outages: Outages::Shared,
    encodings: Encodings::Refuse,
    error_body: ErrorBody::Beginning {
        max: 8 * 1024,
        time: Duration::from_secs(5),
    },
};

/// For forges' APIs (docs/decisions/0012-http.md).
pub const FORGES: Policy = Policy {
    attempts: ATTEMPTS,
    backoff: BACKOFF,
    longest_wait: None,
    limit_pause: LIMIT_PAUSE,
    patience: None,
    progress: PROGRESS,
    whole: WHOLE,
    stream: WHOLE,
    redirects: Redirects::Answer,
    limits: Limits::Github,
    after_tls_failure: RetryAdvice::Later,
    outages: Outages::Each,
    encodings: Encodings::Pass,
    error_body: ErrorBody::Whole { max: 64 * 1024 },
};
