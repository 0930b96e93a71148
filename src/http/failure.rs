//! Why a request got no response that could be used. Callers put this into words: the texts in here
//! are a server's or a library's, and are not safe to show before they are redacted.

use std::time::Duration;

use reqwest::StatusCode;

use super::{RetryAdvice, StopReason, budget::Timeout};

/// Why a request was given up.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What happened to its last attempt.
    pub cause: Cause,
    /// Why there was no further one.
    pub stop: StopReason,
}

/// Why one attempt failed.
#[derive(Debug, Clone)]
pub struct AttemptError {
    /// What happened.
    pub cause: Cause,
    /// Whether another attempt may do better.
    pub again: RetryAdvice,
}

/// What happened to an attempt.
#[derive(Debug, Clone)]
pub enum Cause {
    /// No client could be built: no root certificates can be loaded.
    NoClient(String),
    /// A status that may pass by itself.
    Status {
        /// The status.
        status: StatusCode,
        /// What was read of the body.
        body: Vec<u8>,
    },
    /// Something below HTTP.
    Network(Network),
    /// No progress for so long.
    Stalled(Duration),
    /// Not finished after so long.
    Overdue(Duration),
    /// More than so many bytes.
    TooLarge(u64),
    /// Compressed, which was not asked for.
    Compressed,
    /// It was not sent: requests to the server are parked.
    Parked,
    /// A redirect that is not followed, and why; safe to show.
    Redirect(String),
}

/// The failure below HTTP.
#[derive(Debug, Clone)]
pub struct Network {
    /// How far the connection had come.
    pub stage: Stage,
    /// The innermost text about it.
    pub detail: Option<String>,
    /// The failure of TLS, if TLS failed.
    pub tls: Option<TlsFailure>,
}

/// Why a TLS connection could not be made or continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFailure {
    /// The server's bytes are not a TLS record, such as a plain HTTP response.
    NotTls,
    /// Any other failure, in the words of the TLS library.
    Other(String),
}

/// How far a connection had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It was not there yet: nothing was sent.
    Connecting,
    /// It broke.
    Connected,
}

impl Cause {
    /// Whether the server may have carried out the request anyway.
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_server_error(),
            Self::Network(network) => network.stage == Stage::Connected,
            Self::NoClient(_) | Self::Parked => false,
            Self::Stalled(_)
            | Self::Overdue(_)
            | Self::TooLarge(_)
            | Self::Compressed
            | Self::Redirect(_) => true,
        }
    }

    /// Whether the host seems to be down, and not just this request to be bad.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Network(network) => network.tls.is_none(),
            Self::Stalled(_) | Self::Overdue(_) => true,
            _ => false,
        }
    }

    pub(super) fn again(self, again: RetryAdvice) -> AttemptError {
        AttemptError { cause: self, again }
    }

    pub(super) fn never(self) -> AttemptError {
        self.again(RetryAdvice::Never)
    }
}

impl Network {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let chain = || {
            std::iter::successors(Some(error as &dyn std::error::Error), |error| {
                error.source()
            })
        };
        Self {
            stage: if error.is_connect() {
                Stage::Connecting
            } else {
                Stage::Connected
            },
            // The outermost text contains the URL, and its query may contain a signature.
            detail: chain().skip(1).last().map(ToString::to_string),
            tls: chain().find_map(tls_error),
        }
    }
}

impl From<Timeout> for AttemptError {
    fn from(timeout: Timeout) -> Self {
        match timeout {
            Timeout::Stalled(progress) => Cause::Stalled(progress).again(RetryAdvice::Later),
            // It would take as long again.
            Timeout::Overdue(whole) => Cause::Overdue(whole).never(),
        }
    }
}

/// A TLS error as a failure; I/O errors carry theirs inside, sometimes in one another, where
/// `source` skips them.
fn tls_error(error: &(dyn std::error::Error + 'static)) -> Option<TlsFailure> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        let not_tls = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        return Some(if *tls == not_tls {
            TlsFailure::NotTls
        } else {
            TlsFailure::Other(tls.to_string())
        });
    }
    tls_error(error.downcast_ref::<std::io::Error>()?.get_ref()?)
}
