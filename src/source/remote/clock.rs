//! What a server's clock says, beside our own.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap};

/// Two clocks, read when an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// This machine's.
    pub local: SystemTime,
    /// The server's (RFC 9110, section 6.6.1); `None` if it does not tell.
    pub server: Option<SystemTime>,
}

impl Clock {
    /// The clocks as an answer with these headers came.
    pub fn of(headers: &HeaderMap, now: fn() -> SystemTime) -> Self {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        Self { local: now(), server: date.and_then(|text| httpdate::parse_http_date(text).ok()) }
    }

    /// How far apart they are; `None` if the server does not tell.
    pub fn apart(&self) -> Option<Duration> {
        let server = self.server?;
        Some(self.local.duration_since(server).unwrap_or_else(|error| error.duration()))
    }

    /// The earlier of the two: by it nothing looks older than it is.
    pub fn earlier(&self) -> SystemTime {
        self.server.map_or(self.local, |server| server.min(self.local))
    }
}
