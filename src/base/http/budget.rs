//! The time limits of one attempt. Waiting for a free request slot does not count.

use std::time::Duration;

use tokio::time::Instant;

/// The total time of an attempt, and the longest time without progress.
#[derive(Debug)]
pub(super) struct TimeBudget {
    total: Duration,
    left: Duration,
    stall: Duration,
}

/// The limit that an attempt exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    /// No progress within this time.
    Stalled(Duration),
    /// Not complete within this time.
    Overdue(Duration),
}

impl TimeBudget {
    pub(super) fn new(total: Duration, stall: Duration) -> Self {
        Self {
            total,
            left: total,
            stall,
        }
    }

    pub(super) fn time_left(&self) -> Duration {
        self.left
    }

    pub(super) fn limit(&mut self, left: Duration) {
        self.left = self.left.min(left);
    }

    /// Runs work. Its completion counts as progress.
    pub(super) async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Timeout> {
        let limit = self.stall.min(self.left);
        let start = Instant::now();
        if let Ok(result) = tokio::time::timeout(limit, work).await {
            self.left = self.left.saturating_sub(start.elapsed());
            return Ok(result);
        }
        Err(if limit < self.stall {
            Timeout::Overdue(self.total)
        } else {
            Timeout::Stalled(self.stall)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::http::{AttemptError, RetryAdvice};

    #[tokio::test(start_paused = true)]
    async fn overdue_attempt_is_not_retried() {
        let seconds = Duration::from_secs;
        let mut budget = TimeBudget::new(seconds(60), seconds(30));
        let stalled = budget.run(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(stalled, Timeout::Stalled(seconds(30)));
        assert_eq!(AttemptError::from(stalled).retry, RetryAdvice::Later);
        let mut budget = TimeBudget::new(seconds(20), seconds(30));
        let overdue = budget.run(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(overdue, Timeout::Overdue(seconds(20)));
        assert_eq!(AttemptError::from(overdue).retry, RetryAdvice::Never);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_does_not_extend_the_total_time() {
        let mut budget = TimeBudget::new(Duration::from_secs(60), Duration::from_secs(30));
        for _ in 0..2 {
            let work = tokio::time::sleep(Duration::from_secs(25));
            assert_eq!(budget.run(work).await, Ok(()));
        }
        assert_eq!(budget.time_left(), Duration::from_secs(10));
        let overdue = budget.run(std::future::pending::<()>()).await;
        assert_eq!(overdue, Err(Timeout::Overdue(Duration::from_secs(60))));
    }
}
