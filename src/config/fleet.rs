//! One set for many repositories: the block `fleet`.

use super::{
    forge::OwnerName,
    keys::{self, block, choices},
    path::RelPath,
    set_path::SetPath,
    top_level::{self, Config},
};
use crate::error::Error;

block! {
    /// The rules for the repositories of a fleet.
    pub struct Fleet {
        /// The repository that the images are built from, as OWNER/NAME; its history orders builds.
        source: Option<OwnerName>,
        /// The configuration file of each repository, from the top of the repository.
        config: RelPath = "repin.yaml",
        /// Whether a repository's recent commits must show when its current set began
        /// (`required`), or are enough in any case (`recent`).
        history: FleetHistory = "required",
        /// Whether a repository without a configuration is left out (`skip`) or a failure
        /// (`fail`).
        when_unconfigured: WhenUnconfigured = "skip",
        /// Whether a repository whose own configuration has `verify`, `inventory`, a contract,
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

impl Config {
    /// The configuration with the set path of the fleet's repositories: branches and titles contain
    /// their set key, not that of the fleet's own file.
    pub fn of_members(&self) -> Result<Self, Vec<Error>> {
        let rules = self.fleet.clone().unwrap_or_default();
        let set = SetPath::from(rules.config);
        Ok(Self {
            file: self.file.clone(),
            ..top_level::parse(&self.source, &self.root, &set)?
        })
    }
}
