//! The clocks of servers, from the header `Date` of their responses, compared with the local clock.
//!
//! No request is necessary for the time: every response contains it.
//!
//! The deadline of one request, and the deadline that all requests of a command share.
//!
//! The clock of paced requests: this machine's, or a faster one in tests.
//!
//! Pauses that servers request, reported in advance to a function of the caller.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use reqwest::header::{AGE, DATE, HeaderMap};
use tokio::time::Instant;

use super::WaitReason;

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

/// The time after which a request is not retried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// A deadline after `patience`. Without a duration, or with one that exceeds the clock's range,
    /// it never passes.
    pub(crate) fn after(patience: Option<Duration>) -> Self {
        Self(patience.and_then(|patience| Instant::now().checked_add(patience)))
    }

    /// The deadline that is over first.
    pub(crate) fn earlier(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(other)) => Self(Some(one.min(other))),
            (end, None) | (None, end) => Self(end),
        }
    }

    pub(crate) fn is_over(self) -> bool {
        self.is_over_after(Duration::ZERO)
    }

    /// The time until the deadline; `None`: it never passes.
    pub(crate) fn rest(self) -> Option<Duration> {
        let end = self.0?;
        Some(end.saturating_duration_since(Instant::now()))
    }

    /// Whether the deadline is over after another wait of this length.
    pub(crate) fn is_over_after(self, wait: Duration) -> bool {
        let Some(end) = self.0 else {
            return false;
        };
        // A wait that exceeds the clock's range exceeds every deadline.
        Instant::now()
            .checked_add(wait)
            .is_none_or(|wake| wake > end)
    }
}

/// A deadline that all clients of a command share.
///
/// It limits pauses and retries: a request that starts after it is still sent once.
#[derive(Debug, Clone)]
pub(crate) struct SharedDeadline(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    length: Duration,
    name: String,
    deadline: Deadline,
}

impl State {
    fn new(length: Duration, name: String) -> Self {
        let deadline = Deadline::after(Some(length));
        Self {
            length,
            name,
            deadline,
        }
    }
}

impl SharedDeadline {
    /// Starts a deadline; `name` is the setting that it comes from, for messages.
    pub(crate) fn new(length: Duration, name: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(State::new(length, name.into()))))
    }

    /// Replaces length and name, and restarts the deadline.
    pub(crate) fn replace(&self, length: Duration, name: impl Into<String>) {
        *self.state() = State::new(length, name.into());
    }

    /// Restarts the deadline with the same length.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.deadline = Deadline::after(Some(state.length));
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.state().deadline
    }

    /// Its setting and length, as `REPIN_DEADLINE, 900 s`.
    pub(crate) fn describe(&self) -> String {
        let state = self.state();
        format!("{}, {} s", state.name, state.length.as_secs())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock with a method to sleep.
#[derive(Clone)]
pub struct Timer {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Its seconds per real second.
    speed: u32,
    /// Whether the simulated server uses the same clock.
    is_server_clock: bool,
}

/// The precision of the runtime's timer; shorter pauses poll the clock.
const TIMER_PRECISION: Duration = Duration::from_millis(5);

impl Timer {
    /// The clock `now`, at its usual speed.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self {
            now: Arc::new(now),
            speed: 1,
            is_server_clock: false,
        }
    }

    /// The clock of a simulated server, which agrees with `now` at `origin` and runs `speed` times
    /// as fast.
    pub fn scaled(now: fn() -> SystemTime, origin: SystemTime, speed: u32) -> Self {
        let speed = speed.max(1);
        Self {
            now: Arc::new(move || {
                let since = now().duration_since(origin).unwrap_or_default();
                origin + since.saturating_mul(speed)
            }),
            speed,
            is_server_clock: true,
        }
    }

    pub(super) fn is_server_clock(&self) -> bool {
        self.is_server_clock
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.now)()
    }

    /// The real duration of a wait by this clock.
    pub(crate) fn real_duration(&self, wait: Duration) -> Duration {
        wait / self.speed
    }

    /// Pauses by this clock.
    pub(crate) async fn sleep(&self, wait: Duration) {
        let end = self.now() + wait;
        let real = self.real_duration(wait);
        if self.speed == 1 {
            return tokio::time::sleep(real).await;
        }
        tokio::time::sleep(real.saturating_sub(TIMER_PRECISION)).await;
        while self.now() < end {
            tokio::task::yield_now().await;
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("speed", &self.speed)
            .finish_non_exhaustive()
    }
}

/// A pause that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pause {
    /// The host that requested the pause, with its port if that is not the scheme's default.
    pub(crate) host: String,
    pub(crate) reason: WaitReason,
    /// The end of the pause, by this machine's clock.
    pub(crate) until: SystemTime,
}

type Callback = dyn Fn(&Pause) + Send + Sync;

/// Receives pauses; the default ignores them.
#[derive(Clone, Default)]
pub(crate) struct PauseListener(Option<Arc<Callback>>);

impl PauseListener {
    /// Calls `callback` with each pause.
    pub(crate) fn new(callback: impl Fn(&Pause) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(callback)))
    }

    pub(super) fn notify(&self, pause: &Pause) {
        if let Some(callback) = &self.0 {
            callback(pause);
        }
    }
}

impl fmt::Debug for PauseListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PauseListener")
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, until) = (&self.host, to_second(self.until));
        match self.reason {
            WaitReason::Limit => write!(f, "rate limited by {host}, resuming at {until}"),
            WaitReason::Busy => write!(f, "{host} is busy, resuming at {until}"),
        }
    }
}

/// A time to the second, as `2026-01-01 15:04:05Z`, rounded up: requests resume no earlier than displayed.
pub(crate) fn to_second(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    let rounded = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let rounded = rounded.and_then(|time| Timestamp::try_from(time).ok());
    rounded.map_or_else(
        || "a date out of bounds".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    #[test]
    fn times_round_up() {
        for (millis, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (1, "1970-01-01 00:00:01Z"),
            (86_399_001, "1970-01-02 00:00:00Z"),
            (1_767_279_845_000, "2026-01-01 15:04:05Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(to_second(time), text);
        }
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(to_second(far), "a date out of bounds");
    }
}
