//! The pace of a process that works on many repositories of one forge.
//!
//! Shards do not communicate, but share a token and its rate limits: each shard writes only in its
//! own seconds of the server's clock. A rate limit parks the process: it suspends writes, and also
//! reading requests if one was limited or the hourly budget is nearly exhausted. The client
//! requests a [`Permit`] before each request and reports each response.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::{Url, header::HeaderMap};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Deadline, Effect, Timer, clock::server_time, retry::limit_header};

/// The maximum number of concurrent reading requests.
const READS: usize = 4;
/// The part of its second in which a write begins. The estimate of the server's clock is off by a
/// fraction of a second, and the request must arrive within the second.
const WRITE_EARLIEST: Duration = Duration::from_millis(400);
const WRITE_LATEST: Duration = Duration::from_millis(800);
/// The first pause after a limit if the server does not report its end (GitHub REST API, "Rate
/// limits", "Exceeding the rate limit"), and the longest one.
const LIMIT_PAUSE: Duration = Duration::from_secs(60);
const MAX_LIMIT_PAUSE: Duration = Duration::from_secs(900);
/// Reading requests are parked while less than one part in this number of the hourly budget
/// remains.
const RESERVE: u64 = 20;

tokio::task_local! {
    /// The number of requests of the current work.
    static REQUESTS: Cell<u64>;
}

/// Runs work, and counts the paced requests that it begins.
pub(crate) async fn count_requests<T>(work: impl Future<Output = T>) -> (T, u64) {
    REQUESTS
        .scope(Cell::new(0), async {
            let output = work.await;
            (output, REQUESTS.with(Cell::get))
        })
        .await
}

/// The pace of a process; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct RequestPacer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    shard: Shard,
    /// The time between two new pull requests of this process.
    pull_request_interval: Duration,
    timer: Timer,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    state: Mutex<State>,
}

/// The part of the work that belongs to one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    /// The number of this shard, from 0.
    pub number: u32,
    /// The number of all shards.
    pub count: u32,
}

/// Times are by the server's clock.
#[derive(Debug, Default)]
struct State {
    offset: Option<Offset>,
    last_write_start: Option<SystemTime>,
    last_write_end: Option<SystemTime>,
    last_pull_request: Option<SystemTime>,
    writes_parked_until: Option<SystemTime>,
    /// The times until which reading requests are parked, by rate limit.
    reads_parked_until: BTreeMap<&'static str, SystemTime>,
    /// The number of consecutive limits without a reported end.
    limits_without_end: u32,
    /// The last limit, by the local clock.
    last_limit: Option<SystemTime>,
}

/// The bounds of the server's clock minus the local clock, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    min: i128,
    max: i128,
}

/// The permission for a request, held until its response was read.
#[derive(Debug)]
pub(super) struct Permit {
    _slot: OwnedSemaphorePermit,
    start: SystemTime,
    /// The pace that records the end of a write.
    write: Option<RequestPacer>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(pace) = &self.write {
            let now = pace.server_now();
            pace.state().last_write_end = Some(now);
        }
    }
}

/// A wait that exceeds the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PastDeadline(pub(super) Duration);

impl RequestPacer {
    /// The pace of a shard; all shards together open `pull_requests` pull requests per minute.
    pub(crate) fn new(shard: Shard, pull_requests: u32, timer: Timer) -> Self {
        let count = shard.count.max(1);
        Self(Arc::new(Shared {
            shard: Shard { count, ..shard },
            pull_request_interval: Duration::from_secs(60) * count / pull_requests.max(1),
            timer,
            reads: Arc::new(Semaphore::new(READS)),
            writes: Arc::new(Semaphore::new(1)),
            state: Mutex::default(),
        }))
    }

    /// The clock of the pauses.
    pub(crate) fn timer(&self) -> &Timer {
        &self.0.timer
    }

    /// Pauses until this process may open another pull request; `false` if that exceeds the
    /// deadline.
    pub(crate) async fn wait_for_turn(&self, until: Deadline) -> bool {
        loop {
            let now = self.server_now();
            let Some(wait) = self.reserve_pull_request(now) else {
                return true;
            };
            if until.is_over_after(self.0.timer.real_duration(wait)) {
                return false;
            }
            self.0.timer.sleep(wait).await;
        }
    }

    /// Records a pull request that is opened now, or returns the wait before the next one.
    fn reserve_pull_request(&self, now: SystemTime) -> Option<Duration> {
        let mut state = self.state();
        if let Some(last) = state.last_pull_request {
            let wait = wait_until(last + self.0.pull_request_interval, now);
            if wait.is_some() {
                return wait;
            }
        }
        state.last_pull_request = Some(now);
        None
    }

    /// The time by the server's clock, estimated from its responses.
    fn server_now(&self) -> SystemTime {
        let offset = self.state().offset.map_or(0, Offset::middle);
        add_nanos(self.0.timer.now(), offset)
    }

    /// The local time at a time by the server's clock.
    pub(super) fn to_local_time(&self, server: SystemTime) -> SystemTime {
        let offset = self.state().offset.map_or(0, Offset::middle);
        add_nanos(server, -offset)
    }

    /// Pauses until a request may begin.
    pub(super) async fn begin(
        &self,
        effect: Effect,
        url: &Url,
        until: Deadline,
    ) -> Result<Permit, PastDeadline> {
        let slots = match effect {
            Effect::Read => &self.0.reads,
            Effect::Write => &self.0.writes,
        };
        let slot = Arc::clone(slots)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        loop {
            let now = self.server_now();
            let parked_until = match effect {
                Effect::Read => {
                    let limit = rate_limit_of(url);
                    self.state().reads_parked_until.get(limit).copied()
                }
                Effect::Write => self.state().writes_parked_until,
            };
            if let Some(wait) = parked_until.and_then(|end| wait_until(end, now)) {
                if until.is_over_after(self.0.timer.real_duration(wait)) {
                    return Err(PastDeadline(wait));
                }
                self.0.timer.sleep(wait).await;
                continue;
            }
            if effect == Effect::Write
                && let Some(wait) = self.reserve_write(now)
            {
                self.0.timer.sleep(wait).await;
                continue;
            }
            // An error means that this work is not counted.
            let _ = REQUESTS.try_with(|requests| requests.set(requests.get() + 1));
            return Ok(Permit {
                _slot: slot,
                start: self.0.timer.now(),
                write: (effect == Effect::Write).then(|| self.clone()),
            });
        }
    }

    /// Records a write that begins now, or returns the wait before it may begin.
    fn reserve_write(&self, now: SystemTime) -> Option<Duration> {
        let mut state = self.state();
        let (start, end) = (state.last_write_start, state.last_write_end);
        let wait = wait_until(next_write(self.0.shard, now, start, end), now);
        if wait.is_none() {
            state.last_write_start = Some(now);
        }
        wait
    }

    /// Updates the estimates of the server's clock and budget from a response. Returns the time
    /// until which reading requests are parked, if it changed.
    pub(super) fn observe(
        &self,
        permit: &Permit,
        url: &Url,
        headers: &HeaderMap,
    ) -> Option<SystemTime> {
        let local = self.0.timer.now();
        if !self.0.timer.is_server_clock()
            && let Some(server) = server_time(headers)
        {
            // The header is rounded down to a second, and was written after the request began.
            let observed = Offset {
                min: nanos(server) - nanos(local),
                max: nanos(server) + 1_000_000_000 - nanos(permit.start),
            };
            let mut state = self.state();
            let combined = state.offset.and_then(|known| known.intersection(observed));
            state.offset = Some(combined.unwrap_or(observed));
        }
        let number = |name: &str| limit_header(headers, name)?.parse::<u64>().ok();
        let limit = number("limit")?;
        let remaining = number("remaining")?;
        let reset = UNIX_EPOCH.checked_add(Duration::from_secs(number("reset")?))?;
        if remaining.saturating_mul(RESERVE) >= limit || reset <= self.server_now() {
            return None;
        }
        let mut state = self.state();
        let previous = state.reads_parked_until.insert(rate_limit_of(url), reset);
        (previous != Some(reset)).then_some(reset)
    }

    /// Resets the doubling of pauses after a write that started after the last limit.
    pub(super) fn record_success(&self, permit: &Permit, effect: Effect) {
        let mut state = self.state();
        if effect == Effect::Write && state.last_limit.is_none_or(|limit| permit.start > limit) {
            state.limits_without_end = 0;
        }
    }

    /// Parks the process after a rate limit, and returns the duration.
    pub(super) fn park(&self, effect: Effect, url: &Url, requested: Option<Duration>) -> Duration {
        let (local, now) = (self.0.timer.now(), self.server_now());
        let mut state = self.state();
        state.last_limit = Some(local);
        let wait = requested.unwrap_or_else(|| {
            let doubled = LIMIT_PAUSE.saturating_mul(1 << state.limits_without_end.min(10));
            state.limits_without_end += 1;
            doubled.min(MAX_LIMIT_PAUSE)
        });
        // A wait that exceeds the clock's range exceeds every deadline.
        let end = now
            .checked_add(wait)
            .unwrap_or(now + MAX_LIMIT_PAUSE * 1000);
        state.writes_parked_until = state.writes_parked_until.max(Some(end));
        if effect == Effect::Read {
            let parked = state
                .reads_parked_until
                .entry(rate_limit_of(url))
                .or_insert(end);
            *parked = end.max(*parked);
        }
        wait
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offset {
    fn middle(self) -> i128 {
        i128::midpoint(self.min, self.max)
    }

    /// `None` if the offsets contradict each other, because a clock was set.
    fn intersection(self, other: Self) -> Option<Self> {
        let (min, max) = (self.min.max(other.min), self.max.min(other.max));
        (min <= max).then_some(Self { min, max })
    }
}

/// The rate limit of a request: GraphQL and search have their own (GitHub REST API, "Rate limits").
fn rate_limit_of(url: &Url) -> &'static str {
    let path = url.path();
    if path.ends_with("/graphql") {
        "graphql"
    } else if path.contains("/search/") {
        "search"
    } else {
        "core"
    }
}

/// The wait until a time; `None` if it is not in the future.
fn wait_until(time: SystemTime, now: SystemTime) -> Option<Duration> {
    let wait = time.duration_since(now).ok()?;
    (!wait.is_zero()).then_some(wait)
}

/// The earliest time of a shard's next write, by the server's clock. With N shards, shard K writes
/// in the seconds `t` with `t mod N = K`, at least N seconds after the start of the last write.
/// The second must also be later than the end of the last write: the server may have counted that
/// write in any second until then.
fn next_write(
    shard: Shard,
    now: SystemTime,
    last_start: Option<SystemTime>,
    last_end: Option<SystemTime>,
) -> SystemTime {
    let (number, count) = (u64::from(shard.number), u64::from(shard.count));
    let interval = Duration::from_secs(count);
    let mut earliest = now;
    if let Some(start) = last_start {
        earliest = earliest.max(start + interval);
    }
    if let Some(end) = last_end {
        earliest = earliest.max(UNIX_EPOCH + Duration::from_secs(unix_seconds(end) + 1));
    }
    let second = unix_seconds(earliest);
    let delay = (number + count - second % count) % count;
    let own_second = UNIX_EPOCH + Duration::from_secs(second + delay);
    if earliest > own_second + WRITE_LATEST {
        return own_second + interval + WRITE_EARLIEST;
    }
    earliest.max(own_second + WRITE_EARLIEST)
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Nanoseconds since 1970, negative before.
fn nanos(time: SystemTime) -> i128 {
    let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => nanos(since),
        Err(error) => -nanos(error.duration()),
    }
}

fn add_nanos(time: SystemTime, nanos: i128) -> SystemTime {
    let distance = Duration::from_nanos(u64::try_from(nanos.unsigned_abs()).unwrap_or(u64::MAX));
    let sum = if nanos < 0 {
        time.checked_sub(distance)
    } else {
        time.checked_add(distance)
    };
    sum.unwrap_or(time)
}

#[cfg(test)]
mod tests;
