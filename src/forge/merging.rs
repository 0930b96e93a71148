//! The outcomes of merging: scheduled, immediate, or through a merge queue.

use crate::base::text::words;

words! {
    /// How a pull request is merged.
    pub enum MergeMethod {
        /// The first method that the base and the repository allow.
        Auto = "auto",
        Merge = "merge",
        Squash = "squash",
        Rebase = "rebase",
    }
}

/// The outcome of a request to merge a pull request once its gates pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The forge will merge the pull request.
    Scheduled,
    /// It is scheduled although every required status passed: the forge refuses to merge it now,
    /// for this reason, and checks its state when a status or a review arrives.
    Held(String),
    Merged,
    /// The merge queue of the base will merge it: its position there, and the queue's word for its
    /// state.
    Queued(u64, String),
    /// Not yet, for this reason.
    Later(String),
    /// No check is pending on the forge; its message.
    Clean(String),
    /// The forge schedules no merge here, for this reason; it merges on request.
    Unscheduled(String),
    /// The forge refused; its message.
    Refused(String),
}

impl Merge {
    /// Whether the forge merged the pull request, or will.
    pub(crate) fn is_scheduled(&self) -> bool {
        match self {
            Self::Scheduled | Self::Held(_) | Self::Merged | Self::Queued(..) => true,
            Self::Later(_) | Self::Clean(_) | Self::Unscheduled(_) | Self::Refused(_) => false,
        }
    }
}

/// The position of a pull request in the merge queue of its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Queue {
    /// The base has no merge queue.
    Missing,
    /// The pull request is not in the queue.
    Outside,
    /// At this position, in this state.
    Waiting(u64, String),
    /// It was removed after the last push; the reason, if the forge reports one.
    Removed(Option<String>),
}
