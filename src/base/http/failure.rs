//! The errors of requests without a usable response. Callers format them: the texts here are a
//! server's or a library's, and must be redacted before they are shown.
//!
//! The request log: one `tracing` event for each request, including redirects and retries, after
//! its response was received, failed, or was dropped.
//!
//! A subscriber of [`LOG`] receives the events. They never contain headers or bodies.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;
use tracing::Level;

use super::{RetryAdvice, StopReason, address::host_of, policy::Timeout};
use crate::base::untrusted::{Secrets, is_secret_parameter, plain};

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

/// The target of the events; their level is debug.
pub(crate) const LOG: &str = "repin::http";

/// A request in progress, logged when it is dropped; empty if the log has no subscriber.
#[derive(Debug)]
pub(super) struct LogRecord(Option<Request>);

#[derive(Debug)]
struct Request {
    method: Method,
    url: String,
    attempt: u32,
    start: Instant,
    status: Option<StatusCode>,
    bytes: u64,
    error: Option<&'static str>,
}

impl LogRecord {
    /// Starts the record of a request that is about to be sent.
    pub(super) fn start(method: &Method, url: &Url, attempt: u32, secrets: &Secrets) -> Self {
        if !tracing::enabled!(target: LOG, Level::DEBUG) {
            return Self(None);
        }
        Self(Some(Request {
            method: method.clone(),
            url: plain(&secrets.redact(&redacted(url))),
            attempt,
            start: Instant::now(),
            status: None,
            bytes: 0,
            // Remains if the request's future is dropped.
            error: Some("cancelled"),
        }))
    }

    pub(super) fn set_status(&mut self, status: StatusCode) {
        if let Some(request) = &mut self.0 {
            request.status = Some(status);
            request.error = None;
        }
    }

    pub(super) fn add_bytes(&mut self, bytes: usize) {
        if let Some(request) = &mut self.0 {
            request.bytes += bytes as u64;
        }
    }

    pub(super) fn set_failure(&mut self, cause: &Cause) {
        if let Some(request) = &mut self.0 {
            request.error = Some(match cause {
                Cause::Network(network) if network.tls.is_some() => "TLS failed",
                Cause::Network(network) if network.stage == Stage::Connecting => "cannot connect",
                Cause::Network(_) => "connection broken",
                Cause::Stalled(_) => "no data received in time",
                Cause::Overdue(_) => "not finished in time",
                Cause::TooLarge(_) => "too large",
                Cause::Compressed => "compressed",
                Cause::Redirect(_) => "redirect refused",
                Cause::NoClient(_) | Cause::Parked | Cause::Status { .. } => "failed",
            });
        }
    }
}

impl Drop for LogRecord {
    fn drop(&mut self) {
        let Some(request) = self.0.take() else {
            return;
        };
        let status = request
            .status
            .map_or_else(|| "-".to_owned(), |status| status.as_u16().to_string());
        tracing::debug!(
            target: LOG,
            method = %request.method,
            url = %request.url,
            status = %status,
            bytes = request.bytes,
            ms = u64::try_from(request.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            attempt = request.attempt,
            error = request.error.map(tracing::field::display),
        );
    }
}

/// A URL without user, fragment, and the values of its query, except short numbers. A registry's
/// storage signs its URLs in the query.
fn redacted(url: &Url) -> String {
    let mut text = format!("{}://{}{}", url.scheme(), host_of(url), url.path());
    for (index, pair) in url.query().unwrap_or_default().split('&').enumerate() {
        if pair.is_empty() {
            continue;
        }
        text.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, value)) if is_short_number(value) && !is_secret_parameter(name) => {
                text.push_str(pair);
            }
            Some((name, _)) => text.extend([name, "=***"]),
            None => text.push_str("***"),
        }
    }
    text
}

fn is_short_number(text: &str) -> bool {
    (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logged_urls_contain_no_secrets() {
        for (url, expected) in [
            (
                "https://user:pass@cdn.example/a/b?X-Sig=s3cret&n=100&last=v1#part",
                "https://cdn.example/a/b?X-Sig=***&n=100&last=***",
            ),
            ("http://[::1]:5000/v2/", "http://[::1]:5000/v2/"),
            ("http://h/?s3cret&page=2", "http://h/?***&page=2"),
            ("http://h/?otp=1234567&page=", "http://h/?otp=***&page=***"),
            // The names that GitLab accepts for tokens
            // (<https://docs.gitlab.com/api/rest/authentication/>).
            (
                "http://h/?private_token=s3cret&access_token=s3cret&job_token=s3cret&page=2",
                "http://h/?private_token=***&access_token=***&job_token=***&page=2",
            ),
            (
                "http://h/?private_token=123456&Access_Token=1&job_token=2&token=3",
                "http://h/?private_token=***&Access_Token=***&job_token=***&token=***",
            ),
            (
                "http://h/a\n\u{1b}[2J?\u{202e}=1",
                "http://h/a%1B[2J?%E2%80%AE=1",
            ),
        ] {
            assert_eq!(redacted(&url.parse().unwrap()), expected);
        }
    }
}
