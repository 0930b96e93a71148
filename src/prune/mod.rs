//! Deletes pending versions of images: those whose tags all match `prune.tags`.
//!
//! ```text
//! backend: every version, clocks ──► Listing ─┐
//! text, pins, history ─────────────► Guards ──┼──► judge ──► PackageVerdict ──► Plan | error
//! configuration ───────────────────► Rules ───┘                                 │
//!                                   apply: list, check each version, delete, verify, list
//! ```
//!
//! [`judge`](judge()) is pure, and [`apply`] only deletes the versions of its approved [`Plan`].
//! Any doubt about a version protects it, and any doubt about the package refuses the run. `report`
//! and `cli` print the results.

pub(crate) mod apply;
pub(crate) mod backends;
mod changes;
mod dangling;
mod guards;
mod judge;
mod listing;
mod plan;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

pub(crate) use guards::{
    Guards, ProtectionInputs, ProtectionSources, PullHead, RepositoryAccess, gather,
    tips_keep_moving_error,
};
pub(crate) use judge::{Rules, is_eligible, judge};
pub(crate) use listing::{Child, Dangling, Listing, Node, Progress, Version};
pub(crate) use plan::Plan;
pub(crate) use text::Text;
pub(crate) use verdict::{Candidate, KeepReason, PackageVerdict, Protected, Warning};
