//! The clocks of servers, from the header `Date` of their responses, compared with the local clock.
//!
//! No request is necessary for the time: every response contains it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::header::{AGE, DATE, HeaderMap};

/// A server's clock and the local clock at the same moment. The header's precision is one second
/// (RFC 9110, section 6.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerTime {
    pub(crate) server: SystemTime,
    /// This machine's clock when the response arrived.
    pub(crate) local: SystemTime,
}

impl ServerTime {
    /// The clocks of a response; `None` for a cached response, because its date is an earlier time.
    pub(super) fn from_headers(headers: &HeaderMap, now: fn() -> SystemTime) -> Option<Self> {
        if headers.contains_key(AGE) {
            return None;
        }
        Some(Self {
            server: server_time(headers)?,
            local: now(),
        })
    }

    /// The absolute difference between the clocks.
    pub(crate) fn difference(&self) -> Duration {
        absolute_difference(self.local, self.server)
    }

    /// The server's time at `now` of this machine's clock, which may be wrong but advances.
    pub(crate) fn at(&self, now: SystemTime) -> SystemTime {
        self.server + now.duration_since(self.local).unwrap_or_default()
    }

    /// Whether this machine's clock is slower than the server's.
    pub(crate) fn is_local_behind(&self) -> bool {
        self.local < self.server
    }
}

/// The clock of each host at its last response; clones share the record.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerTimes(Arc<Mutex<BTreeMap<String, ServerTime>>>);

impl ServerTimes {
    pub(crate) fn record(&self, host: String, time: ServerTime) {
        self.lock().insert(host, time);
    }

    pub(super) fn of(&self, host: &str) -> Option<ServerTime> {
        self.lock().get(host).copied()
    }

    pub(crate) fn all(&self) -> Vec<(String, ServerTime)> {
        let times = self.lock();
        times
            .iter()
            .map(|(host, time)| (host.clone(), *time))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ServerTime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn absolute_difference(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|error| error.duration())
}

/// The server's time in a response.
pub(super) fn server_time(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()
}

/// The local clock, and the server's clock if the server reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    /// This machine's time.
    pub local: SystemTime,
    /// The server's time at that moment.
    pub server: Option<SystemTime>,
}

impl Clock {
    /// The clocks when a response with these headers arrived.
    pub(crate) fn from_headers(headers: &HeaderMap, now: fn() -> SystemTime) -> Self {
        match ServerTime::from_headers(headers, now) {
            Some(time) => Self {
                local: time.local,
                server: Some(time.server),
            },
            None => Self {
                local: now(),
                server: None,
            },
        }
    }

    /// The absolute difference between the clocks; `None` if the server did not report its time.
    pub(crate) fn difference(&self) -> Option<Duration> {
        Some(absolute_difference(self.local, self.server?))
    }

    /// The earlier time, by which an age is never overestimated.
    pub(crate) fn earlier(&self) -> SystemTime {
        self.server.unwrap_or(self.local).min(self.local)
    }

    /// The later of two times.
    pub(crate) fn later(&self) -> SystemTime {
        self.server.unwrap_or(self.local).max(self.local)
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
        ServerTime::from_headers(&headers, noon)
    }

    #[test]
    fn local_clock_may_be_behind_or_ahead() {
        let behind = server_time_of(&[(DATE, "Thu, 01 Jan 2026 12:10:00 GMT")]).unwrap();
        assert_eq!(
            (behind.difference(), behind.is_local_behind()),
            (Duration::from_secs(600), true)
        );
        let ahead = server_time_of(&[(DATE, "Thu, 01 Jan 2026 11:59:00 GMT")]).unwrap();
        assert_eq!(
            (ahead.difference(), ahead.is_local_behind()),
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
