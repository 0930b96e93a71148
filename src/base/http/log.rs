//! The request log: one `tracing` event for each request, including redirects and retries, after
//! its response was received, failed, or was dropped.
//!
//! A subscriber of [`LOG`] receives the events. They never contain headers or bodies.

use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;
use tracing::Level;

use super::{Cause, Stage, address::host_of};
use crate::base::untrusted::{Secrets, plain};

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
            Some((_, value)) if is_short_number(value) => text.push_str(pair),
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
            (
                "http://h/a\n\u{1b}[2J?\u{202e}=1",
                "http://h/a%1B[2J?%E2%80%AE=1",
            ),
        ] {
            assert_eq!(redacted(&url.parse().unwrap()), expected);
        }
    }
}
