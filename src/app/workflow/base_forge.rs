//! The forge that receives a pull request: the one in the base branch's configuration.
//!
//! With `--pr` the base branch's configuration counts. It is fetched from the forge in the work
//! tree's configuration, so a work tree with another forge, such as the checkout of a pull request,
//! must receive neither the token nor a branch. The base branches in the clone are compared before
//! the first request, and the configuration that the forge returns before the first write.

use super::{
    Services,
    base_branches::known_bases,
    base_config::{BaseConfig, config_at},
};
use crate::{
    base::{
        code::Code,
        error::{Error, Errors},
    },
    config::{Config, Forge as Configured},
    forge::Target,
    git::Git,
};

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
        if let Ok(BaseConfig::Found(base)) = config_at(local, git, &branch.tip) {
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
