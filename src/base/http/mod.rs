//! One HTTP client for registries and forges: connections, retries, deadlines, rate limits, and
//! the clocks of servers.
//!
//! The differences between registries and forges are data (`Policy`). The caller decides the
//! meaning of a request, its credentials, and the value of a response. In: a `Call`. Out: a
//! `Reply` that a retry would not change, or a `Failure` with its cause and the reason that the
//! client stopped; the caller formats both for users.

pub(crate) mod address;
mod body;
mod client;
mod clock;
pub(crate) mod error_body;
mod failure;
mod pace;
mod policy;
mod retry;
mod transport;

pub(crate) use body::{Body, OpenBody};
pub(crate) use client::Client;
pub(crate) use clock::{
    Clock, Deadline, Pause, PauseListener, ServerTime, ServerTimes, SharedDeadline, Timer,
    to_second,
};
pub(crate) use failure::{AttemptError, Cause, Failure, LOG, Network, Stage, TlsFailure};
pub(crate) use pace::{RequestPacer, Shard, count_requests};
pub(crate) use policy::{
    Encodings, ErrorBody, FORGES, Limits, Outages, Policy, REGISTRIES, Redirects, RetryAdvice,
    WaitReason,
};
pub(crate) use retry::StopReason;
pub(crate) use transport::{
    BodyMode, Call, Effect, Idempotency, Reply, SeeOther, SettingsError, Transport, roots_with,
};
