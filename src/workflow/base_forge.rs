//! The forge that receives a pull request: the one in the base branch's configuration.
//!
//! With `--pr` the base branch's configuration counts. It is fetched from the forge in the work
//! tree's configuration, so a work tree with another forge, such as the checkout of a pull request,
//! must receive neither the token nor a branch. The base branches in the clone are compared before
//! the first request, and the configuration that the forge returns before the first write.

use super::{Services, ci};
use crate::{
    code::Code,
    config::{self, Config, FILE_NAME, Forge as Configured, RelPath},
    error::{Error, Errors},
    forge::Target,
    git::{Branch, BranchSources, Git, ObjectId, TreeFile},
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
    for branch in bases(local, git, services) {
        // An unreadable configuration proves nothing; that of the forge is compared later.
        if let Ok(Some(base)) = config_at(local, git, &branch.tip) {
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
    let target = |forge: &Configured| Target::resolve(forge, origin.as_deref());
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

/// The base branches that this clone has, without any request.
pub(super) fn bases(local: &Config, git: &Git, services: &Services) -> Vec<Branch> {
    let stated = ci::default_branch(&services.environment, Some(git));
    let base = local.forge.as_ref().and_then(|forge| forge.base.as_deref());
    let mut branches = Vec::new();
    for name in [base, stated.as_deref()].into_iter().flatten() {
        let sources = BranchSources {
            base: Some(name),
            ..BranchSources::default()
        };
        branches.extend(git.promoted_branch(&sources).ok());
    }
    branches.extend(git.known_default().ok().flatten());
    branches.dedup();
    branches
}

/// The configuration at a commit, or its error; `None` if the commit has none. A file with the
/// default name counts if the work tree has none: the change may rename it.
pub(super) fn config_at(
    local: &Config,
    git: &Git,
    commit: &ObjectId,
) -> Result<Option<Config>, String> {
    let mut names = vec![local.file_name()];
    if !local.root.join(FILE_NAME).exists() {
        names.push(FILE_NAME);
    }
    for name in names {
        let path = RelPath::parse(name).map_err(|error| error.to_string())?;
        let file = git.file(commit, &path, config::MAX_SIZE);
        let bytes = match file.map_err(|error| error.to_string())? {
            TreeFile::Content(bytes) => bytes,
            TreeFile::Absent => continue,
            TreeFile::TooLarge => return Err(format!("{name} has more than 1 MiB")),
        };
        let parsed = config::parse_bytes(
            bytes,
            name,
            &local.root,
            &local.set_path,
            config::parse_past,
        );
        let config = parsed.map_err(|reason| format!("{name} is invalid: {reason}"))?;
        return Ok(Some(config));
    }
    Ok(None)
}
