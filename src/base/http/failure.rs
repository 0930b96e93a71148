//! The errors of requests without a usable response. Callers format them: the texts here are a
//! server's or a library's, and must be redacted before they are shown.

use std::time::Duration;

use reqwest::StatusCode;

use super::{RetryAdvice, StopReason, budget::Timeout};

/// The error of a request, after its last attempt.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The cause of the last attempt's failure.
    pub(crate) cause: Cause,
    /// The reason that there was no further attempt.
    pub(crate) stop: StopReason,
}

/// The error of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct AttemptError {
    pub(crate) cause: Cause,
    pub(crate) retry: RetryAdvice,
}

/// The cause of a failed attempt.
#[derive(Debug, Clone)]
pub(crate) enum Cause {
    /// No client was created, because no root certificates can be loaded.
    NoClient(String),
    /// A status that may be temporary, and the part of the body that was read.
    Status { status: StatusCode, body: Vec<u8> },
    /// An error below HTTP.
    Network(Network),
    /// No progress within this time.
    Stalled(Duration),
    /// Not complete within this time.
    Overdue(Duration),
    /// The body has more bytes than this.
    TooLarge(u64),
    /// The body is compressed, which was not requested.
    Compressed,
    /// It was not sent: requests to the server are suspended.
    Parked,
    /// A redirect that is not followed; the reason is safe to show.
    Redirect(String),
}

/// An error below HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) stage: Stage,
    /// The message of the innermost error.
    pub(crate) detail: Option<String>,
    /// The TLS error, if TLS failed.
    pub(crate) tls: Option<TlsFailure>,
}

/// A TLS error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsFailure {
    /// The server's bytes are not a TLS record, such as a plain HTTP response.
    NotTls,
    /// Any other error, with the message of the TLS library.
    Other(String),
}

/// The state of a connection when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The connection was not established.
    Connecting,
    Connected,
}

impl Cause {
    /// Whether the server may have carried out the request anyway.
    pub(crate) fn may_have_taken_effect(&self) -> bool {
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

    /// Whether the host seems to be down, so that other requests would fail too.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Network(network) => network.tls.is_none(),
            Self::Stalled(_) | Self::Overdue(_) => true,
            _ => false,
        }
    }

    pub(super) fn with_retry(self, retry: RetryAdvice) -> AttemptError {
        AttemptError { cause: self, retry }
    }

    pub(super) fn without_retry(self) -> AttemptError {
        self.with_retry(RetryAdvice::Never)
    }
}

impl Network {
    pub(super) fn from_error(error: &reqwest::Error) -> Self {
        let mut network = Self {
            stage: if error.is_connect() {
                Stage::Connecting
            } else {
                Stage::Connected
            },
            detail: None,
            tls: tls_failure(error),
        };
        // The outermost message is skipped: it contains the URL, and its query may contain a
        // signature.
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            network.detail = Some(error.to_string());
            network.tls = network.tls.or_else(|| tls_failure(error));
            source = error.source();
        }
        network
    }
}

impl From<Timeout> for AttemptError {
    fn from(timeout: Timeout) -> Self {
        match timeout {
            Timeout::Stalled(limit) => Cause::Stalled(limit).with_retry(RetryAdvice::Later),
            // The next attempt would take as long.
            Timeout::Overdue(limit) => Cause::Overdue(limit).without_retry(),
        }
    }
}

/// The TLS failure in an error. I/O errors wrap TLS errors, sometimes in several layers, which
/// `source` skips.
fn tls_failure(error: &(dyn std::error::Error + 'static)) -> Option<TlsFailure> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        let not_tls = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        return Some(if *tls == not_tls {
            TlsFailure::NotTls
        } else {
            TlsFailure::Other(tls.to_string())
        });
    }
    tls_failure(error.downcast_ref::<std::io::Error>()?.get_ref()?)
}
