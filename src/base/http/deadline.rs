//! The deadline of one request, and the deadline that all requests of a command share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

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

    /// Whether the deadline is over after another wait of this length.
    pub(super) fn is_over_after(self, wait: Duration) -> bool {
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
