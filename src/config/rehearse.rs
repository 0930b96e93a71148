//! The rehearsal of rollbacks: the block `rehearse`.

use super::{freshness::Issue, keys::block};

block! {
    /// The rehearsal of rollbacks.
    pub struct Rehearse {
        /// The number of sets that are rehearsed: the last ones that are available for rollback. With 0,
        /// only the current set is rehearsed.
        last: usize = 3,
        /// The issue that is open while a rollback to one of the sets fails.
        issue: Option<Issue>,
    }
}
