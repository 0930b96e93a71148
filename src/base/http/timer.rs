//! The clock of paced requests: this machine's, or a faster one in tests.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

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
