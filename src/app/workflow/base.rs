//! The configuration of a set on a base branch, also if the work tree renames or moves it.
//!
//! The forge that receives a pull request: the one in the base branch's configuration.
//!
//! With `--pr` the base branch's configuration counts. It is fetched from the forge in the work
//! tree's configuration, so a work tree with another forge, such as the checkout of a pull request,
//! must receive neither the token nor a branch. The base branches in the clone are compared before
//! the first request, and the configuration that the forge returns before the first write.

use std::collections::BTreeSet;

use super::{Services, environment};
use crate::{
    base::{
        error::{Code, Error, Errors},
        files::RelPath,
    },
    config::{Config, FILE_NAME, Forge as Configured, SetPath, is_config_file_of},
    core::{
        configurations::{NoConfig, config_at, config_of_set},
        history::{Replaced, replaced_in_index},
    },
    forge::Target,
    git::{self, Branch, BranchSources, Git, GitError, ObjectId},
};

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
pub(super) fn known_defaults(config: &Config, git: &Git, services: &Services) -> Vec<Branch> {
    let stated = environment::default_branch(&services.environment, Some(git));
    let history = config.provenance.branch.as_deref();
    let stated = stated.and_then(|name| remote_branch(&name, history, git).ok());
    distinct(
        stated
            .into_iter()
            .chain(git.known_default(history).ok().flatten()),
    )
}

pub(super) fn distinct(branches: impl Iterator<Item = Branch>) -> Vec<Branch> {
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
pub(super) struct SelectingKeys<'c> {
    /// `forge.base`
    pub(super) base: Option<&'c str>,
    /// `provenance.branch`
    pub(super) history: Option<&'c str>,
}

pub(super) fn selecting_keys(config: &Config) -> SelectingKeys<'_> {
    let forge = config.forge.as_ref();
    SelectingKeys {
        base: forge.and_then(|forge| forge.base.as_deref()),
        history: config.provenance.branch.as_deref(),
    }
}

/// A branch of the remote.
pub(super) fn remote_branch(
    name: &str,
    history: Option<&str>,
    git: &Git,
) -> Result<Branch, GitError> {
    git.promoted_branch(&BranchSources {
        base: Some(name),
        remote_of: history,
        ..BranchSources::default()
    })
}

/// The configuration of a set at a commit.
pub(super) enum BaseConfig {
    Found(Box<Config>),
    /// The set is new: the work tree keeps every configuration of the commit.
    New,
    /// The work tree lacks these configurations of the commit, and git pairs none with that of the set.
    Unpaired(Vec<String>),
}

/// The configuration at a commit of `git`, or the reason why it cannot be read. A file with the default name
/// counts if the work tree has none, and otherwise the file that git pairs with this one in the clone: the change may
/// rename it.
pub(super) fn base_config(
    local: &Config,
    git: &Git,
    clone: &Git,
    commit: &ObjectId,
) -> Result<BaseConfig, String> {
    let mut names = vec![local.file_name()];
    if !local.root.join(FILE_NAME).exists() {
        names.push(FILE_NAME);
    }
    for name in names {
        let path = RelPath::parse(name).map_err(|error| error.to_string())?;
        let read = config_at(git, commit, &path, name, &local.root, &local.set_path);
        if let Some(config) = existing(read, name)? {
            return Ok(found(config, local));
        }
    }
    let Replaced { source, removed } =
        replaced_in_index(clone, commit, &local.set_path).map_err(|error| error.to_string())?;
    if let Some(old) = source
        && let Some(config) = existing(config_of_set(git, commit, &old), &old.to_string())?
    {
        return Ok(found(config, local));
    }
    let mut removed = BTreeSet::from_iter(removed);
    let missing =
        missing(git, clone, commit, &local.set_path).map_err(|error| error.to_string())?;
    removed.extend(missing);
    Ok(if removed.is_empty() {
        BaseConfig::New
    } else {
        BaseConfig::Unpaired(removed.into_iter().collect())
    })
}

fn found(mut config: Config, local: &Config) -> BaseConfig {
    know_job(&mut config, local);
    BaseConfig::Found(Box::new(config))
}

/// Lets the server of the running job complete the address of the forge, as in the local configuration.
pub(super) fn know_job(config: &mut Config, local: &Config) {
    if let (Some(forge), Some(local)) = (&mut config.forge, &local.forge) {
        forge.job.clone_from(&local.job);
    }
}

/// The configuration; `None` if the commit has no such file.
fn existing(read: Result<Config, NoConfig>, name: &str) -> Result<Option<Config>, String> {
    match read {
        Ok(config) => Ok(Some(config)),
        Err(NoConfig::Absent) => Ok(None),
        Err(NoConfig::Git(error)) => Err(error.to_string()),
        Err(NoConfig::TooLarge) => Err(format!("{name} has more than 1 MiB")),
        Err(NoConfig::Malformed(reason)) => Err(format!("{name} is invalid: {reason}")),
    }
}

/// The configuration files of a commit that are missing in the work tree, apart from those outside of a
/// sparse checkout.
fn missing(
    git: &Git,
    clone: &Git,
    commit: &ObjectId,
    set_path: &SetPath,
) -> Result<Vec<String>, GitError> {
    let mut missing = Vec::new();
    git.regular_files(commit, |path, _| {
        let is_absent = || clone.top().join(path.as_path()).symlink_metadata().is_err();
        if is_config_file_of(path.as_path(), set_path) && is_absent() {
            missing.push(path);
        }
    })?;
    let tracked = git::configurations(clone.top())?;
    missing.retain(|path| {
        let mut tracked = tracked.iter();
        !tracked.any(|file| file.path == *path && file.sparse.is_some())
    });
    Ok(missing.iter().map(ToString::to_string).collect())
}

/// Checks that the base branches in the clone name the forge of the work tree: the branch that the work
/// tree's configuration names, and the default branch.
pub(super) fn check_known_bases(
    local: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<(), Errors> {
    let Some(git) = git else {
        return Ok(());
    };
    for branch in known_bases(local, git, services) {
        // An unreadable configuration proves nothing; that of the forge is compared later.
        if let Ok(BaseConfig::Found(base)) = base_config(local, git, git, &branch.tip) {
            check_same(local, &base, &branch.name, Some(git))?;
        }
    }
    Ok(())
}

/// Checks that the configurations of the base branch and of the work tree name the same forge.
pub(super) fn check_same(
    local: &Config,
    base: &Config,
    branch: &str,
    git: Option<&Git>,
) -> Result<(), Errors> {
    let (Some(local), Some(base)) = (&local.forge, &base.forge) else {
        return Ok(());
    };
    let origin = git.and_then(|git| git.origin().ok().flatten());
    let target = |forge: &Configured| Target::resolve(&forge.address(), origin.as_deref());
    let (local, base) = (target(local), target(base));
    if local == base {
        return Ok(());
    }
    let describe = |target: Result<Target, _>| match target {
        Ok(target) => format!("{}/{} at {}", target.owner, target.name, target.api),
        Err(_) => "an unknown forge".to_owned(),
    };
    let message = format!(
        "`forge` in the work tree names {}, but on {branch} it names {}",
        describe(local),
        describe(base)
    );
    Err(Errors::from(Error::input(Code::CONFIG, message).help(
        "run repin in a checkout of the base branch; a change of `forge` takes effect once it is merged there and fetched",
    )))
}
