//! The forge that receives a pull request: the one that the base branch's configuration names.
//!
//! Under `--pr` the base branch's configuration counts, and it is read from the forge that the work
//! tree's names. A work tree that names another one, such as the checkout of a pull request, must
//! get neither the token nor a branch. What the clone knows about the base is checked before the
//! first request, and what the forge reports about it before the first write.

use super::{Services, ci};
use crate::{
    code::Code,
    config::{self, Config, Forge as Configured, RelPath},
    error::{Error, Errors, SourceText},
    forge::Target,
    git::{BranchSources, Git, ObjectId, TreeFile},
};

/// The largest configuration that is read, in bytes.
const CONFIG_MAX: u64 = 1024 * 1024;

/// Checks that no base branch in the clone names another forge than the work tree: neither the
/// branch that the work tree's configuration names nor the default branch.
pub(super) fn known_here(
    local: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<(), Errors> {
    let Some(git) = git else {
        return Ok(());
    };
    for (name, tip) in bases(local, git, services) {
        // What cannot be read says nothing here; the forge's own answer is compared, too.
        if let Some(base) = config_at(local, git, &tip) {
            same(local, &base, &name, Some(git))?;
        }
    }
    Ok(())
}

/// Checks that the base's configuration and the work tree's name the same forge.
pub(super) fn same(
    local: &Config,
    base: &Config,
    branch: &str,
    git: Option<&Git>,
) -> Result<(), Errors> {
    let (Some(here), Some(there)) = (&local.forge, &base.forge) else {
        return Ok(());
    };
    let origin = git.and_then(|git| git.origin().ok().flatten());
    let target = |forge: &Configured| Target::resolve(forge, origin.as_deref());
    let (here, there) = (target(here), target(there));
    if here == there {
        return Ok(());
    }
    let shown = |target: Result<Target, _>| {
        target.map_or_else(
            |_| "an unknown forge".to_owned(),
            |target| format!("{}/{} at {}", target.owner, target.name, target.api),
        )
    };
    let message = format!(
        "`forge` in the work tree names {}, but on {branch} it names {}",
        shown(here),
        shown(there)
    );
    Err(Errors::from(Error::input(Code::CONFIG, message).help(
        "run repin in a checkout of the base branch; a change of `forge` takes effect once it is merged there and fetched",
    )))
}

/// The base branches that this clone has, without any request.
pub(super) fn bases(local: &Config, git: &Git, services: &Services) -> Vec<(String, ObjectId)> {
    let stated = ci::default_branch(&services.environment, Some(git));
    let base = local.forge.as_ref().and_then(|forge| forge.base.as_deref());
    let named = [base, stated.as_deref()].into_iter().flatten();
    let named = named.filter_map(|name| {
        let sources = BranchSources {
            base: Some(name),
            ..BranchSources::default()
        };
        git.promoted_branch(&sources).ok()
    });
    let mut known: Vec<_> = named
        .chain(git.known_default().ok().flatten())
        .map(|branch| (branch.name, branch.tip))
        .collect();
    known.dedup();
    known
}

/// The configuration at a commit, as far as it can be read.
fn config_at(local: &Config, git: &Git, tip: &ObjectId) -> Option<Config> {
    let path = RelPath::parse(local.file_name()).ok()?;
    let TreeFile::Content(bytes) = git.file(tip, &path, CONFIG_MAX).ok()? else {
        return None;
    };
    let source = SourceText {
        name: local.file_name().to_owned(),
        text: String::from_utf8(bytes).ok()?.into(),
    };
    config::parse_past(&source, &local.root).ok()
}
