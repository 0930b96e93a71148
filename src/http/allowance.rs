//! The time that the requests of a command have in all.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::Deadline;

/// A deadline that all clients of a command share.
///
/// It ends waiting, not work: a request that begins after it is still tried once.
#[derive(Debug, Clone)]
pub struct Allowance(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    length: Duration,
    name: String,
    end: Deadline,
}

impl Allowance {
    /// So long from now on; `name`: what sets it, for messages.
    pub fn new(length: Duration, name: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            length,
            name: name.into(),
            end: Deadline::after(Some(length)),
        })))
    }

    /// Another length from now on, and what sets that.
    pub fn replace(&self, length: Duration, name: impl Into<String>) {
        let (name, end) = (name.into(), Deadline::after(Some(length)));
        self.with(|inner| *inner = Inner { length, name, end });
    }

    /// The whole time once more, from now on.
    pub fn restart(&self) {
        self.with(|inner| inner.end = Deadline::after(Some(inner.length)));
    }

    /// When it is over.
    pub fn deadline(&self) -> Deadline {
        self.with(|inner| inner.end)
    }

    /// What sets it and how long it is, as `REPIN_DEADLINE, 900 s`.
    pub fn describe(&self) -> String {
        self.with(|inner| format!("{}, {} s", inner.name, inner.length.as_secs()))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
