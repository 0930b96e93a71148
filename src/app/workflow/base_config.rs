//! The configuration of a set on a base branch, also if the work tree renames or moves it.

use crate::{
    base::files::{MAX_CONFIG_SIZE, RelPath},
    config::{self, Config, FILE_NAME, SetPath, is_config_file_of},
    core::history::{Replaced, replaced_in_index},
    git::{self, Git, GitError, ObjectId, TreeFile},
};
use std::{collections::BTreeSet, path::Path};

/// The configuration of a set at a commit.
pub(super) enum BaseConfig {
    Found(Box<Config>),
    /// The set is new: the work tree keeps every configuration of the commit.
    New,
    /// The work tree lacks these configurations of the commit, and git pairs none with that of the set.
    Unpaired(Vec<String>),
}

/// The configuration at a commit, or the reason why it cannot be read. A file with the default name
/// counts if the work tree has none, and otherwise the file that git pairs with this one: the change may
/// rename it.
pub(super) fn config_at(
    local: &Config,
    git: &Git,
    commit: &ObjectId,
) -> Result<BaseConfig, String> {
    let mut names = vec![local.file_name()];
    if !local.root.join(FILE_NAME).exists() {
        names.push(FILE_NAME);
    }
    for name in names {
        let path = RelPath::parse(name).map_err(|error| error.to_string())?;
        if let Some(config) = parse_at(git, commit, &path, name, &local.root, &local.set_path)? {
            return Ok(BaseConfig::Found(Box::new(config)));
        }
    }
    let Replaced { source, removed } =
        replaced_in_index(git, commit, &local.set_path).map_err(|error| error.to_string())?;
    if let Some(old) = source {
        let top = git.with_prefix(Vec::new());
        let root = git.top().join(old.directory());
        let config = parse_at(&top, commit, old.file(), &old.to_string(), &root, &old)?;
        if let Some(config) = config {
            return Ok(BaseConfig::Found(Box::new(config)));
        }
    }
    let mut removed = BTreeSet::from_iter(removed);
    let missing = missing(git, commit, &local.set_path).map_err(|error| error.to_string())?;
    removed.extend(missing);
    Ok(if removed.is_empty() {
        BaseConfig::New
    } else {
        BaseConfig::Unpaired(removed.into_iter().collect())
    })
}

/// Parses a configuration at a commit; `None` if the commit has no such file.
fn parse_at(
    git: &Git,
    commit: &ObjectId,
    path: &RelPath,
    name: &str,
    root: &Path,
    set_path: &SetPath,
) -> Result<Option<Config>, String> {
    let file = git.file(commit, path, MAX_CONFIG_SIZE);
    let bytes = match file.map_err(|error| error.to_string())? {
        TreeFile::Content(bytes) => bytes,
        TreeFile::Absent => return Ok(None),
        TreeFile::TooLarge => return Err(format!("{name} has more than 1 MiB")),
    };
    let parsed = config::parse_bytes(bytes, name, root, set_path, config::parse_past);
    let config = parsed.map_err(|reason| format!("{name} is invalid: {reason}"))?;
    Ok(Some(config))
}

/// The configuration files of a commit that are missing in the work tree, apart from those outside of a
/// sparse checkout.
fn missing(git: &Git, commit: &ObjectId, set_path: &SetPath) -> Result<Vec<String>, GitError> {
    let mut missing = Vec::new();
    git.regular_files(commit, |path, _| {
        let is_absent = || git.top().join(path.as_path()).symlink_metadata().is_err();
        if is_config_file_of(path.as_path(), set_path) && is_absent() {
            missing.push(path);
        }
    })?;
    let tracked = git::configurations(git.top())?;
    missing.retain(|path| {
        let mut tracked = tracked.iter();
        !tracked.any(|file| file.path == *path && file.sparse.is_some())
    });
    Ok(missing.iter().map(ToString::to_string).collect())
}
