//! One HTTP client for registries and forges: connections, attempts, deadlines, rate limits, and
//! what servers say about the time.
//!
//! How the two differ is data ([`Policy`]). What a request means, which credentials it carries and
//! what a response is worth is decided by the caller. In: a [`Call`]. Out: a [`Reply`] that no
//! further attempt would change, or a [`Failure`] that says what happened and why there was no
//! further attempt; the caller puts both into words.

pub mod address;
mod allowance;
mod announce;
mod body;
mod budget;
mod call;
mod client;
mod clock;
pub mod error_body;
mod failure;
mod log;
mod pace;
mod policy;
mod redirect;
mod retry;
mod timer;
mod transport;

pub use allowance::Allowance;
pub use announce::{Announce, Pause, time_of_day};
pub use body::{Body, Open};
pub use call::{Call, Effect, Idempotency, Reading, Reply};
pub use client::Client;
pub use clock::{Clock, ServerTime};
pub use failure::{AttemptError, Cause, Failure, Network, Stage, TlsFailure};
pub use log::LOG;
pub use pace::{Pace, Shard, Tallied, tallied};
pub use policy::{
    Encodings, ErrorBody, FORGES, Limits, Outages, Policy, REGISTRIES, Redirects, RetryAdvice,
    WaitReason,
};
pub use retry::{Deadline, StopReason};
pub use timer::Timer;
pub use transport::{SettingsError, Transport};
