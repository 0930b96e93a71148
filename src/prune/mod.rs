//! Deleting pending versions of images, and never anything else.
//!
//! ```text
//! backend: every version ──► Listing ─┐
//! text, pins, history ─────► Guards ──┼──► judge ──► Judged ──► Plan | error
//! configuration, clocks ───► Rules ───┘                          │
//!                    apply: list again, read each again, delete, verify, list once more
//! ```
//!
//! [`judge`](judge()) is pure, and only what it approved becomes a [`Plan`]; [`apply`] deletes
//! nothing else. Every doubt keeps a version, and every doubt about the whole refuses the run. What
//! is printed is for `report` and `cli` to say.

pub mod apply;
pub mod backends;
mod changes;
mod dangling;
pub mod date;
mod guards;
mod judge;
mod listing;
mod plan;
mod text;
mod verdict;

pub use guards::{ExternalRepository, ExtraProtection, Guards, Protection, TipsChange, gather};
pub use judge::{Rules, eligible, judge};
pub use listing::{Child, Dangling, Listing, Node, Progress, Version};
pub use plan::Plan;
pub use text::Text;
pub use verdict::{Candidate, KeepReason, PackageVerdict, Protected, Warning};
