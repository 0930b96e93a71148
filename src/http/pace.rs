//! The pace of a process that works on many repositories of one forge: when a request may begin.
//!
//! Shards do not talk to each other, and limits are the token's: each shard writes only in its own
//! seconds of the server's clock, which all of them see. A limit parks the whole process: no writes
//! until it ends, and no reads either if a read was limited or little of the hourly budget is left.
//! Nothing is sent here; the client asks before each request and reports each response.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::{Url, header::HeaderMap};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Deadline, Effect, Timer, clock::server_time};

/// Reads in progress at once.
const READS: usize = 4;
/// Where in its second a write begins: late enough for a clock that is known to a fraction of a
/// second, early enough to arrive within it.
const PHASE: Duration = Duration::from_millis(400);
/// The latest moment of its second at which a write begins.
const LATEST: Duration = Duration::from_millis(800);
/// The first pause after a limit whose end the server does not name (GitHub REST API, "Rate limits",
/// "Exceeding the rate limit"), and the longest one.
const UNNAMED: Duration = Duration::from_secs(60);
const UNNAMED_MAX: Duration = Duration::from_secs(900);
/// Reads are parked while less than one part in so many of a budget is left.
const RESERVE: u64 = 20;

tokio::task_local! {
    /// How many requests the work in progress has begun.
    static BEGUN: Cell<u64>;
}

/// What some work came to, and how many requests it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tallied<T> {
    /// What it came to.
    pub output: T,
    /// How many requests it began.
    pub requests: u64,
}

/// Counts the requests that some work begins, where they are paced.
pub async fn tallied<T>(work: impl Future<Output = T>) -> Tallied<T> {
    let counted = async {
        let output = work.await;
        let requests = BEGUN.with(Cell::get);
        Tallied { output, requests }
    };
    BEGUN.scope(Cell::new(0), counted).await
}

/// When the requests of a process may begin; clones share it.
#[derive(Debug, Clone)]
pub struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    shard: Shard,
    /// The time between two new pull requests of this process.
    between_pulls: Duration,
    timer: Timer,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    state: Mutex<State>,
}

/// Which part of all requests a process makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Its number, from 0.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

#[derive(Debug, Default)]
struct State {
    /// The server's clock less this one's: at least, at most; in nanoseconds.
    offset: Option<Offset>,
    /// When the last write began and when it ended, by the server's clock.
    last_write: Option<SystemTime>,
    last_end: Option<SystemTime>,
    last_pull: Option<SystemTime>,
    /// Until when, by the server's clock, nothing is written.
    writes_parked: Option<SystemTime>,
    /// The same for reads, by the budget that they count towards.
    reads_parked: BTreeMap<&'static str, SystemTime>,
    /// How many limits without a time came one after another, and when the last one did.
    unnamed: u32,
    limited: Option<SystemTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    least: i128,
    most: i128,
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct Permit {
    _place: OwnedSemaphorePermit,
    begun: SystemTime,
    /// Who learns when a write ends.
    write: Option<Pace>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(pace) = &self.write {
            let now = pace.server_now();
            pace.state().last_end = Some(now);
        }
    }
}

/// A wait that would pass the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) Duration);

impl Pace {
    /// The pace of `shard`, which opens its part of `pulls` pull requests a minute.
    pub fn new(shard: Shard, pulls: u32, timer: Timer) -> Self {
        let of = shard.of.max(1);
        Self(Arc::new(Shared {
            shard: Shard { of, ..shard },
            between_pulls: Duration::from_secs(60) * of / pulls.max(1),
            timer,
            reads: Arc::new(Semaphore::new(READS)),
            writes: Arc::new(Semaphore::new(1)),
            state: Mutex::default(),
        }))
    }

    /// The clock that requests wait by.
    pub fn timer(&self) -> &Timer {
        &self.0.timer
    }

    /// Waits until this process may open another pull request; `false` if that is past the deadline.
    pub async fn pull_request(&self, until: Deadline) -> bool {
        loop {
            let now = self.server_now();
            let wait = {
                let mut state = self.state();
                let free = state.last_pull.map(|last| last + self.0.between_pulls);
                let wait = free.and_then(|free| free.duration_since(now).ok());
                let wait = wait.filter(|wait| !wait.is_zero());
                if wait.is_none() {
                    state.last_pull = Some(now);
                }
                wait
            };
            let Some(wait) = wait else { return true };
            if until.is_over_after(self.0.timer.real(wait)) {
                return false;
            }
            self.0.timer.sleep(wait).await;
        }
    }

    /// Until when nothing is written, by the server's clock; `None`: not parked.
    pub fn parked(&self) -> Option<SystemTime> {
        let now = self.server_now();
        self.state().writes_parked.filter(|until| *until > now)
    }

    /// The server's clock, as far as its responses show it.
    pub fn server_now(&self) -> SystemTime {
        let offset = self.state().offset.map_or(0, Offset::middle);
        moved(self.0.timer.now(), offset)
    }

    /// A time of the server's by this machine's clock.
    pub(super) fn here(&self, server: SystemTime) -> SystemTime {
        let offset = self.state().offset.map_or(0, Offset::middle);
        moved(server, -offset)
    }

    /// Waits until a request may begin.
    pub(super) async fn begin(
        &self,
        effect: Effect,
        url: &Url,
        until: Deadline,
    ) -> Result<Permit, TooLong> {
        let places = match effect {
            Effect::Reads => &self.0.reads,
            Effect::Writes => &self.0.writes,
        };
        let place = Arc::clone(places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        loop {
            let now = self.server_now();
            let parked = {
                let state = self.state();
                let parked = match effect {
                    Effect::Reads => state.reads_parked.get(budget(url)).copied(),
                    Effect::Writes => state.writes_parked,
                };
                parked.and_then(|end| end.duration_since(now).ok())
            };
            if let Some(wait) = parked.filter(|wait| !wait.is_zero()) {
                if until.is_over_after(self.0.timer.real(wait)) {
                    return Err(TooLong(wait));
                }
                self.0.timer.sleep(wait).await;
                continue;
            }
            if effect == Effect::Writes {
                let (last, end) = {
                    let state = self.state();
                    (state.last_write, state.last_end)
                };
                let at = next_write(self.0.shard, now, last, end);
                if let Ok(wait) = at.duration_since(now)
                    && !wait.is_zero()
                {
                    self.0.timer.sleep(wait).await;
                    continue;
                }
                self.state().last_write = Some(now);
            }
            // Outside of counted work, nobody wants to know.
            let _ = BEGUN.try_with(|begun| begun.set(begun.get() + 1));
            return Ok(Permit {
                _place: place,
                begun: self.0.timer.now(),
                write: (effect == Effect::Writes).then(|| self.clone()),
            });
        }
    }

    /// Takes in what a response says about the server's clock and budget. Returns until when reads
    /// are parked, if that is new.
    pub(super) fn observe(
        &self,
        permit: &Permit,
        url: &Url,
        headers: &HeaderMap,
    ) -> Option<SystemTime> {
        let here = self.0.timer.now();
        if let Some(server) = server_time(headers).filter(|_| !self.0.timer.is_shared()) {
            // Whole seconds: the server's clock was at most one later, at some time since the
            // request began.
            let seen = Offset {
                least: nanos(server) - nanos(here),
                most: nanos(server) + 1_000_000_000 - nanos(permit.begun),
            };
            let mut state = self.state();
            let known = state.offset.and_then(|known| known.within(seen));
            state.offset = Some(known.unwrap_or(seen));
        }
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        let (limit, left) = (
            number("x-ratelimit-limit")?,
            number("x-ratelimit-remaining")?,
        );
        let reset = Duration::from_secs(number("x-ratelimit-reset")?);
        let reset = UNIX_EPOCH.checked_add(reset)?;
        if left.saturating_mul(RESERVE) >= limit || reset <= self.server_now() {
            return None;
        }
        let mut state = self.state();
        let before = state.reads_parked.insert(budget(url), reset);
        (before != Some(reset)).then_some(reset)
    }

    /// A request succeeded.
    pub(super) fn succeeded(&self, permit: &Permit, effect: Effect) {
        let mut state = self.state();
        if effect == Effect::Writes && state.limited.is_none_or(|at| permit.begun > at) {
            state.unnamed = 0;
        }
    }

    /// A request was limited: parks the process, and returns for how long.
    pub(super) fn limited(&self, effect: Effect, url: &Url, asked: Option<Duration>) -> Duration {
        let (here, now) = (self.0.timer.now(), self.server_now());
        let mut state = self.state();
        state.limited = Some(here);
        let wait = asked.unwrap_or_else(|| {
            let doubled = UNNAMED.saturating_mul(1 << state.unnamed.min(10));
            state.unnamed += 1;
            doubled.min(UNNAMED_MAX)
        });
        // A wait that no clock reaches is past every deadline.
        let end = now.checked_add(wait).unwrap_or(now + UNNAMED_MAX * 1000);
        state.writes_parked = state.writes_parked.max(Some(end));
        if effect == Effect::Reads {
            let parked = state.reads_parked.entry(budget(url)).or_insert(end);
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
        i128::midpoint(self.least, self.most)
    }

    /// What both allow; `None`: they contradict one another, since a clock was set.
    fn within(self, other: Self) -> Option<Self> {
        let (least, most) = (self.least.max(other.least), self.most.min(other.most));
        (least <= most).then_some(Self { least, most })
    }
}

/// The budget that a request counts towards: GraphQL has its own, and so has each search (GitHub
/// REST API, "Rate limits").
fn budget(url: &Url) -> &'static str {
    let path = url.path();
    if path.ends_with("/graphql") {
        "graphql"
    } else if path.contains("/search/") {
        "search"
    } else {
        "core"
    }
}

/// When a shard's next write may begin, by the server's clock: in a second `t` with `t mod N = K`,
/// N seconds after the last one began, and in a later second than it ended: the server took it in
/// before that. Not before `now`.
fn next_write(
    shard: Shard,
    now: SystemTime,
    last: Option<SystemTime>,
    end: Option<SystemTime>,
) -> SystemTime {
    let (number, of) = (u64::from(shard.number), u64::from(shard.of));
    let apart = Duration::from_secs(of);
    let earliest = last.map_or(now, |last| now.max(last + apart));
    let next_second = |end: SystemTime| {
        let since = end.duration_since(UNIX_EPOCH).unwrap_or_default();
        UNIX_EPOCH + Duration::from_secs(since.as_secs() + 1)
    };
    let earliest = end.map_or(earliest, |end| earliest.max(next_second(end)));
    let since = earliest.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = since.as_secs();
    let behind = (number + of - second % of) % of;
    let slot = UNIX_EPOCH + Duration::from_secs(second + behind);
    if earliest > slot + LATEST {
        return slot + apart + PHASE;
    }
    earliest.max(slot + PHASE)
}

fn nanos(time: SystemTime) -> i128 {
    let whole = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(error) => -whole(error.duration()),
    }
}

fn moved(time: SystemTime, nanos: i128) -> SystemTime {
    let by = Duration::from_nanos(u64::try_from(nanos.unsigned_abs()).unwrap_or(u64::MAX));
    let moved = if nanos < 0 {
        time.checked_sub(by)
    } else {
        time.checked_add(by)
    };
    moved.unwrap_or(time)
}

#[cfg(test)]
mod tests;
