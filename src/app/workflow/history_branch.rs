//! The branch whose history counts, as a clone knows it.

use super::{Environment, environment};
use crate::{
    config::Config,
    git::{Branch, BranchSources, Git, GitError},
};

/// The name on the forge of the branch whose history counts; `None`: its default branch.
pub(super) fn configured_branch(config: &Config) -> Option<&str> {
    let base = || config.forge.as_ref()?.base.as_deref();
    let configured = config.provenance.branch.as_deref();
    configured.map(name_on_remote).or_else(base)
}

/// The name of a remote-tracking branch on its remote, in a configuration or without the remotes of the clone.
pub(super) fn name_on_remote(tracking: &str) -> &str {
    tracking.split_once('/').map_or(tracking, |(_, name)| name)
}

/// The branch whose history is read.
pub(crate) struct HistoryBranch {
    pub branch: Branch,
    pub role: BranchRole,
}

/// The evidence that a branch can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BranchRole {
    /// Its commits promote sets and roll them back.
    Promoted,
    /// It is `HEAD` of a repository without a remote: a set that it rolled back is held, but no set on
    /// it was promoted.
    Local,
}

/// Finds the branch whose history is read in the repository of `config`; without one, that of a configuration without
/// settings of branches.
pub(crate) fn history_branch(
    git: &Git,
    config: Option<&Config>,
    environment: &Environment,
) -> Result<HistoryBranch, GitError> {
    let stated = environment::default_branch(environment, Some(git));
    let forge = config.and_then(|config| config.forge.as_ref());
    let sources = BranchSources {
        configured: config.and_then(|config| config.provenance.branch.as_deref()),
        base: forge.and_then(|forge| forge.base.as_deref()),
        ci: stated.as_deref(),
        remote_of: None,
    };
    match git.promoted_branch(&sources) {
        Ok(branch) => Ok(HistoryBranch {
            branch,
            role: BranchRole::Promoted,
        }),
        Err(GitError::NoRemote) => Ok(HistoryBranch {
            branch: git.head()?,
            role: BranchRole::Local,
        }),
        Err(error) => Err(error),
    }
}
