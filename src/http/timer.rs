//! The clock that paced requests wait by: this machine's, or one that a test runs faster.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A clock, and how to wait by it.
#[derive(Clone)]
pub struct Timer {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// How many of its seconds one second has.
    speed: u32,
    /// Whether it is the server's clock itself.
    shared: bool,
}

/// Waits shorter than this are too short for the runtime's timer.
const SHORT: Duration = Duration::from_millis(5);

impl Timer {
    /// The clock that `now` reads, at its usual speed.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self {
            now: Arc::new(now),
            speed: 1,
            shared: false,
        }
    }

    /// The clock that agrees with `now` at `origin` and runs `speed` times as fast, as the server's does.
    pub fn scaled(now: fn() -> SystemTime, origin: SystemTime, speed: u32) -> Self {
        let speed = speed.max(1);
        let scaled = move || {
            let since = now().duration_since(origin).unwrap_or_default();
            origin + since.saturating_mul(speed)
        };
        Self {
            now: Arc::new(scaled),
            speed,
            shared: true,
        }
    }

    /// Whether it is the server's clock itself.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Its time.
    pub fn now(&self) -> SystemTime {
        (self.now)()
    }

    /// How long `wait` takes.
    pub fn real(&self, wait: Duration) -> Duration {
        wait / self.speed
    }

    /// Waits so long by this clock.
    pub async fn sleep(&self, wait: Duration) {
        let end = self.now() + wait;
        let real = self.real(wait);
        if self.speed == 1 {
            return tokio::time::sleep(real).await;
        }
        tokio::time::sleep(real.saturating_sub(SHORT)).await;
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
