//! One HTTP client for registries and forges: connections, retries, deadlines, rate limits, and
//! the clocks of servers.
//!
//! The differences between registries and forges are data (`Policy`). The caller decides the
//! meaning of a request, its credentials, and the value of a response. In: a `Call`. Out: a
//! `Reply` that a retry would not change, or a `Failure` with its cause and the reason that the
//! client stopped; the caller formats both for users.

pub(crate) mod address;
mod body;
mod budget;
mod call;
mod client;
mod clock;
mod deadline;
pub(crate) mod error_body;
mod failure;
mod log;
mod pace;
mod pause;
mod policy;
mod redirect;
mod retry;
mod timer;
mod transport;

pub(crate) use body::{Body, OpenBody};
pub(crate) use call::{BodyMode, Call, Effect, Idempotency, Reply, SeeOther};
pub(crate) use client::Client;
pub(crate) use clock::{Clock, ServerTime, ServerTimes};
pub(crate) use deadline::Deadline;
pub(crate) use deadline::SharedDeadline;
pub(crate) use failure::{AttemptError, Cause, Failure, Network, Stage, TlsFailure};
pub(crate) use log::LOG;
pub(crate) use pace::count_requests;
pub(crate) use pace::{Pace, Shard};
pub(crate) use pause::PauseListener;
pub(crate) use pause::{Pause, time_of_day};
pub(crate) use policy::{
    Encodings, ErrorBody, FORGES, Limits, Outages, Policy, REGISTRIES, Redirects, RetryAdvice,
    WaitReason,
};
pub(crate) use retry::StopReason;
pub(crate) use timer::Timer;
pub(crate) use transport::{SettingsError, Transport};
