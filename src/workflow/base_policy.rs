//! The policy of a work tree, compared with that of the base branch in the clone.
//!
//! The author of a pull request can change the policy for its own images, so a reviewer must see
//! the change. This comparison needs no server.

use std::io::Read as _;

use super::{
    Services,
    base_forge::{bases, config_at},
    trust::MAX_MATERIAL,
};
use crate::{
    checks::{self, Check},
    config::{Config, RelPath},
    files::Files,
    git::{Branch, BranchSources, Git, GitError, TreeFile},
};

/// The warnings about keys that require less than on the base branch, or the reason that prevents
/// the comparison.
pub(crate) fn warnings(config: &Config, files: &dyn Files, services: &Services) -> Vec<Check> {
    let git = match Git::discover(&config.root) {
        Ok(Some(git)) => git,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![checks::policy_unknown(&error.to_string())],
    };
    let branches = match base_branches(config, &git, services) {
        Ok(branches) => branches,
        // Without a remote, no branch is the base of another.
        Err(GitError::NoRemote | GitError::Unborn) => return Vec::new(),
        Err(error) => return vec![checks::policy_unknown(&error.to_string())],
    };
    let mut warnings = Vec::new();
    for branch in &branches {
        match config_at(config, &git, &branch.tip) {
            Ok(Some(base)) => {
                let replaced = replaced_files(config, &base, files, &git, branch);
                warnings.extend(checks::policy_weakened(
                    &branch.name,
                    &base,
                    config,
                    &replaced,
                ));
            }
            // The set is new.
            Ok(None) => {}
            Err(reason) => warnings.push(checks::policy_unknown(&format!(
                "{}: {reason}",
                branch.name
            ))),
        }
    }
    warnings
}

/// The base branch. The configuration that selects it may have changed, so the default branch
/// counts too, unless the configuration there selects the same base.
fn base_branches(config: &Config, git: &Git, services: &Services) -> Result<Vec<Branch>, GitError> {
    let base = |config: &Config| config.forge.as_ref().and_then(|forge| forge.base.clone());
    let mut known = bases(config, git, services).into_iter();
    let Some(configured) = base(config) else {
        return Ok(vec![match known.next() {
            Some(default) => default,
            // The remote is queried for its default branch.
            None => git.promoted_branch(&BranchSources::default())?,
        }]);
    };
    let sources = BranchSources {
        base: Some(&configured),
        ..BranchSources::default()
    };
    let mut branches = vec![git.promoted_branch(&sources)?];
    for branch in known {
        let same_base = match config_at(config, git, &branch.tip) {
            Ok(Some(default)) => base(&default).as_ref() == Some(&configured),
            Ok(None) | Err(_) => false,
        };
        if !same_base && !branches.contains(&branch) {
            branches.push(branch);
        }
    }
    Ok(branches)
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
    let differs = |path: &RelPath| {
        let Ok(TreeFile::Content(expected)) = git.file(&branch.tip, path, MAX_MATERIAL) else {
            return true;
        };
        let mut content = Vec::new();
        let opened = files.open(path).map_err(|error| error.error);
        let read = opened.and_then(|file| file.take(MAX_MATERIAL + 1).read_to_end(&mut content));
        read.is_err() || content != expected
    };
    let mut paths = Vec::new();
    for path in new.files() {
        if old.files().any(|old| old == path) && differs(path) {
            paths.push(path.to_string());
        }
    }
    paths.sort();
    paths.dedup();
    paths
}
