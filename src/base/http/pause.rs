//! Pauses that servers request, reported in advance to a function of the caller.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::WaitReason;

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
        let (host, until) = (&self.host, time_of_day(self.until));
        match self.reason {
            WaitReason::Limit => write!(f, "rate limited by {host}, resuming at {until}"),
            WaitReason::Busy => write!(f, "{host} is busy, resuming at {until}"),
        }
    }
}

/// A time of day, as `15:04:05 UTC`, rounded up: requests resume no earlier than displayed.
pub(crate) fn time_of_day(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_round_up_and_wrap_at_midnight() {
        for (millis, text) in [
            (0, "00:00:00 UTC"),
            (1, "00:00:01 UTC"),
            (86_399_000, "23:59:59 UTC"),
            (86_399_001, "00:00:00 UTC"),
            (1_767_279_845_000, "15:04:05 UTC"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(time_of_day(time), text);
        }
    }
}
