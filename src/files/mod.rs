//! Where text files come from: so far the work tree.
//!
//! Listing and reading only; nothing here knows what a pin is, and nothing is written.

mod survey;
mod worktree;

pub use survey::{Survey, survey};
pub(crate) use worktree::is_ours;
pub use worktree::{Hazard, Listing, ReadError, WorkTree};
