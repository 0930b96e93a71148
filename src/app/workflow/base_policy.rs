//! The policy of a work tree, compared with that of the base branch.
//!
//! The author of a pull request can change the policy for its own images, so a reviewer must see
//! the change.

use super::{
    Services, SiteHistory,
    base::{BaseConfig, base_config},
    base_branches::BaseBranches,
    trust::{MAX_MATERIAL, read_material},
};
use crate::{
    base::files::{Files, RelPath},
    config::Config,
    core::{
        checks::{self, Check},
        history::{Digests, History},
    },
    git::{Branch, Git, GitError, TreeFile},
};

/// The base branches of a work tree; `None` if no branch is the base of another.
pub(crate) type Bases = Result<Option<BaseBranches>, GitError>;

/// Finds the base branches, once for all checks of a set.
pub(crate) fn bases(config: &Config, services: &Services) -> Bases {
    let Some(git) = services.discover_git(config)? else {
        return Ok(None);
    };
    match BaseBranches::find(config, &git, services) {
        Ok(bases) => Ok(Some(bases)),
        Err(GitError::NoRemote | GitError::Unborn) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The warnings about keys that require less than on the base branch, or the reason that prevents
/// the comparison.
pub(crate) fn warnings(config: &Config, files: &dyn Files, bases: &Bases) -> Vec<Check> {
    let bases = match bases {
        Ok(Some(bases)) => bases,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![checks::policy_unknown(&error.to_string())],
    };
    let mut warnings = Vec::new();
    for branch in &bases.branches {
        match base_config(config, &bases.git, &bases.clone, &branch.tip) {
            Ok(BaseConfig::Found(base)) => {
                let replaced = replaced_files(config, &base, files, &bases.git, branch);
                warnings.extend(checks::policy_weakened(
                    &branch.name,
                    &base,
                    config,
                    &replaced,
                ));
            }
            Ok(BaseConfig::New) => {}
            Ok(BaseConfig::Unpaired(removed)) => {
                warnings.push(checks::policy_of_removed(&branch.name, &removed));
            }
            Err(reason) => warnings.push(checks::policy_unknown(&format!(
                "{}: {reason}",
                branch.name
            ))),
        }
    }
    warnings.extend(
        bases
            .unknown
            .iter()
            .map(|reason| checks::policy_unknown(reason)),
    );
    warnings
}

/// The changed keys and roots of both policies.
fn replaced_files(
    config: &Config,
    base: &Config,
    files: &dyn Files,
    git: &Git,
    branch: &Branch,
) -> Vec<String> {
    let (Some(old), Some(new)) = (&base.verify, &config.verify) else {
        return Vec::new();
    };
    let top = git.with_prefix(Vec::new());
    let differs = |path: &RelPath| {
        // The base's configuration may be in another directory.
        let Ok(old_path) = RelPath::new(&base.set_path.directory().join(path.as_path())) else {
            return true;
        };
        let Ok(TreeFile::Content(expected)) = top.file(&branch.tip, &old_path, MAX_MATERIAL) else {
            return true;
        };
        read_material(files, path).map_or(true, |content| content != expected)
    };
    let both = new
        .files()
        .filter(|path| old.files().any(|old| old == *path));
    both.filter(|path| differs(path))
        .map(ToString::to_string)
        .collect()
}

/// Whether the set with these digests is current on every branch that may be the base of the work tree.
/// On an unknown branch it is not.
pub(crate) fn is_current_on_bases(
    config: &Config,
    digests: &Digests,
    history: &SiteHistory,
    bases: &Bases,
) -> bool {
    let is_current = |history: &History| {
        let current = history.current();
        current.is_some_and(|current| current.images == *digests)
    };
    let (Ok(own), Ok(Some(bases))) = (history.promoted(), bases) else {
        return false;
    };
    is_current(own)
        && bases.unknown.is_empty()
        && bases.branches.iter().all(|branch| {
            branch.tip == own.branch.tip
                || History::for_branch(&bases.git, config, branch.clone())
                    .is_ok_and(|history| is_current(&history))
        })
}
