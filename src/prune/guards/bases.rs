//! The configurations on the base branches, compared with those of the work tree, which the run obeys.

use std::os::unix::ffi::OsStrExt as _;

use super::Branches;
use crate::{
    base::{
        error::{Class, Code, Error},
        files::is_config_file,
    },
    config::{AlsoPinned, Config, SetPath, SourceRepository, StageSet},
    core::configurations::{NoConfig, config_of_blob},
    git::{Git, GitError, ObjectId},
};

/// Refuses if a configuration on a base has a protection that no configuration in the work tree has: the work tree is
/// outdated, or of another branch. `deletes`: whether the run deletes by the configuration.
pub(super) fn check(
    branches: &Branches,
    config: &Config,
    sets: &[Config],
    deletes: bool,
) -> Result<(), Error> {
    let git = &branches.git;
    let mut known: Vec<&Config> = vec![config];
    known.extend(sets);
    for (remote, base) in &branches.bases {
        let name = format!("{remote}/{base}");
        let tip = git.branch(Some(&name))?.tip;
        let mut files = Vec::new();
        git.regular_files(&tip, |path, blob| {
            let set_path = SetPath::from(path);
            if is_config_file(set_path.as_path()) || set_path == config.set_path {
                files.push((set_path, blob));
            }
        })?;
        for (path, blob) in files {
            let root = git.top().join(path.directory());
            let message = match config_of_blob(git, blob, &path.to_string(), &root, &path) {
                // The configuration of a fleet has no images.
                Ok(there) if there.counts_pins().is_err() => continue,
                Ok(there) => match missing_protection(&there, &known) {
                    Some(missing) => {
                        format!("{path} on {name} has {missing}, which the work tree does not have")
                    }
                    None => continue,
                },
                Err(NoConfig::Git(error)) => return Err(error.into()),
                Err(reason) => {
                    format!("cannot determine what {path} on {name} protects: {reason}")
                }
            };
            let help = if commit_behind(git, &tip)?.is_some() {
                update_hint(&name)
            } else {
                "add the same to a configuration in the work tree, or correct that on the base"
                    .to_owned()
            };
            let error = Error::new(Class::Unavailable, Code::BASE_BEHIND, message);
            return Err(error.help(help));
        }
        if deletes {
            check_current(git, config, &name, &tip)?;
        }
    }
    Ok(())
}

/// Refuses if the work tree is behind a base that changed the configuration of the set since: its rules may keep more.
fn check_current(git: &Git, config: &Config, name: &str, tip: &ObjectId) -> Result<(), Error> {
    let Some(head) = commit_behind(git, tip)? else {
        return Ok(());
    };
    let path = config.set_path.as_path().as_os_str().as_bytes();
    if git.regular_file(head, path)? == git.regular_file(*tip, path)? {
        return Ok(());
    }
    let message = format!(
        "the work tree is behind {name}, where {} differs",
        config.set_path
    );
    let error = Error::new(Class::Unavailable, Code::BASE_BEHIND, message);
    Err(error.help(update_hint(name)))
}

/// The checked-out commit if `tip` is ahead of it.
fn commit_behind(git: &Git, tip: &ObjectId) -> Result<Option<ObjectId>, GitError> {
    let head = match git.head() {
        Err(GitError::Unborn) => return Ok(None),
        head => head?.tip,
    };
    let is_behind = head != *tip && git.is_ancestor(&head, tip)?;
    Ok(is_behind.then_some(head))
}

fn update_hint(base: &str) -> String {
    format!("update the work tree: git merge --ff-only {base}")
}

/// A protection by a configuration on a base that none of the known ones has.
fn missing_protection(there: &Config, known: &[&Config]) -> Option<String> {
    let own = there.prune.as_ref();
    for entry in own.iter().flat_map(|prune| &prune.also_pinned_in) {
        let prunes = known.iter().filter_map(|config| config.prune.as_ref());
        let mut others = prunes.flat_map(|prune| &prune.also_pinned_in);
        let covers = |other: &AlsoPinned| {
            other.repository == entry.repository
                && (other.branches.is_none() || other.branches == entry.branches)
        };
        if !others.any(covers) {
            return Some(format!("`also_pinned_in` {}", entry.repository));
        }
    }
    // A pattern is for the images of its set.
    let repositories: Vec<_> = there.images.iter().map(|image| &image.repository).collect();
    let has_image = |config: &&&Config| {
        let mut images = config.images.iter();
        config.set_path == there.set_path
            || images.any(|image| repositories.contains(&&image.repository))
    };
    for pattern in own.iter().flat_map(|prune| &prune.protect) {
        let prunes = known
            .iter()
            .filter(has_image)
            .filter_map(|config| config.prune.as_ref());
        let mut others = prunes.flat_map(|prune| &prune.protect);
        if !others.any(|other| other.as_str() == pattern.as_str()) {
            return Some(format!("`protect` {}", pattern.as_str()));
        }
    }
    let known: Vec<_> = known
        .iter()
        .flat_map(|config| stage_repositories(config))
        .collect();
    stage_repositories(there)
        .any(|repository| !known.contains(&repository))
        .then(|| "a stage in another repository (`promote.after`)".to_owned())
}

/// The other repositories of stages.
fn stage_repositories(config: &Config) -> impl Iterator<Item = &SourceRepository> {
    config
        .promote
        .after
        .iter()
        .filter_map(|stage| match &stage.set {
            StageSet::OtherRepository(other) => Some(&other.repository),
            StageSet::SameRepository(_) => None,
        })
}
