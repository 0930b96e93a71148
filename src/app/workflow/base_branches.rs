//! The branches that may be the base of the work tree.
//!
//! A pull request contains the configuration that selects its base branch, and could select itself. So
//! its choice counts alone only if the configuration on the default branch makes the same choice.

use super::{
    Services,
    base_config::{BaseConfig, config_at},
    ci,
};
use crate::{
    config::Config,
    git::{Branch, BranchSources, Git, GitError},
};

/// The branches that may be the base of the work tree.
pub(super) struct BaseBranches {
    pub(super) branches: Vec<Branch>,
    /// The reasons why further branches are unknown.
    pub(super) unknown: Vec<String>,
}

impl BaseBranches {
    /// Finds the branches in the clone. The remote is queried for its default branch if the clone does not
    /// record it.
    pub(super) fn find(config: &Config, git: &Git, services: &Services) -> Result<Self, GitError> {
        let mut found = Self {
            branches: Vec::new(),
            unknown: Vec::new(),
        };
        let keys = selecting_keys(config);
        for branch in selected_branches(keys, git) {
            found.add(branch?);
        }
        let mut defaults = known_defaults(config, git, services);
        if defaults.is_empty() {
            match git.promoted_branch(&BranchSources {
                remote_of: keys.history,
                ..BranchSources::default()
            }) {
                Ok(default) => defaults.push(default),
                Err(error) if keys.base.is_none() => return Err(error),
                Err(error) => found.unknown.push(error.to_string()),
            }
        }
        if keys.base.is_none() {
            // Pull requests are for the default branch, whatever `provenance.branch` selects.
            found.add(defaults[0].clone());
        }
        for default in defaults {
            match config_at(config, git, &default.tip) {
                Ok(BaseConfig::Found(base)) => {
                    let base_keys = selecting_keys(&base);
                    if base_keys != keys {
                        found.add(default);
                        for branch in selected_branches(base_keys, git) {
                            match branch {
                                Ok(branch) => found.add(branch),
                                Err(error) => found.unknown.push(error.to_string()),
                            }
                        }
                    }
                }
                // The default branch requires nothing of a new set.
                Ok(BaseConfig::New) => {}
                Ok(BaseConfig::Unpaired(_)) | Err(_) => found.add(default),
            }
        }
        Ok(found)
    }

    fn add(&mut self, branch: Branch) {
        add(&mut self.branches, branch);
    }
}

/// The base branches that this clone has, without any request: the configured one and the default branch.
pub(super) fn known_bases(config: &Config, git: &Git, services: &Services) -> Vec<Branch> {
    let keys = selecting_keys(config);
    let base = keys
        .base
        .and_then(|base| remote_branch(base, keys.history, git).ok());
    distinct(
        base.into_iter()
            .chain(known_defaults(config, git, services)),
    )
}

/// The default branch as CI states it and as this clone records it.
fn known_defaults(config: &Config, git: &Git, services: &Services) -> Vec<Branch> {
    let stated = ci::default_branch(&services.environment, Some(git));
    let history = config.provenance.branch.as_deref();
    let stated = stated.and_then(|name| remote_branch(&name, history, git).ok());
    distinct(
        stated
            .into_iter()
            .chain(git.known_default(history).ok().flatten()),
    )
}

fn distinct(branches: impl Iterator<Item = Branch>) -> Vec<Branch> {
    let mut distinct = Vec::new();
    for branch in branches {
        add(&mut distinct, branch);
    }
    distinct
}

fn add(branches: &mut Vec<Branch>, branch: Branch) {
    if !branches.contains(&branch) {
        branches.push(branch);
    }
}

/// The keys of a configuration that select branches.
#[derive(Clone, Copy, PartialEq, Eq)]
struct SelectingKeys<'c> {
    /// `forge.base`
    base: Option<&'c str>,
    /// `provenance.branch`
    history: Option<&'c str>,
}

fn selecting_keys(config: &Config) -> SelectingKeys<'_> {
    let forge = config.forge.as_ref();
    SelectingKeys {
        base: forge.and_then(|forge| forge.base.as_deref()),
        history: config.provenance.branch.as_deref(),
    }
}

fn selected_branches(keys: SelectingKeys<'_>, git: &Git) -> Vec<Result<Branch, GitError>> {
    let base = keys.base.map(|base| remote_branch(base, keys.history, git));
    let history = keys.history.map(|name| git.branch(Some(name)));
    base.into_iter().chain(history).collect()
}

/// A branch of the remote.
fn remote_branch(name: &str, history: Option<&str>, git: &Git) -> Result<Branch, GitError> {
    git.promoted_branch(&BranchSources {
        base: Some(name),
        remote_of: history,
        ..BranchSources::default()
    })
}
