//! What servers say about the time: the header `Date` of their answers beside this machine's clock.
//!
//! Nothing is requested here and nothing is judged; answers that came anyway are looked at.

use std::time::{Duration, SystemTime};

use reqwest::header::{AGE, DATE, HeaderMap};

/// A server's clock and the local clock, read at the same moment; the header counts whole seconds
/// (RFC 9110, section 6.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTime {
    /// The server's time.
    pub server: SystemTime,
    /// This machine's clock when it came.
    pub here: SystemTime,
}

impl ServerTime {
    /// What a response's headers say; nothing if it came out of a cache, whose time is that of
    /// another answer.
    pub fn of(headers: &HeaderMap, now: fn() -> SystemTime) -> Option<Self> {
        if headers.contains_key(AGE) {
            return None;
        }
        Some(Self {
            server: server_time(headers)?,
            here: now(),
        })
    }

    /// How far the two are apart.
    pub fn apart(&self) -> Duration {
        self.here
            .duration_since(self.server)
            .unwrap_or_else(|error| error.duration())
    }

    /// Whether this machine's clock is behind.
    pub fn is_behind(&self) -> bool {
        self.here < self.server
    }
}

/// The time by which a server wrote a response.
pub(super) fn server_time(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()
}

/// This machine's clock, and a server's where it reported one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// This machine's.
    pub here: SystemTime,
    /// The server's at that moment.
    pub server: Option<SystemTime>,
}

impl Clock {
    /// The clocks as a response with these headers came.
    pub fn of(headers: &HeaderMap, now: fn() -> SystemTime) -> Self {
        let time = ServerTime::of(headers, now);
        Self {
            here: time.map_or_else(now, |time| time.here),
            server: time.map(|time| time.server),
        }
    }

    /// The difference between the clocks; `None` if the server did not report its time.
    pub fn apart(&self) -> Option<Duration> {
        self.server.map(|server| {
            ServerTime {
                server,
                here: self.here,
            }
            .apart()
        })
    }

    /// The earlier of the two: by it nothing looks older than it is.
    pub fn earlier(&self) -> SystemTime {
        self.server
            .map_or(self.here, |server| server.min(self.here))
    }

    /// The later of the two.
    pub fn later(&self) -> SystemTime {
        self.server
            .map_or(self.here, |server| server.max(self.here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_767_268_800;

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOON)
    }

    fn server_time_of(headers: &[(reqwest::header::HeaderName, &str)]) -> Option<ServerTime> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        ServerTime::of(&headers, noon)
    }

    #[test]
    fn a_clock_may_be_behind_or_ahead() {
        let behind = server_time_of(&[(DATE, "Thu, 01 Jan 2026 12:10:00 GMT")]).unwrap();
        assert_eq!(
            (behind.apart(), behind.is_behind()),
            (Duration::from_secs(600), true)
        );
        let ahead = server_time_of(&[(DATE, "Thu, 01 Jan 2026 11:59:00 GMT")]).unwrap();
        assert_eq!(
            (ahead.apart(), ahead.is_behind()),
            (Duration::from_secs(60), false)
        );
    }

    #[test]
    fn cached_and_malformed_dates_are_ignored() {
        assert_eq!(server_time_of(&[]), None);
        assert_eq!(server_time_of(&[(DATE, "noon")]), None);
        assert_eq!(
            server_time_of(&[(DATE, "Thu, 01 Jan 2026 11:59:00 GMT"), (AGE, "60")]),
            None
        );
    }
}
