//! Pauses that servers ask for, announced before they begin.
//!
//! Nothing is printed here: the caller passes in the function that shows a pause.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::WaitReason;

/// A pause that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The host that asked for it, with its port if that is not the scheme's.
    pub host: String,
    /// Why it asked.
    pub reason: WaitReason,
    /// When requests go on, by this machine's clock.
    pub until: SystemTime,
}

type Show = dyn Fn(&Pause) + Send + Sync;

/// Receives pauses; ignores them by default.
#[derive(Clone, Default)]
pub struct Announce(Option<Arc<Show>>);

impl Announce {
    /// Tells `show` of each pause.
    pub fn to(show: impl Fn(&Pause) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(show)))
    }

    pub(super) fn pause(&self, pause: &Pause) {
        if let Some(show) = &self.0 {
            show(pause);
        }
    }
}

impl fmt::Debug for Announce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Announce")
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, until) = (&self.host, time_of_day(self.until));
        match self.reason {
            WaitReason::Limit => write!(f, "rate limited by {host}, resuming at {until}"),
            WaitReason::Busy => write!(f, "{host} is busy, resuming at {until}"),
        }
    }
}

/// A time of day, as `15:04:05 UTC`.
pub fn time_of_day(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Whole seconds, rounded up: nothing happens before the time that is named.
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rounded_up_and_wrap_at_midnight() {
        for (millis, text) in [
            (0, "00:00:00 UTC"),
            (1, "00:00:01 UTC"),
            (86_399_000, "23:59:59 UTC"),
            (86_399_001, "00:00:00 UTC"),
            (1_767_279_845_000, "15:04:05 UTC"),
        ] {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(time_of_day(at), text);
        }
    }
}
