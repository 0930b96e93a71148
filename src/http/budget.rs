//! The time that one attempt has; waiting for a free place in flight does not count.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Budget {
    whole: Duration,
    left: Duration,
    progress: Duration,
}

/// How an attempt ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    /// No progress for so long.
    Stalled(Duration),
    /// Not finished after so long.
    Overdue(Duration),
}

impl Budget {
    pub(super) fn new(whole: Duration, progress: Duration) -> Self {
        Self {
            whole,
            left: whole,
            progress,
        }
    }

    pub(super) fn left(&self) -> Duration {
        self.left
    }

    pub(super) fn limit(&mut self, left: Duration) {
        self.left = self.left.min(left);
    }

    /// Waits for the next sign of progress.
    pub(super) async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Timeout> {
        let limit = self.progress.min(self.left);
        let start = Instant::now();
        if let Ok(result) = tokio::time::timeout(limit, work).await {
            self.left = self.left.saturating_sub(start.elapsed());
            return Ok(result);
        }
        Err(if limit < self.progress {
            Timeout::Overdue(self.whole)
        } else {
            Timeout::Stalled(self.progress)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{AttemptError, RetryAdvice};

    #[tokio::test(start_paused = true)]
    async fn attempt_that_used_its_whole_time_is_not_retried() {
        let seconds = Duration::from_secs;
        let mut budget = Budget::new(seconds(60), seconds(30));
        let stalled = budget.run(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(stalled, Timeout::Stalled(seconds(30)));
        assert_eq!(AttemptError::from(stalled).again, RetryAdvice::Later);
        let mut budget = Budget::new(seconds(20), seconds(30));
        let overdue = budget.run(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(overdue, Timeout::Overdue(seconds(20)));
        assert_eq!(AttemptError::from(overdue).again, RetryAdvice::Never);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_renews_the_one_limit_and_not_the_other() {
        let mut budget = Budget::new(Duration::from_secs(60), Duration::from_secs(30));
        for _ in 0..2 {
            let work = tokio::time::sleep(Duration::from_secs(25));
            assert_eq!(budget.run(work).await, Ok(()));
        }
        assert_eq!(budget.left(), Duration::from_secs(10));
        let overdue = budget.run(std::future::pending::<()>()).await;
        assert_eq!(overdue, Err(Timeout::Overdue(Duration::from_secs(60))));
    }
}
