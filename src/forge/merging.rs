//! Merging: scheduled, at once, or through a merge queue.

use async_trait::async_trait;

use super::pull_requests::Pull;
use crate::error::Error;

/// The merging of a repository's pull requests.
///
/// `pull_request::merging` decides whether a merge may be requested.
#[async_trait(?Send)]
pub trait Merging {
    /// Fails if the base does not allow the configured merge method, as far as reading can show.
    async fn admits(&self, base: &str) -> Result<(), Error>;

    /// Whether the forge refuses to merge a branch without a conflict as it is now, because its base
    /// moved and requires branches to be up to date. `pull`: its pull request, if it is open.
    async fn is_outdated(&self, pull: Option<&Pull>, base: &str) -> Result<bool, Error>;

    /// Whether a scheduled merge waits for required contexts that have not reported.
    fn waits_for_silent(&self) -> bool;

    /// Whether the forge checks a merge when it is scheduled, and not only when a status or a review
    /// arrives later.
    fn checks_when_scheduled(&self) -> bool;

    /// Schedules the merge of a pull request for when what its base requires passes, if its head
    /// still is `head`.
    async fn auto_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error>;

    /// Cancels a scheduled merge; `false` if none was scheduled.
    async fn cancel_merge(&self, pull: &Pull) -> Result<bool, Error>;

    /// Merges a pull request now, if its head still is `head`.
    async fn merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error>;

    /// The position of a pull request in the merge queue of its base.
    async fn queue(&self, pull: &Pull) -> Result<Queue, Error>;
}

/// The outcome of a request to merge a pull request once its gates pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// The forge will merge the pull request.
    Scheduled,
    /// It is scheduled although every required status passed: the forge refuses to merge it now, for
    /// this reason, and checks again when a status or a review arrives.
    Held(String),
    /// It was merged at once.
    Merged,
    /// The base's merge queue will merge it: its position there, and the queue's word for its state.
    Queued(u64, String),
    /// Not yet, for this reason.
    Later(String),
    /// Nothing is pending on the forge; its message.
    Clean(String),
    /// The forge schedules no merge here, for this reason; it merges on request.
    Unscheduled(String),
    /// The forge refused; its message.
    Refused(String),
}

/// The position of a pull request in the merge queue of its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queue {
    /// The base has no merge queue.
    Missing,
    /// It is not in the queue.
    Outside,
    /// At this position, in this state.
    Waiting(u64, String),
    /// It was removed, and nothing was pushed since; the reason, if the forge gives one.
    Removed(Option<String>),
}
