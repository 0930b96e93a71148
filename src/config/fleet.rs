//! One set for many repositories: the block `fleet`.

use super::keys::{self, block, choices};
use crate::base::files::RelPath;

block! {
    /// The rules for the repositories of a fleet.
    pub struct Fleet {
        /// The configuration file of each repository, from the top of the repository.
        config: RelPath = "repin.yaml",
        /// Whether a repository's recent commits must show when its current set began
        /// (`required`), or are enough in any case (`recent`).
        history: FleetHistory = "required",
        /// Whether a repository without a configuration is skipped (`skip`) or a failure
        /// (`fail`).
        when_unconfigured: WhenUnconfigured = "skip",
        /// Whether a repository with a configuration that has `verify`, `inventory`, a contract,
        /// `smoke` or `outside: refuse` is refused (`refuse`), or promoted without them (`ignore`).
        own_policy: OwnPolicy = "refuse",
    }
}

choices! {
    pub enum FleetHistory {
        Required = "required",
        Recent = "recent",
    }
}

choices! {
    pub enum WhenUnconfigured {
        Skip = "skip",
        Fail = "fail",
    }
}

choices! {
    pub enum OwnPolicy {
        Refuse = "refuse",
        Ignore = "ignore",
    }
}

impl Default for Fleet {
    fn default() -> Self {
        keys::defaults::<Self>()
    }
}
