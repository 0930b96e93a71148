//! Verdicts on the age of pinned references.

use std::time::Duration;

use crate::{base::text::words, core::freshness::Distance};

words! {
    /// The state of a pinned reference.
    pub(crate) enum State {
        /// No relevant commit, or only recent ones.
        Fresh = "fresh",
        /// A relevant commit is older than allowed.
        Stale = "stale",
        /// The branch's head is older than the pinned commit.
        Ahead = "ahead",
    }
}

/// The state, with the reason unless it is fresh.
pub(crate) fn judge(distance: &Distance, max_gap: Duration) -> (State, Option<String>) {
    let (Some(commits), Some(gap)) = (distance.commits, distance.gap) else {
        let reason = "the repository does not contain this commit: its history was rewritten, or the pinned name is wrong";
        return (State::Stale, Some(reason.to_owned()));
    };
    if gap < 0 {
        let days = days(-gap);
        let reason = format!("the branch's head is {days} older than the pinned commit");
        return (State::Ahead, Some(reason));
    }
    if commits == 0 || gap.unsigned_abs() <= max_gap.as_secs() {
        return (State::Fresh, None);
    }
    let plural = if commits == 1 { "" } else { "s" };
    let most = days(i64::try_from(max_gap.as_secs()).unwrap_or(i64::MAX));
    let reason = format!(
        "{commits} commit{plural} in {}, at most {most} allowed",
        days(gap)
    );
    (State::Stale, Some(reason))
}

/// Whole days of a gap in seconds, rounded down.
pub(crate) fn whole_days(gap: i64) -> i64 {
    gap.div_euclid(86_400)
}

fn days(seconds: i64) -> String {
    match (seconds / 86_400, seconds / 3600) {
        (1, _) => "1 day".to_owned(),
        (0, 1) => "1 hour".to_owned(),
        (0, hours) => format!("{hours} hours"),
        (days, _) => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::ObjectId;

    const DAY: i64 = 86_400;

    fn state(commits: u64, gap: i64) -> State {
        let head = ObjectId::parse("a".repeat(40).as_bytes()).unwrap();
        let distance = Distance {
            pinned: Some(head),
            head,
            commits: Some(commits),
            gap: Some(gap),
        };
        judge(&distance, Duration::from_secs(14 * 86_400)).0
    }

    #[test]
    fn stale_needs_both_commits_and_time() {
        assert_eq!(state(0, 0), State::Fresh);
        assert_eq!(state(9, 14 * DAY), State::Fresh, "exactly the maximum");
        assert_eq!(state(0, 900 * DAY), State::Fresh, "no relevant commit");
        assert_eq!(state(1, 14 * DAY + 1), State::Stale);
        assert_eq!(state(0, -1), State::Ahead);
        assert_eq!(state(5, -90 * DAY), State::Ahead);
    }

    #[test]
    fn missing_commit_is_stale() {
        let head = ObjectId::parse("a".repeat(40).as_bytes()).unwrap();
        let (state, reason) = judge(
            &Distance {
                pinned: None,
                head,
                commits: None,
                gap: None,
            },
            Duration::from_secs(1),
        );
        assert!(state == State::Stale && reason.unwrap().contains("rewritten"));
    }

    #[test]
    fn days_are_rounded_down() {
        for (gap, days) in [
            (0, 0),
            (DAY - 1, 0),
            (DAY, 1),
            (-1, -1),
            (-DAY, -1),
            (-DAY - 1, -2),
        ] {
            assert_eq!(whole_days(gap), days, "{gap}");
        }
    }
}
