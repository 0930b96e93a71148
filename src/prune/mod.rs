//! Deletes pending versions of images: those whose tags all match `prune.tags`.
//!
//! ```text
//! backend: every version, clocks ──► Listing ─┐
//! text, pins, history ──────► ProtectionSet ──┼──► judge ──► PackageVerdict ──► Plan | error
//! configuration ───────────────────► Rules ───┘                                 │
//!                                   apply: list, check each version, delete, verify, list
//! ```
//!
//! [`judge`](judge()) is pure, and [`apply`] only deletes the versions of its approved [`Plan`].
//! Any doubt about a version protects it, and any doubt about the package refuses the run. `report`
//! and `cli` print the results.

mod age;
pub(crate) mod apply;
pub(crate) mod backends;
mod changes;
mod guards;
mod in_use;
mod judge;
mod listing;
mod protection;
#[cfg(test)]
mod tests;
mod unfinished;

pub(crate) use age::Rules;
pub(crate) use guards::{
    ProtectionInputs, ProtectionSources, PullHead, RepositoryAccess, RunningFile, gather,
    tips_keep_moving_error,
};
pub(crate) use in_use::{RunningImage, running_images};
pub(crate) use judge::{evidence, is_eligible, judge, protected};
pub(crate) use listing::{
    Child, Dangling, KeepReason, Listing, Node, PackageVerdict, Plan, Progress, Protected,
    PrunableVersion, Scope, TagReason, Version, Warning,
};
pub(crate) use protection::{DigestUse, ImageProtection, Place, ProtectionSet, TagUse};
